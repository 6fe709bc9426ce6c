"""The HTML page, one self-contained file, and the pictures of its slice browser.

Every text goes through Jinja's autoescape. The Content-Security-Policy allows the page's own style
sheet and script, by their digests, and pictures inside the file; nothing remote.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from PIL import Image

from napari_mri7t.engine.report.style import ERROR_MAP
from napari_mri7t.engine.report.tables import Table
from napari_mri7t.engine.texts import visible_lines
from napari_mri7t.engine.volumes.grids import bounding_box
from napari_mri7t.engine.volumes.provenance import NOTICE

SLICE_STEP = 4  # from one slice in the browser to the next
QUALITY = 75  # of the WebP pictures: noise stays visible, ten subjects take about 12 MB
MARGIN_VOXELS = 3  # around the brain
ERROR_LIMIT = 0.2  # of intensity: half the error maps' scale, the same for all subjects
STYLE = "report.css"
FIGURE_QUALITY = 88  # of figures of brains in the page; their PNG files are lossless


@dataclass(frozen=True)
class SubjectSlices:
    """One subject in the slice browser.

    Parameters
    ----------
    subject : str
    slices : tuple of int
        Axial indices.
    images : dict of str to tuple of str
        Label to one data URL per slice.
    """

    subject: str
    slices: tuple[int, ...]
    images: dict[str, tuple[str, ...]]


def browse(
    subject: str, volumes: Mapping[str, np.ndarray], reference: str, errors_of: tuple[str, ...]
) -> SubjectSlices:
    """Return pictures of every fourth axial slice of the brain.

    Parameters
    ----------
    subject : str
    volumes : mapping of str to ndarray, shape (I, J, K)
        Label to intensities in [0, 1], in display order.
    reference : str
        Label of the volume that is above 0 in the brain.
    errors_of : tuple of str
        Labels with error maps.

    Returns
    -------
    SubjectSlices
        Anterior up, the subject's right on the right.
    """
    brain = volumes[reference] > 0
    box = bounding_box(brain, MARGIN_VOXELS)
    height = bounding_box(brain, 0)[2]
    slices = tuple(range(height.start, height.stop, SLICE_STEP))
    images = {
        label: tuple(_grey(array[box[0], box[1], k]) for k in slices)
        for label, array in volumes.items()
    }
    for label in errors_of:
        error = np.where(brain, volumes[label] - volumes[reference], 0)
        images[f"{label} − {reference}"] = tuple(_error(error[box[0], box[1], k]) for k in slices)
    return SubjectSlices(subject, slices, images)


def data_url(content: bytes, kind: str) -> str:
    """Return bytes as a data URL.

    Parameters
    ----------
    content : bytes
    kind : str
        Media type, such as "image/png".
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _grey(array: np.ndarray) -> str:
    return _picture(np.round(255 * np.clip(array, 0, 1)).astype(np.uint8))


def _error(array: np.ndarray) -> str:
    shares = np.clip(array / (2 * ERROR_LIMIT) + 0.5, 0, 1)
    return _picture(colormaps[ERROR_MAP](shares, bytes=True)[..., :3])


def _picture(pixels: np.ndarray) -> str:
    """Encode pixels of shape (I, J) or (I, J, 3), i to the right and j up."""
    buffer = io.BytesIO()
    upright = np.ascontiguousarray(pixels.swapaxes(0, 1)[::-1])  # rows from the top
    Image.fromarray(upright).save(buffer, "WEBP", quality=QUALITY)
    return data_url(buffer.getvalue(), "image/webp")


@dataclass(frozen=True)
class Picture:
    """A figure as a data URL, its caption, and whether it is a plot or a picture of brains."""

    url: str
    caption: str
    is_plot: bool


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    title : str
    texts : tuple of str
        Paragraphs.
    tables : tuple of Table
    pictures : tuple of Picture
    folded : bool
        Whether each picture opens on a click, all but the first closed.
    """

    title: str
    texts: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folded: bool = False


def picture(content: bytes, form: str, caption: str) -> Picture:
    """Embed a figure: an SVG as it is, a PNG as WebP, a quarter of its size.

    Parameters
    ----------
    content : bytes
    form : str
        "png" or "svg".
    caption : str
    """
    if form == "svg":
        return Picture(data_url(content, "image/svg+xml"), caption, is_plot=True)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(buffer, "WEBP", quality=FIGURE_QUALITY)
    return Picture(data_url(buffer.getvalue(), "image/webp"), caption, is_plot=False)


def render_page(title: str, sections: Sequence[Section], browser: Sequence[SubjectSlices]) -> str:
    """Render the page.

    Parameters
    ----------
    title : str
    sections : sequence of Section
    browser : sequence of SubjectSlices
        Without any there is no slice browser.

    Returns
    -------
    str
        HTML.
    """
    return render(
        "report",
        {
            "title": title,
            "sections": sections,
            "browser": [
                asdict(subject) | {"subject": visible_lines(subject.subject)} for subject in browser
            ],
            "error_limit": ERROR_LIMIT,
        },
    )


def render(name: str, content: Mapping[str, object], *, like: str = "") -> str:
    """Render one of this room's templates into a file that loads nothing from elsewhere.

    Parameters
    ----------
    name : str
        Of the template, of its script and, beside the style that all pages share, of its own.
    content : mapping
        What the template shows: text is escaped, its control characters are made visible.
    like : str
        Name of another template whose script and style are used.

    Returns
    -------
    str
        HTML.
    """
    assets = like or name
    own = f"{assets}.css"
    style = _asset(STYLE) + (_asset(own) if own != STYLE else "")
    script = _asset(f"{assets}.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_visible)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # labels in display order
    return environment.from_string(_asset(f"{name}.html.jinja")).render(
        policy=policy, style=Markup(style), script=Markup(script), notice=NOTICE, **content
    )


def _visible(value: object) -> object:
    """Show control characters in place of sending them; what is marked as HTML stays."""
    return visible_lines(value) if type(value) is str else value


def _asset(name: str) -> str:
    return (files("napari_mri7t.engine.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the digest by which a Content-Security-Policy allows a text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
