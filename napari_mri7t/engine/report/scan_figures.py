"""The figures of one estimate in a derivative: its quality page, thumbnails of it, and numbers.

They lie in the folder `figures` of the subject or session. The page of a batch is made from them.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from napari_mri7t.engine.atomic import read_json, write_content, write_json
from napari_mri7t.engine.datasets.bids import FIGURE_FOLDER
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.quality import QualityFigures
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.report.planes import beside, grey, outlined
from napari_mri7t.engine.report.quality_page import Inspection, inspect, quality_page
from napari_mri7t.engine.report.style import figure_bytes
from napari_mri7t.engine.typed import is_finite
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.volume import Volume

PAGE, NUMBERS = "quality.png", "quality.json"
MASK, RESULT = "mask.webp", "result.webp"  # thumbnails
THUMBNAIL_PIXELS = 128  # longest side of a plane
THUMBNAIL_QUALITY = 70
GAP = 2  # pixels between the planes of a thumbnail
LARGEST_THUMBNAIL = 1 << 20  # bytes


@dataclass(frozen=True)
class ScanFigures:
    """What is known of an estimate's preparation.

    Attributes
    ----------
    quality : QualityFigures or None
    seconds : float or None
        Of preparation and synthesis.
    page : str
        Of the quality page, within the derivative; empty if there is none.
    mask, result : bytes
        Thumbnails, WebP; empty if there is none.
    """

    quality: QualityFigures | None = None
    seconds: float | None = None
    page: str = ""
    mask: bytes = b""
    result: bytes = b""


def write_scan_figures(  # noqa: PLR0913 - a preparation, its result, and where they go
    folder: Path,
    output: str,
    prepared: Prepared,
    result: Volume,
    card: ModelCard,
    seconds: float,
) -> None:
    """Write the figures of an estimate, which takes a second or two.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    output : str
        Path of the estimate within it, with "/".
    prepared : Prepared
    result : Volume
        The estimate in its scan, on the scan's grid or in MNI space.
    card : ModelCard
    seconds : float
        Of preparation and synthesis.

    Raises
    ------
    Mri7tError
        If a file cannot be written.
    """
    seen = inspect(prepared, result, card)
    first = folder / figure_path(output, PAGE)
    first.parent.mkdir(parents=True, exist_ok=True)
    page = figure_bytes(quality_page(prepared, result, card, seen), "png")
    write_content(first, page)
    for name, picture in _thumbnails(seen).items():
        write_content(folder / figure_path(output, name), picture)
    facts = asdict(seen.figures) | {"seconds": round(seconds, 1)}
    write_json(folder / figure_path(output, NUMBERS), facts)


def figure_path(output: str, name: str) -> PurePosixPath:
    """Return the path of a figure within the derivative.

    Parameters
    ----------
    output : str
        Path of the estimate within it.
    name : str
        `PAGE`, `NUMBERS`, `MASK` or `RESULT`.

    Examples
    --------
    >>> str(figure_path("sub-01/ses-2/anat/sub-01_ses-2_desc-synth7T_T1w.nii.gz", PAGE))
    'sub-01/ses-2/figures/sub-01_ses-2_desc-synth7T_T1w_quality.png'
    """
    path = PurePosixPath(output)
    return path.parent.parent / FIGURE_FOLDER / f"{stem_of(Path(path.name))}_{name}"


def read_scan_figures(folder: Path, output: str) -> ScanFigures:
    """Read the figures of an estimate; what is missing or cannot be read is left out.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    output : str
        Path of the estimate within it.
    """
    quality, seconds = _numbers(folder / figure_path(output, NUMBERS))
    page = figure_path(output, PAGE)
    return ScanFigures(
        quality,
        seconds,
        str(page) if (folder / page).is_file() else "",
        _thumbnail(folder / figure_path(output, MASK)),
        _thumbnail(folder / figure_path(output, RESULT)),
    )


def _numbers(path: Path) -> tuple[QualityFigures | None, float | None]:
    try:
        facts = read_json(path)
        found = {each.name: facts[each.name] for each in fields(QualityFigures)}
        seconds = _number(facts.get("seconds"))
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None, None
    is_registered, strength = found.pop("is_registered"), found.pop("bias_field_strength")
    numbers = {name: _number(value) for name, value in found.items()}
    if not isinstance(is_registered, bool) or None in numbers.values():
        return None, seconds
    given: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    figures = QualityFigures(
        is_registered=is_registered, bias_field_strength=_number(strength), **given
    )
    return figures, seconds


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return None
    return float(value)


def _thumbnail(path: Path) -> bytes:
    try:
        content = read_regular(path, LARGEST_THUMBNAIL)
    except (OSError, Mri7tError):
        return b""
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return content if is_webp else b""


def _thumbnails(seen: Inspection) -> dict[str, bytes]:
    """Return the mask's outline in a sagittal and an axial plane, and before and after."""
    planes, window = seen.planes, seen.window
    outlines = []
    for plane in (0, 2):
        small = _small(grey(planes.before[plane], window))
        mask = _small(grey(planes.mask[plane].astype(np.float32)))[..., 0] > 127
        outlines.append(outlined(small, mask))
    before_after = [_small(grey(each[2], window)) for each in (planes.before, planes.after)]
    height = max(each.shape[0] for each in (*outlines, *before_after))
    return {
        MASK: _webp(beside(outlines, height, GAP)),
        RESULT: _webp(beside(before_after, height, GAP)),
    }


def _small(colours: np.ndarray) -> np.ndarray:
    image = Image.fromarray(colours)
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BOX)
    return np.asarray(image)


def _webp(colours: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "WEBP", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()
