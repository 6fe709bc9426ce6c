"""The report's pictures of single subjects, and what is kept of their volumes for later plots."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from napari_mri7t.engine.evaluation.browser import SubjectSlices, browse
from napari_mri7t.engine.evaluation.figures import error_figure, report_slice, slice_figure
from napari_mri7t.engine.evaluation.methods import SOURCE, label_of
from napari_mri7t.engine.evaluation.page import Picture, picture
from napari_mri7t.engine.evaluation.results import file_name, write_content
from napari_mri7t.engine.evaluation.style import figure_bytes
from napari_mri7t.engine.volume import Volume

TARGET = "target"
TARGET_LABEL = "7T"
N_SAMPLES = 20_000  # voxels of each subject in the plots of agreement


@dataclass
class Gathered:
    """What stays of the subjects' volumes once they are out of memory again.

    Parameters
    ----------
    slices : dict
        Subject to label to the report's slice.
    samples : dict
        Label to (target, estimate) intensities of every subject.
    browser : list of SubjectSlices
    details, errors : list of Picture
    """

    slices: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    samples: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    browser: list[SubjectSlices] = field(default_factory=list)
    details: list[Picture] = field(default_factory=list)
    errors: list[Picture] = field(default_factory=list)


def gather(
    name: str, volumes: Mapping[str, Volume], gathered: Gathered, folder: Path
) -> Generator[str, None, None]:
    """Draw one subject's pictures, and keep what the plots of all subjects need.

    Parameters
    ----------
    name : str
        The subject.
    volumes : mapping of str to Volume
        "source" (may be missing), the networks' estimates and "target", in [0, 1].
    gathered : Gathered
        Grows by the subject.
    folder : Path
        For the figures' files; must exist.

    Yields
    ------
    str
        What is being drawn.
    """
    first = [SOURCE] if SOURCE in volumes else []
    order = [*first, *(m for m in volumes if m not in (SOURCE, TARGET)), TARGET]
    arrays = {
        TARGET_LABEL if method == TARGET else label_of(method): volumes[method].array
        for method in order
    }
    target = arrays[TARGET_LABEL]
    k = report_slice(target.shape[2])
    slices = {label: np.array(array[:, :, k]) for label, array in arrays.items()}
    estimates = {label: plane for label, plane in slices.items() if label != TARGET_LABEL}
    title = f"{name}, slice {k}"
    stem = file_name(name).removesuffix(".json")

    yield "details"
    caption = f"{title}: every method, two patches enlarged"
    details = slice_figure(title, slices, TARGET_LABEL)
    gathered.details.append(keep(details, folder, f"slice-{stem}", caption, "png"))
    yield "errors"
    caption = f"{title}: estimate minus 7T, one symmetric scale"
    errors = error_figure(title, slices[TARGET_LABEL], estimates)
    gathered.errors.append(keep(errors, folder, f"errors-{stem}", caption, "png"))
    yield "slice browser"
    networks = tuple(label for label in estimates if label != label_of(SOURCE))
    gathered.browser.append(browse(name, arrays, TARGET_LABEL, networks))
    gathered.slices[name] = slices
    chosen = _choose_voxels(name, target)
    for label in estimates:
        pair = (target.flat[chosen], arrays[label].flat[chosen])
        gathered.samples.setdefault(label, []).append(pair)


def keep(figure: Figure, folder: Path, stem: str, caption: str, shown: str) -> Picture:
    """Write a figure as PNG and SVG, and give one of them to the page.

    Parameters
    ----------
    figure : Figure
    folder : Path
        Must exist.
    stem : str
        Of the files.
    caption : str
    shown : str
        "png" or "svg": SVG for lines, PNG for pictures of brains.

    Returns
    -------
    Picture
    """
    for form in ("png", "svg"):
        content = figure_bytes(figure, form)
        write_content(folder / f"{stem}.{form}", content)
        if form == shown:
            chosen = content
    return picture(chosen, shown, caption)


def _choose_voxels(name: str, target: np.ndarray) -> np.ndarray:
    """Draw voxels of the brain, the same ones for every method and in every run."""
    brain = np.flatnonzero(np.ascontiguousarray(target) > 0)
    seed = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    rng = np.random.default_rng(seed)
    return rng.choice(brain, min(N_SAMPLES, brain.size), replace=False)
