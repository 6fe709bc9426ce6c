"""The example of docs/how-to/own_network.md, installed, checked, trained and used; broken ones."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.networks import NETWORKS, available_networks, build_network
from napari_mri7t.engine.networks.contract import check_network
from napari_mri7t.engine.networks.plugins import GROUP
from napari_mri7t.engine.volumes.volume import load_volume, save_volume

PAGE = Path(__file__).parents[2] / "docs/how-to/own_network.md"
NAME = "three_convolutions"


def blocks(language: str) -> list[str]:
    """Take the code from the page."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert found
    return found


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one module, as pip does: (name, {entry: place}, code)."""
    site = tmp_path / "site"
    site.mkdir()
    before = set(sys.modules)

    def install_package(name, entries, code, version="0.1"):
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(code)
        facts = site / f"{module}-{version}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        lines = [f"{entry} = {place}" for entry, place in entries.items()]
        (facts / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        monkeypatch.syspath_prepend(site)

    yield install_package
    for module in set(sys.modules) - before:
        if module.startswith(("my_networks", "broken", "slow")):
            del sys.modules[module]


@pytest.fixture
def installed(install):
    """Install the page's example; gives its code."""
    code, _ = blocks("python")
    (settings,) = blocks("toml")
    project = tomllib.loads(settings)["project"]
    install(project["name"], project["entry-points"][GROUP], code, project["version"])
    return code


def broken(install):
    """Install a package for each way to be broken."""
    install("broken-import", {"absent": "broken_import:Net"}, "import no_such_library\n")
    install("broken-name", {"misspelt": "broken_name:Net"}, "")
    install("broken-kind", {"number": "broken_kind:Net"}, "Net = 3\n")
    install("broken-taken", {"watnet": "broken_taken:Net"}, "Net = object\n")


def test_example_is_about_thirty_lines(installed):
    assert len([line for line in installed.splitlines() if line.strip()]) <= 30


def test_example_keeps_the_contract_as_the_page_checks_it(installed):
    _, check = blocks("python")
    exec(compile(check, str(PAGE), "exec"), {})
    check_network(NAME, width=8)


def test_example_is_trained_exported_and_used_by_the_command_line(
    installed, run_cli, phantom, tmp_path
):
    dataset, run = tmp_path / "dataset", tmp_path / "run"
    dataset.mkdir()
    small = type(phantom)(phantom.array[8:32, 8:40, 6:26], phantom.affine)
    save_volume(small, dataset / "sub-A.nii.gz")
    save_volume(small.with_array(small.array**2), dataset / "sub-B.nii.gz")
    numbers = {"n_steps": 2, "batch_size": 2, "patch_size": 16, "warmup_steps": 0}
    options = [text for item in numbers.items() for text in ("--set", f"{item[0]}={item[1]}")]
    code, out, error = run_cli(
        "train", dataset, run, "--network", NAME, "--set-network", "width=8", "--folds", "0",
        "--device", "cpu", *options,
    )  # fmt: skip
    assert (code, "done" in out) == (0, True), error
    code, _, error = run_cli("export", run, tmp_path / "model", "--fold", "0")
    assert code == 0, error
    card = read_card(tmp_path / "model")
    assert (card.network, card.network_config) == (NAME, {"width": 8})
    estimate = tmp_path / "estimate.nii.gz"
    model = ("--model", tmp_path / "model", "--device", "cpu")
    code, _, error = run_cli("synthesize", dataset / "sub-A.nii.gz", estimate, *model)
    assert code == 0, error
    assert load_volume(estimate).shape == small.shape
    sidecar = json.loads((tmp_path / "estimate.json").read_text())
    assert sidecar["Model"]["SHA256"] == card.sha256
    code, out, error = run_cli("evaluate", run)
    assert code == 0, error
    assert NAME in out.replace("\\", ""), "Markdown escapes it"


def save_own_model(folder) -> None:
    """Write a model folder of the example, untrained."""
    from napari_mri7t.engine.models.card import ModelCard
    from napari_mri7t.engine.models.model import save_model

    expected = {"voxel_size_mm": [1, 1, 1], "intensity_quantiles": [0, 1]}
    card = ModelCard(
        "three", "Untrained", NAME, 0, expected, {}, {}, "Tests.", "", network_config={"width": 8}
    )
    save_model(folder, build_network(NAME, width=8), card)


def test_model_whose_package_is_missing_says_so(installed, run_cli, phantom_file, tmp_path):
    from napari_mri7t.engine.models.model import load_model

    save_own_model(tmp_path / "model")
    assert load_model(tmp_path / "model").card.network == NAME
    sys.path.remove(str(tmp_path / "site"))
    with pytest.raises(ModelError, match=f"'{NAME}' is unknown.*install the package"):
        load_model(tmp_path / "model")


def test_models_lists_the_network_with_its_package(installed, run_cli):
    code, out, error = run_cli("models")
    assert code == 0
    assert error == ""
    assert f"{NAME}  network of my-networks 0.1" in out


@pytest.mark.gui
def test_widget_offers_the_network(installed, make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Train")
    box = widget.recipe.network_box
    qtbot.waitUntil(lambda: box.count() > 1, timeout=60_000)
    assert [box.itemText(n) for n in range(box.count())] == [*NETWORKS, NAME]
    assert not widget.recipe.notices.texts()


@pytest.mark.gui
def test_model_of_the_network_synthesises_in_the_widget(
    installed, make_napari_viewer, qtbot, monkeypatch, phantom, tmp_path
):
    from napari_mri7t.engine.models.model import load_model
    from napari_mri7t.engine.synthesis.config import SynthesisConfig
    from napari_mri7t.engine.synthesis.synthesize import estimate
    from napari_mri7t.widgets.layers.layers import KEY, volume_to_layer
    from napari_mri7t.widgets.shared.controls import ERROR_COLOUR

    monkeypatch.setattr(
        "napari_mri7t.widgets.shared.settings.config_folder", lambda: tmp_path / "config"
    )
    save_own_model(tmp_path / "model")
    viewer = make_napari_viewer()
    data, meta, _ = volume_to_layer(phantom)
    viewer.add_image(data, **meta)
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    widget.model_chooser.add(tmp_path / "model")
    for box, value in (
        (widget.computation.device_box, "cpu"),
        (widget.preparation.mode_box, "none"),
    ):
        box.setCurrentIndex(box.findData(value))
    widget.start()
    qtbot.waitUntil(lambda: widget.panel.job is None, timeout=120_000)
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    model = load_model(tmp_path / "model")
    expected = estimate(phantom, model, SynthesisConfig(device="cpu")).volume
    np.testing.assert_array_equal(viewer.layers[1].data, expected.array.T)
    told = viewer.layers[1].metadata[KEY]["provenance"]["Model"]
    assert told == {"Name": "three", "SHA256": model.card.sha256}
    sys.path.remove(str(tmp_path / "site"))  # its package is gone
    widget.start()
    qtbot.waitUntil(lambda: widget.panel.job is None, timeout=120_000)
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert f"'{NAME}' is unknown" in text
    assert "install the package" in text


def test_broken_packages_cost_one_sentence_each_and_no_other_network(installed, install):
    broken(install)
    found, complaints = available_networks()
    assert list(found) == [*NETWORKS, NAME]
    assert found["watnet"] is NETWORKS["watnet"]
    assert [text.count("\n") for text in complaints] == [0] * 4
    by_name = {text.split("'")[1]: text for text in complaints}
    assert "broken-import 0.1 cannot be loaded (ModuleNotFoundError" in by_name["absent"]
    assert "broken-name 0.1 cannot be loaded (AttributeError" in by_name["misspelt"]
    assert "broken_kind:Net is not a class" in by_name["number"]
    assert "another one has the same name" in by_name["watnet"]


def test_broken_packages_show_in_commands_and_stop_none(installed, install, run_cli):
    broken(install)
    code, out, error = run_cli("models")
    assert code == 0
    assert error.count("warning: ") == len(error.splitlines()) == 4
    assert NAME in out
    code, _, error = run_cli("train", "x", "y", "--network", "absent")
    assert code == 1
    assert build_network("watnet", central_only=True) is not None


@pytest.mark.gui
def test_broken_packages_show_in_the_widget(install, make_napari_viewer, qtbot):
    broken(install)
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Train")
    qtbot.waitUntil(lambda: len(widget.recipe.notices.texts()) == 4, timeout=60_000)
    box = widget.recipe.network_box
    assert [box.itemText(n) for n in range(box.count())] == list(NETWORKS)
    assert widget.minimumSizeHint().width() <= 350


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("class Net:\n    pass\n", "AttributeError.*n_slices"),
        ("def Net():\n    return 1 / 0\n", "cannot be built.*ZeroDivisionError"),
    ],
)
def test_network_that_cannot_be_built_names_its_package(install, code, words):
    install("broken-build", {"fragile": "broken_build:Net"}, code)
    with pytest.raises(ModelError, match=f"'fragile' of broken-build 0.1.*{words}"):
        build_network("fragile")


def test_unknown_network_is_answered_with_the_registered_ones_too(installed):
    with pytest.raises(ValueError, match=rf"'unet' is unknown; choose one of .*{NAME}"):
        build_network("unet")


def test_nothing_of_it_is_imported_before_it_is_needed(installed, install):
    install("slow-package", {"slow": "slow_package:Net"}, "raise SystemExit('imported')\n")
    assert build_network("watnet") is not None
    assert "slow_package" not in sys.modules


def test_a_study_of_networks_is_not_begun_in_the_run_folder_of_one(run_cli, tmp_path):
    (tmp_path / "study.json").write_text("{}")
    code, _, error = run_cli("reproduce", tmp_path, tmp_path, "--networks", "basic_cnn")
    assert code == 1
    assert "is the run folder of one network: choose another folder" in error
