"""The whole card of a model: use, scores, training, files; its digests are folded away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QResizeEvent
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.texts import visible_lines
from napari_mri7t.widgets.shared.fold import FoldBox
from napari_mri7t.widgets.shared.labels import TextLabel

SIZE = (580, 460)  # pixels: fits the smallest screen
DIGEST, FINGERPRINT = "sha256", "fingerprint"
SCANS = "scans"  # in the metrics of a card: the tests on real scans
SCORES = {"psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".3f"), "mae": ("MAE", ".4f")}
METHODS = {"source": "3T", "estimate": "Estimate"}
REGIONS = {"brain": "inside the brain", "whole": "whole volume"}
STYLED = 8  # pixels that a theme adds to the heading of a table
LONGEST_LIST = 8  # values on a line; of more only the number is shown


class CardDialog(QDialog):
    """A page for each part of the card.

    Parameters
    ----------
    card : ModelCard
    parent : QWidget
        Closes it with itself.
    """

    def __init__(self, card: ModelCard, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Model card: {visible_lines(card.name)}")
        self.tabs = QTabWidget()
        self.tabs.addTab(_page(_use(card)), "Use")
        self.tabs.addTab(_page(_scores(card.metrics)), "Scores")
        others = {k: v for k, v in card.metrics.items() if k not in (*METHODS, SCANS)}
        for title, values in (
            ("Tests", others),
            ("Uncertainty", card.uncertainty),
            ("Training", card.training),
        ):
            if values:
                self.tabs.addTab(_Tree(values, title), title)
        self.tabs.addTab(self._files(card), "Files")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        buttons.button(QDialogButtonBox.StandardButton.Close).setIcon(QIcon())  # dark on dark
        column = QVBoxLayout(self)
        column.addWidget(self.tabs)
        column.addWidget(buttons)
        self.resize(*SIZE)

    def _files(self, card: ModelCard) -> QWidget:
        content = {
            "Network": card.network,
            "Parameters": f"{card.n_parameters:,}",
            "Arguments": card.network_config,
            "Expects": card.preprocessing,
            "Scored with": card.synthesis,
        }
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(_Tree(content, "Files"))
        self.digests = FoldBox("Digests (SHA-256)")
        self.digests.form.addRow(_Tree(dict(digests(card)), "Digests", leaves_out=""))
        column.addWidget(self.digests)
        return page


class _Tree(QTreeWidget):
    """Names and values; what holds others can be folded."""

    def __init__(self, values: Mapping[str, Any], title: str, leaves_out: str = DIGEST) -> None:
        super().__init__()
        self.setAccessibleName(title)
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setWordWrap(True)
        self.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        _fill(self.invisibleRootItem(), values, leaves_out)
        if self.topLevelItemCount() == 1:  # nothing else is there to be seen
            self.topLevelItem(0).setExpanded(True)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Wrap the values again."""
        super().resizeEvent(event)
        self.scheduleDelayedItemsLayout()


def digests(card: ModelCard) -> Iterator[tuple[str, str]]:
    """Yield the digests of a card: of its weights, and of what they were trained on."""
    yield "weights", card.sha256
    for part in (card.training, card.metrics, card.uncertainty):
        yield from _digests_in(part)


def _scores(metrics: Mapping[str, Any]) -> list[QWidget]:
    """Return the scores on held-out brains, and those of each test on real scans."""
    found: list[QWidget] = []
    if any(method in metrics for method in METHODS):
        found += [_selectable("Held-out brains, mean ± standard deviation"), score_table(metrics)]
    scans = metrics.get(SCANS)
    for test in scans.values() if isinstance(scans, Mapping) else ():
        try:
            found += [_selectable(f"Real scans, {test['what']}: PSNR in the brain, dB")]
            found += [scan_table(test), _selectable(f"{test['date']}: {test['command']}")]
        except (LookupError, TypeError, ValueError):  # a stranger's card
            found += [_selectable("The results of a test on real scans cannot be read.")]
    return found or [_selectable("No scores.")]


def scan_table(test: Mapping[str, Any]) -> QTableWidget:
    """Return the scores of one test on real scans, beside those of the scans as they are.

    Raises
    ------
    LookupError, TypeError, ValueError
        If an entry is missing or of another kind.
    """
    rows = list(zip(test["levels"], test["source"], test["estimate"], strict=True))
    table = _table([str(level) for level, *_ in rows], ["Scan as is", "Estimate"])
    for n, (_, *scores) in enumerate(rows):
        for column, score in enumerate(scores):
            table.setItem(n, column, _centred(f"{score:.2f}"))
    return table


def score_table(metrics: Mapping[str, Any]) -> QTableWidget:
    """Return the held-out scores, mean ± standard deviation, beside those of the 3T itself."""
    rows = [(region, method) for region in REGIONS for method in METHODS]
    titles = [title for title, _ in SCORES.values()]
    table = _table([f"{METHODS[m]}, {REGIONS[r]}" for r, m in rows], titles)
    for n, (region, method) in enumerate(rows):
        for column, (name, (_, form)) in enumerate(SCORES.items()):
            table.setItem(n, column, _centred(_score(metrics, (method, region, name), form)))
    return table


def _table(rows: Sequence[str], columns: Sequence[str]) -> QTableWidget:
    """Return an empty table as high as its rows."""
    table = QTableWidget(len(rows), len(columns))
    table.setAccessibleName("Scores")
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    table.setHorizontalHeaderLabels(columns)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    table.setVerticalHeaderLabels([visible_lines(row) for row in rows])
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    height = table.horizontalHeader().sizeHint().height() + table.verticalHeader().length()
    table.setFixedHeight(height + 2 * table.frameWidth() + STYLED)
    return table


def _centred(text: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    return item


def _score(metrics: Mapping[str, Any], path: tuple[str, str, str], form: str) -> str:
    figure: Any = metrics
    for key in path:
        figure = figure.get(key) if isinstance(figure, Mapping) else None
    if not isinstance(figure, Mapping) or not isinstance(figure.get("mean"), int | float):
        return "-"
    mean, std = figure["mean"], figure.get("std")
    return f"{mean:{form}} ± {std:{form}}" if isinstance(std, int | float) else f"{mean:{form}}"


def _use(card: ModelCard) -> list[TextLabel]:
    held_out = card.metrics.get("n_held_out")
    told = [f"Scored on {held_out} held-out brains."] if held_out else []
    told += ["Scored on real scans: see Scores."] if card.metrics.get(SCANS) else []
    told = told or ["No held-out scores."]
    texts = [card.title, f"For: {card.intended_use}", f"Not for: {card.not_for}", *told]
    if isinstance(card.training.get("data"), str):
        texts.append(f"Training data: {card.training['data']}")
    return [_selectable(text) for text in texts]


def _selectable(text: str) -> TextLabel:
    label = TextLabel(visible_lines(text))
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _page(parts: Sequence[QWidget]) -> QScrollArea:
    page = QWidget()
    column = QVBoxLayout(page)
    for part in parts:
        column.addWidget(part)
    column.addStretch()
    scroll = QScrollArea()
    scroll.setWidget(page)
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return scroll


def _digests_in(values: Any, title: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items() if isinstance(values, Mapping) else ():
        name = f"{title} {key}".strip()
        if DIGEST not in key:
            yield from _digests_in(value, name)
            continue
        each = value if isinstance(value, list) else [value]
        for n, digest in enumerate(each, start=1):
            yield (f"{name} {n}" if len(each) > 1 else name).replace("_", " "), str(digest)


def _fill(place: QTreeWidgetItem, values: Mapping[str, Any], leaves_out: str) -> None:
    for key, value in values.items():
        if leaves_out and (leaves_out in key or FINGERPRINT in key):
            continue
        name = visible_lines(str(key).replace("_", " "))
        children = _children(value)
        item = QTreeWidgetItem([name, "" if children else _text(value)])
        item.setToolTip(1, "" if children else visible_lines(_text(value)))
        place.addChild(item)
        _fill(item, children, leaves_out)


def _children(value: Any) -> Mapping[str, Any]:
    """Return what is shown below a value: a mapping's entries, or a list's of mappings."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
        return {str(n): _line(entry) for n, entry in enumerate(value, start=1)}
    return {}


def _line(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{str(k).replace('_', ' ')} {_text(v)}" for k, v in entry.items())


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) > LONGEST_LIST and not isinstance(value[0], str):
        return f"{len(value)} values, {_text(value[0])} to {_text(value[-1])}"
    if isinstance(value, list):
        return ", ".join(_text(entry) for entry in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else visible_lines(str(value))
