"""The HTML page: one file that needs nothing else and can do nothing but show itself.

Every text goes through Jinja's autoescape. The Content-Security-Policy allows the page's own style
sheet and script, by their digests, and pictures inside the file; nothing else, from nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from napari_mri7t.engine.evaluation.browser import ERROR_LIMIT, SubjectSlices, data_url
from napari_mri7t.engine.evaluation.table import Table
from napari_mri7t.engine.provenance import NOTICE

TEMPLATE, STYLE, SCRIPT = "report.html.jinja", "report.css", "report.js"
FIGURE_QUALITY = 88  # of figures of brains in the page; their PNG files lose nothing


@dataclass(frozen=True)
class Picture:
    """A figure as a data URL, what it shows in words, and whether it is a plot (or a picture)."""

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
        Whether each picture opens on a click, the first one open.
    """

    title: str
    texts: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folded: bool = False


def picture(content: bytes, form: str, caption: str) -> Picture:
    """Put a figure into the page: an SVG as it is, a PNG as WebP, a quarter of its size.

    Parameters
    ----------
    content : bytes
    form : str
        "png" or "svg".
    caption : str

    Returns
    -------
    Picture
    """
    if form == "svg":
        return Picture(data_url(content, "image/svg+xml"), caption, is_plot=True)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(buffer, "WEBP", quality=FIGURE_QUALITY)
    return Picture(data_url(buffer.getvalue(), "image/webp"), caption, is_plot=False)


def render_page(title: str, sections: Sequence[Section], browser: Sequence[SubjectSlices]) -> str:
    """Write the page.

    Parameters
    ----------
    title : str
    sections : sequence of Section
    browser : sequence of SubjectSlices
        None at all leaves the slice browser out.

    Returns
    -------
    str
        HTML.
    """
    style, script = _asset(STYLE), _asset(SCRIPT)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # labels in display order
    template = environment.from_string(_asset(TEMPLATE))
    return template.render(
        title=title,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        notice=NOTICE,
        sections=sections,
        browser=[asdict(subject) for subject in browser],
        error_limit=ERROR_LIMIT,
    )


def _asset(name: str) -> str:
    return (files("napari_mri7t.engine.evaluation") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Name a text as a Content-Security-Policy does."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
