"""Screenshots of every widget at work in a real window, for the documents.

    xvfb-run -a -s "-screen 0 1600x1000x24" python tools/screenshots.py docs/images [--theme light]

Look at them before committing them: a screenshot that nobody has looked at proves nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Neither show nor change the user's own settings.
os.environ.setdefault("NAPARI_CONFIG", str(Path(tempfile.mkdtemp()) / "settings.yaml"))
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()

import napari
import numpy as np
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication, QDialog, QScrollArea

from napari_mri7t.engine.models.card import DEFAULT_MODEL, REPORT_MODEL, find_model
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.shared.docks import dock_of
from napari_mri7t.widgets.shared.worker import running_jobs

PLUGIN = "napari-mri7t"
WIDGETS = ("Synthesize 7T", "Compare", "Simulate 3T", "Prepare pairs", "Train", "Evaluate")
SHOWN_MM = 8.0
PATIENCE_S = 900
SHORT = {
    "n_steps": "60",
    "batch_size": "4",
    "patch_size": "32",
    "checkpoint_steps": "15",
    "inference.step": "3",
}


def settle(seconds: float = 0.5) -> None:
    """Let the window work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def wait_until(is_true: Callable[[], bool]) -> None:
    """Let the window work until a condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError("a widget did not finish")
        settle(0.05)
    settle()


class Studio:
    """A viewer, and the folder of its screenshots."""

    def __init__(self, folder: Path, theme: str, size: list[int]) -> None:
        get_settings().appearance.theme = theme
        self.folder, self.theme = folder, theme
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*size)

    def take(self, name: str) -> None:
        """Take a screenshot of the whole window."""
        settle()
        path = self._path(name)
        self.viewer.screenshot(path, canvas_only=False, flash=False)
        print(path)

    def take_dialog(self, dialog: QDialog, name: str) -> None:
        """Take a screenshot of a dialog, which is a window of its own."""
        settle()
        path = self._path(name)
        dialog.grab().save(path)
        print(path)

    def _path(self, name: str) -> str:
        suffix = "" if self.theme == "dark" else f"-{self.theme}"
        return str(self.folder / f"{name}{suffix}.png")

    def dock(self, name: str, *, alone: bool = True) -> object:
        """Open one of the plugin's widgets and, where it is to be alone, close the others."""
        if alone:
            self.viewer.window.remove_dock_widget("all")
        _, widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, name)
        settle()
        return widget

    def sample(self, name: str) -> None:
        """Open sample data and show a slice with much anatomy."""
        self.viewer.open_sample(PLUGIN, name)
        self.viewer.dims.set_point(0, SHOWN_MM)


def synthesize(studio: Studio, model: Path | None) -> None:
    """Show it before the start, a preview, running, done, and before and after."""
    studio.sample("mni152_3t")
    widget = studio.dock("Synthesize 7T")
    if model is not None:
        widget.model_chooser.add(model)
    wait_until(lambda: not running_jobs())
    studio.take("synthesize")
    widget.preview.show("Preview region")
    wait_until(lambda: not running_jobs())
    studio.take("synthesize-preview")
    widget.preview.remove()
    widget.start()
    wait_until(lambda: "left" in widget.panel.status.text())
    studio.take("synthesize-running")
    wait_until(lambda: not running_jobs())
    studio.take("synthesize-done")
    for view in ("Swipe", "Difference", "Three planes"):
        widget.before_after.show(view)
        wait_until(lambda: not running_jobs())
        studio.take(f"before-after-{view.lower().replace(' ', '-')}")
    widget.before_after.show("Single view")


def tilted_scan() -> Volume:
    """Return the template as a scan to prepare: tilted by 12 degrees, shifted, shaded."""
    template = load_template()
    angle = np.radians(12)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (4, 9, -6)
    shading = np.exp(0.35 * np.linspace(-1, 1, template.shape[1]))[None, :, None]
    return Volume(template.array * shading * 900, turn @ template.affine, name="scan")


def prepare(studio: Studio, model: Path | None) -> None:
    """Prepare a raw scan: the plan before, running, and the quality layers after."""
    studio.viewer.layers.clear()
    data, meta, _ = volume_to_layer(tilted_scan())
    studio.viewer.add_image(data, **meta)
    studio.viewer.dims.set_point(0, SHOWN_MM)
    widget = studio.dock("Synthesize 7T")
    if model is not None:
        widget.model_chooser.add(model)
    widget.computation.step_box.setCurrentIndex(1)
    widget.preparation.mode_box.setCurrentIndex(2)
    widget.preparation.more_box.setChecked(True)
    wait_until(lambda: not running_jobs())
    studio.take("prepare")
    widget.start()
    wait_until(lambda: "Step 3" in widget.panel.status.text())
    studio.take("prepare-running")
    wait_until(lambda: not running_jobs())
    widget.preparation.more_box.setChecked(False)
    widget.quality.toggle()
    wait_until(lambda: not running_jobs())
    bar = widget.findChild(QScrollArea).verticalScrollBar()
    settle()
    bar.setValue(bar.maximum())
    studio.take("prepare-quality")


def compare(studio: Studio, model: Path | None) -> None:
    """Show side by side, swipe, and the difference."""
    layers = studio.viewer.layers
    if not layers:
        studio.sample("mni152_3t")
    studio.sample("mni152")
    widget = studio.dock("Compare")
    widget.volumes.reference_chooser.layer = layers["MNI152"]
    estimates = [layer for layer in layers if "synthetic" in layer.name]
    widget.volumes.estimate_chooser.layer = (estimates or [layers["MNI152_pseudo-3T"]])[0]
    widget.draw_line()
    wait_until(lambda: not running_jobs())
    widget.view_box.setCurrentText("Side by side")
    studio.take("compare-side-by-side")
    widget.view_box.setCurrentText("Swipe")
    studio.take("compare-swipe")
    widget.view_box.setCurrentText("Single view")
    widget.add_difference()
    wait_until(lambda: not running_jobs())
    studio.take("compare-difference")


def simulate(studio: Studio, model: Path | None) -> None:
    """Preview one slice."""
    studio.viewer.layers.clear()
    studio.sample("mni152")
    widget = studio.dock("Simulate 3T")
    widget.preview()
    wait_until(lambda: not running_jobs())
    studio.take("simulate")


def brains(folder: Path) -> Path:
    """Write three parts of a brain, which share no slice: a dataset that trains in a minute."""
    for name, start in (("sub-01", 30), ("sub-02", 75), ("sub-03", 120)):
        template = load_template()
        array = template.array[30:166, 40:200, start : start + 40]
        save_volume(Volume(array, template.affine, name), folder / f"{name}_T1w.nii.gz")
    return folder


def train(studio: Studio, model: Path | None) -> None:
    """Train two short folds, and evaluate them."""
    studio.viewer.layers.clear()
    place = Path(tempfile.mkdtemp())
    widget = studio.dock("Train")
    widget.dataset_field.folder = brains(place)
    widget.run_field.folder = place / "run"
    wait_until(lambda: not running_jobs())
    widget.recipe.network_box.setCurrentText("basic_cnn")
    for name, text in SHORT.items():
        widget.recipe.set_setting(name, text)
    widget.folds.choose([0, 1])
    widget.preview_box.setChecked(True)
    widget.start()
    wait_until(lambda: bool(widget.figures_label.text() and studio.viewer.layers))
    wait_until(lambda: len(widget.plot.loss.getData()[0]) > 40)
    studio.viewer.reset_view()
    studio.take("train-running")
    wait_until(lambda: not running_jobs())
    studio.take("train-done")
    studio.viewer.layers.clear()
    widget = studio.dock("Evaluate")
    widget.asked.run_field.folder = place / "run"
    widget.start()
    wait_until(lambda: not running_jobs())
    widget.load(widget.evaluation.results.subjects[0])
    wait_until(lambda: not running_jobs())
    studio.viewer.reset_view()
    studio.take("evaluate")


def heads(folder: Path, names: list[str]) -> Path:
    """Write small brains under BIDS names, each a little different, and one file that is none."""
    template, rng = load_template(), np.random.default_rng(0)
    for n, name in enumerate(names):
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = template.array[10:186, 10:222, 40:140] ** (1 + 0.05 * n) * 900
        array = np.where(array > 0, array + rng.normal(0, 30, array.shape), 0).clip(0)
        save_volume(Volume(array, template.affine, path.stem), path)
    return folder


def folder(studio: Studio, model: Path | None) -> None:
    """Show a folder of scans: what will be done, running, and done, with a scan that failed."""
    studio.viewer.layers.clear()
    place = Path(tempfile.mkdtemp())
    names = [f"sub-{n:02d}/anat/sub-{n:02d}_T1w" for n in range(1, 7)]
    heads(place / "scans", names)
    (place / "scans" / f"{names[3]}.nii.gz").write_text("<html>")
    widget = studio.dock("Synthesize 7T")
    if model is not None:
        widget.model_chooser.add(model)
    widget.computation.step_box.setCurrentIndex(1)
    widget.source.mode_box.setCurrentIndex(2)
    widget.preparation.mode_box.setCurrentIndex(0)  # remembered from the scene before
    widget.source.folder_field.folder = place / "scans"
    widget.source.output_field.folder = place / "derivative"
    wait_until(lambda: not running_jobs())
    studio.take("folder")
    widget.start()
    wait_until(lambda: "1 written" in widget.folder.summary_label.text())
    studio.take("folder-running")
    wait_until(lambda: not running_jobs())
    widget.folder.open(f"{names[0]}.nii.gz")
    wait_until(lambda: not running_jobs())
    studio.take("folder-done")


def pair(studio: Studio, model: Path | None) -> None:
    """Make pairs, and look at one."""
    studio.viewer.layers.clear()
    place = Path(tempfile.mkdtemp())
    people = [
        f"sub-{n:02d}/ses-{f}/anat/sub-{n:02d}_ses-{f}_T1w" for n in (1, 2) for f in ("3T", "7T")
    ]
    heads(place / "scans", people)
    widget = studio.dock("Prepare pairs")
    widget.fields.folder_field.folder = place / "scans"
    widget.fields.output_field.folder = place / "pairs"
    wait_until(lambda: not running_jobs())
    studio.take("pair")
    widget.start()
    wait_until(lambda: not running_jobs())
    widget.table.choose("sub-01")
    widget.open("sub-01")
    wait_until(lambda: not running_jobs())
    bar = widget.findChild(QScrollArea).verticalScrollBar()
    settle()
    bar.setValue(bar.maximum())
    studio.take("pair-done")


def uncertainty(studio: Studio, model: Path | None) -> None:
    """Show the uncertainty over the estimate that it is of, and its unit."""
    studio.viewer.layers.clear()
    studio.sample("mni152_3t")
    widget = studio.dock("Synthesize 7T")
    widget.model_chooser.add(model or find_model(REPORT_MODEL))
    widget.computation.step_box.setCurrentIndex(0)  # which alone is calibrated
    widget.computation.uncertainty_box.setChecked(True)
    wait_until(lambda: not running_jobs())
    widget.start()
    wait_until(lambda: not running_jobs())
    studio.take("uncertainty")


def card(studio: Studio, model: Path | None) -> None:
    """Show every tab of a model's card."""
    widget = studio.dock("Synthesize 7T")
    widget.model_chooser.add(model or find_model(DEFAULT_MODEL))
    dialog = widget.model_chooser.show_card()
    for n in range(dialog.tabs.count()):
        dialog.tabs.setCurrentIndex(n)
        studio.take_dialog(dialog, f"card-{dialog.tabs.tabText(n).lower().replace(' ', '-')}")
    dialog.close()


def tabs(studio: Studio, model: Path | None) -> None:
    """Show all widgets as tabs: the first, with a scan, and the widest, with its table."""
    studio.viewer.layers.clear()
    studio.viewer.window.remove_dock_widget("all")
    studio.sample("mni152_3t")
    widgets = {name: studio.dock(name, alone=False) for name in WIDGETS}
    wait_until(lambda: not running_jobs())
    for name in ("Synthesize 7T", "Prepare pairs"):
        dock_of(widgets[name]).raise_()
        studio.take(f"tabs-{name.lower().replace(' ', '-')}")


SCENES = {
    "synthesize": synthesize,
    "compare": compare,  # compares what was synthesised
    "simulate": simulate,
    "train": train,
    "prepare": prepare,
    "folder": folder,
    "pair": pair,
    "uncertainty": uncertainty,
    "card": card,
    "tabs": tabs,
}


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--theme", default="dark", choices=["dark", "light"])
    parser.add_argument("--model", type=Path, help="a model folder instead of the bundled one")
    parser.add_argument("--scenes", nargs="*", choices=list(SCENES))
    parser.add_argument("--size", nargs=2, type=int, default=[1400, 950], help="of the window")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    studio = Studio(options.folder, options.theme, options.size)
    for name in options.scenes or SCENES:
        SCENES[name](studio, options.model)
    studio.viewer.close()


if __name__ == "__main__":
    main()
