"""The quality page of a pair: both scans, one on the other, and the figures of their agreement."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.metrics.tissue import WHITE, cluster_tissues
from napari_mri7t.engine.preparation.pair import PreparedPair
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.report.planes import (
    PLANES,
    beside,
    checkered,
    cut,
    grey,
    outlined,
    planes_through,
    scaled,
)
from napari_mri7t.engine.report.style import figure_bytes, house_style, new_figure
from napari_mri7t.engine.volumes.grids import bounding_box_mm
from napari_mri7t.engine.volumes.volume import Volume

PAGE_INCHES = (11.0, 11.5)
PIXELS = 260  # of the longest side of a picture
THUMBNAIL_PIXELS = 110
THUMBNAIL_QUALITY = 80
WHITE_PERCENTILE = 99.5  # of the brain's intensities
ROWS = ("3T, brain mask", "7T, brain mask", "checkerboard", "white matter of the 7T on the 3T")


@dataclass(frozen=True, eq=False)
class PairPlanes:
    """A pair in three planes, each picture of shape (rows, columns, 3), uint8.

    Attributes
    ----------
    rows : tuple of tuple of ndarray
        In the order of `ROWS`, then of `PLANES`.
    """

    rows: tuple[tuple[np.ndarray, ...], ...]


def pair_planes(pair: PreparedPair) -> PairPlanes:
    """Cut both heads, in the place of the pair's grid.

    Parameters
    ----------
    pair : PreparedPair
    """
    grids = planes_through(bounding_box_mm(pair.mask, pair.target.affine), PIXELS)
    heads = [
        _heads(prepared, grids, transform)
        for prepared, transform in (
            (pair.source_prepared, pair.to_grid @ pair.to_target),
            (pair.target_prepared, pair.to_grid),
        )
    ]
    brains = [[cut(volume, grid) for grid in grids] for volume in (pair.source, pair.target)]
    windows = [_window(volume, pair.mask) for volume in (pair.source, pair.target)]
    white = _white_matter(pair)
    boards, drawn = [], []
    for n, grid in enumerate(grids):
        pixel_mm = max(grid.voxel_size)
        first, second = (scaled(brains[k][n], windows[k]) for k in (0, 1))
        boards.append(grey(checkered(first, second, pixel_mm)))
        drawn.append(outlined(grey(brains[0][n], windows[0]), cut(white, grid) > 0.5))
    return PairPlanes((heads[0], heads[1], tuple(boards), tuple(drawn)))


def _heads(
    prepared: Prepared, grids: tuple[Volume, ...], transform: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return the pictures of a whole head with the outline of its mask."""
    window = _window(prepared.corrected, prepared.mask)
    mask = prepared.scan.with_array(prepared.mask)
    return tuple(
        outlined(
            grey(cut(prepared.corrected, grid, transform), window), cut(mask, grid, transform) > 0.5
        )
        for grid in grids
    )


def _window(volume: Volume, mask: np.ndarray) -> tuple[float, float]:
    return 0.0, float(np.percentile(volume.array[mask], WHITE_PERCENTILE))


def _white_matter(pair: PreparedPair) -> Volume:
    """Return the white matter of the 7T image; nothing where it shows no three tissues."""
    try:
        found = cluster_tissues(pair.target.array, pair.mask) == WHITE
    except ValueError:
        found = np.zeros(pair.mask.shape, bool)
    return pair.target.with_array(found)


def pair_figure(pair: PreparedPair, planes: PairPlanes) -> Figure:
    """Draw the page of a pair.

    Parameters
    ----------
    pair : PreparedPair
    planes : PairPlanes
    """
    with house_style():
        figure = new_figure(PAGE_INCHES[1], PAGE_INCHES[0])
        figure.suptitle(f"{pair.name}: 3T and 7T on one grid", fontsize=9)
        axes = figure.subplots(len(ROWS), len(PLANES) + 1)
        for row, (name, pictures) in enumerate(zip(ROWS, planes.rows, strict=True)):
            for column, picture in enumerate(pictures):
                axes[row, column].imshow(picture)
                axes[row, column].set_title(f"{name}, {PLANES[column]}", fontsize=7)
                axes[row, column].axis("off")
            axes[row, -1].axis("off")
        axes[0, -1].text(0, 1, "\n".join(_facts(pair)), va="top", fontsize=7)
    return figure


def _facts(pair: PreparedPair) -> list[str]:
    return [
        *(f"{label}: {text}" for label, text in figures_in_words(pair.facts).items()),
        *(f"! {_folded(text)}" for text in pair.problems),
    ]


def _folded(text: str, width: int = 42) -> str:
    import textwrap

    return "\n   ".join(textwrap.wrap(text, width))


def figures_in_words(facts: dict[str, object]) -> dict[str, str]:
    """Return the figures of a pair's agreement as text, by their labels.

    Parameters
    ----------
    facts : dict
        Of the pair, as its sidecars hold them.
    """
    found = pair_figures(facts)
    forms = {
        "mutual_information": ("mutual information", "{:.3f}"),
        "mirrored_information": ("the same, 3T mirrored", "{:.3f}"),
        "boundary_mm": ("distance of boundaries", "{:.2f} mm"),
        "overlap": ("overlap of the masks", "{:.3f}"),
        "correlation": ("correlation", "{:.2f}"),
        "rotation_degrees": ("rotation found", "{:.1f}°"),
        "shift_mm": ("shift found", "{:.1f} mm"),
    }
    return {label: form.format(found[k]) for k, (label, form) in forms.items() if k in found}


def pair_figures(facts: dict[str, object]) -> dict[str, float]:
    """Return the figures of a pair: its agreement, and how far the 3T was moved.

    Parameters
    ----------
    facts : dict
        Of the pair, as its sidecars hold them.

    Returns
    -------
    dict of str to float
        What is missing or not a number is left out. `shift_mm` is that of the brain's centre.

    Examples
    --------
    >>> figures = pair_figures(
    ...     {
    ...         "agreement": {"overlap": 0.9},
    ...         "transform_3t_to_7t": [[1, 0, 0, 3], [0, 0, -1, 4], [0, 1, 0, 0], [0, 0, 0, 1]],
    ...         "centre_3t": [7, 1, 0],  # goes to 10, 4, 1
    ...     }
    ... )
    >>> figures["overlap"], figures["rotation_degrees"].__round__(6)
    (0.9, 90.0)
    >>> figures["shift_mm"].__round__(3)  # the root of 3² + 3² + 1²
    4.359
    """
    agreement = facts.get("agreement")
    numbers = agreement.items() if isinstance(agreement, dict) else ()
    found = {name: float(v) for name, v in numbers if isinstance(v, int | float)}
    try:
        matrix = np.asarray(facts.get("transform_3t_to_7t"), float).reshape(4, 4)
        left, _, right = np.linalg.svd(matrix[:3, :3])
        cosine = (np.trace(left @ right) - 1) / 2
        centre = np.asarray(facts.get("centre_3t"), float).reshape(3)
    except (ValueError, TypeError, np.linalg.LinAlgError):
        return found
    moved = {
        "rotation_degrees": float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
        "shift_mm": float(np.linalg.norm(matrix[:3, :3] @ centre + matrix[:3, 3] - centre)),
    }
    return moved | found


def write_pair_figures(pair: PreparedPair, page: Path, thumbnail: Path) -> None:
    """Write the page of a pair as a PNG file, and a small picture of it, replacing old ones.

    Parameters
    ----------
    pair : PreparedPair
    page, thumbnail : Path
        PNG and WebP; their folder is made.

    Raises
    ------
    Mri7tError
        If a file cannot be written.
    """
    planes = pair_planes(pair)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_content(page, figure_bytes(pair_figure(pair, planes), "png"))
    small = []
    for row in (0, 1, 3):
        image = Image.fromarray(planes.rows[row][2])
        image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BOX)
        small.append(np.asarray(image))
    buffer = io.BytesIO()
    sheet = Image.fromarray(beside(small, max(each.shape[0] for each in small), 4))
    sheet.save(buffer, "WEBP", quality=THUMBNAIL_QUALITY)
    write_content(thumbnail, buffer.getvalue())
