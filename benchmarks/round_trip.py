"""Every volume of a folder through napari, to see whether its geometry is kept.

Reader, Synthesize 7T, writer. Prints, for each file: whether the voxels of the untouched layer came
back exactly, the largest difference of the affines (untouched and synthetic layer), and the seconds
of the synthesis.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/round_trip.py FOLDER [--model NAME]
"""

import argparse
import tempfile
import time
from pathlib import Path

import napari
import nibabel
import numpy as np
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton

from napari_mri7t.widgets.shared.controls import ERROR_COLOUR

PLUGIN = "napari-mri7t"
LIMIT_S = 600.0


def wait(condition: object, seconds: float) -> None:
    """Let Qt work until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        QApplication.processEvents()
        time.sleep(0.01)


def check(path: Path, model: str, folder: Path) -> str:
    """Take one file the whole way; return its row."""
    viewer = napari.Viewer(show=True)
    viewer.open(path, plugin=PLUGIN)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Synthesize 7T")
    for box in widget.findChildren(QComboBox):
        if (index := box.findText(model)) >= 0:
            box.setCurrentIndex(index)
    (button,) = [b for b in widget.findChildren(QPushButton) if b.text() == "Synthesize"]
    wait(button.isEnabled, 30)
    start = time.monotonic()
    button.click()
    wait(lambda: len(viewer.layers) == 2 or bool(widget.panel.notices.texts(ERROR_COLOUR)), LIMIT_S)
    seconds = time.monotonic() - start
    if len(viewer.layers) < 2:
        why_not = (
            "; ".join(widget.panel.notices.texts(ERROR_COLOUR)) or f"not done in {LIMIT_S:g} s"
        )
        viewer.close()
        return f"| {path.name} | {why_not} | | | NO | {seconds:.0f} |"
    untouched, synthetic = (folder / f"{kind}_{path.name}" for kind in ("untouched", "synthetic"))
    viewer.layers[0].save(str(untouched), plugin=PLUGIN)
    viewer.layers[1].save(str(synthetic), plugin=PLUGIN)
    viewer.close()
    images = [nibabel.load(each) for each in (path, untouched, synthetic)]
    exact = np.array_equal(images[0].get_fdata(), images[1].get_fdata())
    differences = [np.abs(image.affine - images[0].affine).max() for image in images[1:]]
    same = images[2].shape == images[0].shape
    return (
        f"| {path.name} | {'yes' if exact else 'NO'} | {differences[0]:.1e} | "
        f"{differences[1]:.1e} | {'yes' if same else 'NO'} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="slice_unet")
    options = parser.parse_args()
    print("| file | voxels exact | affine, untouched | affine, synthetic | same grid | s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for file in sorted(options.folder.rglob("*.nii*")):
            print(check(file, options.model, Path(place)), flush=True)
