"""A table as finished text, and how CSV, Markdown and LaTeX write it."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass

NOTHING = "–"  # a figure that is not defined
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


@dataclass(frozen=True)
class Table:
    """A table as text.

    Parameters
    ----------
    title : str
    header : tuple of str
    rows : tuple of tuple of str
        Each as long as the header.
    strong : frozenset of (int, int)
        Row and column of the cells to set in bold.
    note : str
        What a reader must know below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[tuple[int, int]] = frozenset()
    note: str = ""


def number(value: float, digits: int) -> str:
    """Write a figure with so many digits behind the point.

    Parameters
    ----------
    value : float
        NaN becomes a dash.
    digits : int

    Returns
    -------
    str
    """
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}f}"


def spread(mean: float, std: float, digits: int) -> str:
    """Write a mean with its standard deviation, or alone where there is none.

    Parameters
    ----------
    mean, std : float
    digits : int

    Returns
    -------
    str
    """
    if math.isnan(mean):
        return NOTHING
    return number(mean, digits) + ("" if math.isnan(std) else f" ± {number(std, digits)}")


def as_csv(table: Table) -> str:
    """Write a table as CSV (RFC 4180), header first; title and note are left out.

    Parameters
    ----------
    table : Table

    Returns
    -------
    str
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows(table.rows)
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """Write a table as Markdown with pipes, title above, note below.

    Parameters
    ----------
    table : Table

    Returns
    -------
    str
    """
    lines = [
        f"**{_markdown(table.title)}**",
        "",
        _markdown_row([_markdown(cell) for cell in table.header]),
        "|" + " --- |" * len(table.header),
    ]
    for i, row in enumerate(table.rows):
        cells = [_markdown(cell) for cell in row]
        bold = [f"**{c}**" if (i, j) in table.strong else c for j, c in enumerate(cells)]
        lines.append(_markdown_row(bold))
    if table.note:
        lines += ["", _markdown(table.note)]
    return "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """Write a table as a LaTeX float with booktabs rules.

    Parameters
    ----------
    table : Table

    Returns
    -------
    str
    """
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(f'{table.title}. {table.note}' if table.note else table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        " & ".join(_latex(cell) for cell in table.header) + r" \\",
        r"\midrule",
    ]
    for i, row in enumerate(table.rows):
        cells = [_latex(cell) for cell in row]
        bold = [rf"\textbf{{{c}}}" if (i, j) in table.strong else c for j, c in enumerate(cells)]
        lines.append(" & ".join(bold) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    """Escape what Markdown or the HTML inside it would interpret."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text).replace("\n", " ")


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _latex(text: str) -> str:
    """Escape what LaTeX would interpret."""
    return "".join(LATEX.get(sign, sign) for sign in text.replace("\n", " "))
