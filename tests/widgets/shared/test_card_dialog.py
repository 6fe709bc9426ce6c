"""The model's whole card, in a dialog."""

from __future__ import annotations

from dataclasses import replace

import pytest
from qtpy.QtWidgets import QApplication, QLabel, QTableWidget, QTreeWidget

from napari_mri7t.engine.models.card import bundled_folders, read_card
from napari_mri7t.widgets.shared.card_dialog import CardDialog, digests
from napari_mri7t.widgets.shared.model_chooser import ModelChooser

pytestmark = pytest.mark.gui


@pytest.fixture
def opened(qtbot):
    """Open the dialog of a bundled model."""

    choosers = []  # Python would delete them, and their dialogs

    def of(name: str) -> CardDialog:
        chooser = ModelChooser()
        choosers.append(chooser)
        qtbot.addWidget(chooser)
        chooser.box.setCurrentIndex(chooser.box.findText(name))
        chooser.show()
        chooser.card_button.click()
        (dialog,) = chooser.findChildren(CardDialog)
        qtbot.waitUntil(dialog.isVisible)
        return dialog

    return of


def titles(dialog: CardDialog) -> list[str]:
    return [dialog.tabs.tabText(n) for n in range(dialog.tabs.count())]


def texts(tree: QTreeWidget) -> list[str]:
    found = []
    places = [tree.invisibleRootItem()]
    while places:
        place = places.pop()
        found += [place.text(0), place.text(1)]
        places += [place.child(n) for n in range(place.childCount())]
    return found


@pytest.mark.parametrize("folder", bundled_folders(), ids=lambda folder: folder.name)
def test_card_of_every_bundled_model_fits_the_screen(opened, folder):
    dialog = opened(read_card(folder).name)
    screen = QApplication.primaryScreen().availableGeometry()
    assert dialog.height() <= min(720, screen.height())
    assert dialog.width() <= 1280
    assert {"Use", "Scores", "Training", "Files"} <= set(titles(dialog))
    assert dialog.tabs.tabBar().sizeHint().width() <= dialog.width()
    dialog.close()


def test_card_says_what_a_model_is_not_for(opened):
    dialog = opened("watnet")
    words = " ".join(label.text() for label in dialog.tabs.widget(0).findChildren(QLabel))
    assert "For: Research" in words
    assert "Not for: Diagnosis" in words


def test_scores_on_real_scans_stand_beside_those_of_the_scans_as_they_are(opened):
    dialog = opened("scan_unet")
    tables = dialog.findChildren(QTableWidget)
    tests = list(read_card(bundled("scan_unet")).metrics["scans"].values())
    assert len(tables) == len(tests), "no table of dashes"
    for table, test in zip(tables, tests, strict=True):
        shown = [[table.item(n, c).text() for c in range(2)] for n in range(table.rowCount())]
        pairs = zip(test["source"], test["estimate"], strict=True)
        assert shown == [[f"{each:.2f}" for each in pair] for pair in pairs]
        labels = [table.verticalHeaderItem(n).text() for n in range(table.rowCount())]
        assert labels == test["levels"]


def test_card_says_what_each_second_buys(opened):
    dialog = opened("scan_unet")
    tree = dialog.tabs.widget(titles(dialog).index("Tests"))
    assert tree.topLevelItem(0).isExpanded(), "it is the only one"
    shown = texts(tree)
    for name in ("averaged, three planes", "fast, axial slices alone", "seconds", "19.1, 25.9"):
        assert name in shown


@pytest.mark.parametrize("odd", [{"a": {}}, {"a": 3}, {"a": {"what": "x", "levels": 4}}, [1], "x"])
def test_a_stranger_s_odd_figures_on_scans_do_not_break_the_dialog(qtbot, odd):
    card = replace(read_card(bundled("scan_unet")), metrics={"scans": odd})
    parent = QLabel()
    qtbot.addWidget(parent)
    assert "Scores" in titles(CardDialog(card, parent))


def test_scores_stand_beside_those_of_the_3t(opened):
    table = opened("slice_unet").findChild(QTableWidget)
    rows = {
        table.verticalHeaderItem(n).text(): [table.item(n, c).text() for c in range(3)]
        for n in range(table.rowCount())
    }
    metrics = read_card(bundled("slice_unet")).metrics
    psnr = metrics["estimate"]["brain"]["psnr"]
    assert rows["Estimate, inside the brain"][0] == f"{psnr['mean']:.2f} ± {psnr['std']:.2f}"
    ssim = metrics["source"]["whole"]["ssim"]
    assert rows["3T, whole volume"][1] == f"{ssim['mean']:.3f} ± {ssim['std']:.3f}"


def tables_of(dialog: CardDialog) -> list[QTableWidget]:
    return dialog.findChildren(QTableWidget)


def bundled(name: str):
    return next(folder for folder in bundled_folders() if folder.name == name)


def test_digests_are_folded_away_and_nowhere_else(opened):
    dialog = opened("slice_unet")
    card = read_card(bundled("slice_unet"))
    dialog.tabs.setCurrentIndex(titles(dialog).index("Files"))
    hidden = dialog.digests.contents.findChild(QTreeWidget)
    assert not hidden.isVisible()
    dialog.digests.head.click()
    assert hidden.isVisible()
    assert card.sha256 in texts(hidden)
    assert set(card.training["targets_sha256"]) <= set(texts(hidden))
    others = [tree for tree in dialog.findChildren(QTreeWidget) if tree is not hidden]
    assert not any(card.sha256 in text for tree in others for text in texts(tree))
    assert not any("sha256" in text for tree in others for text in texts(tree))


def test_card_without_figures_or_with_odd_ones_opens(qtbot):
    card = read_card(bundled("slice_unet"))
    for metrics in ({}, {"source": {"brain": {"psnr": {"mean": "high"}}}}, {"estimate": 3}):
        bare = replace(card, metrics=metrics, training={}, uncertainty={})
        parent = ModelChooser()
        qtbot.addWidget(parent)
        dialog = CardDialog(bare, parent)
        shown = {table.item(n, 0).text() for table in tables_of(dialog) for n in range(4)}
        assert shown == ({"-"} if metrics else set())
        assert [name for name, _ in digests(bare)] == ["weights"]


def test_no_card_is_offered_where_no_model_is_chosen(qtbot):
    chooser = ModelChooser(none="Random weights")
    qtbot.addWidget(chooser)
    assert not chooser.card_button.isEnabled()
    assert "no model is chosen" in chooser.card_button.toolTip()
    assert chooser.show_card() is None
