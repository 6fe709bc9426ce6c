"""Style of all figures: sizes, colour-blind-safe and printable colours, file formats.

Figures are `matplotlib.figure.Figure` objects; pyplot, which has global state, is not used.

References
----------
.. [1] Okabe, Ito, Color universal design, 2008, https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.evaluation.results import SOURCE
from napari_mri7t.engine.texts import visible_lines

# Of Okabe and Ito's palette [1]: blue, vermilion, green, purple, sky blue, orange.
NETWORK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
NETWORK_MARKERS = ("o", "s", "^", "D", "v", "P")  # beside the colour
SOURCE_COLOUR = "#000000"
BASELINE_COLOUR = "#7A7A7A"
GREY_MAP = "gray"
ERROR_MAP = "RdBu_r"  # diverging; its ends differ for every kind of colour blindness
COUNT_MAP = "viridis"  # of evenly rising lightness: readable in grey
DPI = 150  # of PNG files
LETTERS_PER_INCH, MIN_LETTERS = 13, 7  # of a title
TEXT_WIDTH = 7.0  # inches, of a figure across a printed page


def house_style() -> contextlib.AbstractContextManager[None]:
    """Set sizes and lines of the figures drawn inside a ``with`` block."""
    return rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.labelsize": 9,
            "legend.fontsize": 8,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.parse_math": False,  # a subject's name may hold dollar signs
            "svg.hashsalt": "napari-mri7t",  # the same figure gives the same file
        }
    )


def new_figure(height: float, width: float = TEXT_WIDTH) -> Figure:
    """Return an empty figure with constrained layout.

    Parameters
    ----------
    height, width : float
        Inches.
    """
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def title_of(label: str, width: float) -> str:
    """Wrap a title to the width of a panel.

    Parameters
    ----------
    label : str
    width : float
        Of the panel, inches.
    """
    return textwrap.fill(label, max(MIN_LETTERS, int(LETTERS_PER_INCH * width)))


def figure_bytes(figure: Figure, form: str) -> bytes:
    """Return a figure as a file.

    Parameters
    ----------
    figure : Figure
    form : str
        "png" or "svg", whose text is drawn as paths and needs no font.

    Returns
    -------
    bytes
        The same for the same figure.

    Raises
    ------
    ValueError
        If the format is neither.
    """
    if form not in ("png", "svg"):
        raise ValueError(f"{form}: unknown format, expected png or svg")
    metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
    for text in figure.findobj(Text):  # of a file's name; a font has no glyph for a surrogate
        text.set_text(visible_lines(text.get_text()))
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format=form, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def look_of(method: str, networks: Sequence[str]) -> tuple[str, str]:
    """Return colour and marker of a method, the same in every figure of a study.

    Parameters
    ----------
    method : str
    networks : sequence of str
        All networks of the study, in order.
    """
    if method == SOURCE:
        return SOURCE_COLOUR, "X"
    if method in BASELINES or method not in networks:
        return BASELINE_COLOUR, "o"
    place = networks.index(method) % len(NETWORK_COLOURS)
    return NETWORK_COLOURS[place], NETWORK_MARKERS[place]
