"""Text from files, cards and sidecars, which may hold anything: for a screen, a message, a table.

A name may hold terminal escapes, line breaks, signs that reverse the reading direction, and bytes
that are not UTF-8, which Python represents by lone surrogates.
"""

import json
import math
import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories: controls, formats, surrogates
MESSAGE_LENGTH = 80  # characters of a value that a message quotes
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # starts one in a sheet
_NUMBER = r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf|nan|∞|–)"
_FIGURES = re.compile(rf"{_NUMBER}(?: (?:±|to) {_NUMBER})?")  # as tables hold them
_MARK = "'"
NOT_FINITE = ("Infinity", "-Infinity", "NaN")  # strings in place of numbers that JSON lacks


def visible(text: object) -> str:
    r"""Return one line in which every invisible character is an escape.

    Parameters
    ----------
    text : object
        Its `str`.

    Returns
    -------
    str
        Without control, format and separator characters, and without surrogates. The escapes are
        also those of JSON, so that a line of JSON stays valid.

    Examples
    --------
    >>> visible("scan\x1b[2J\n.nii")
    'scan\\u001b[2J\\u000a.nii'
    """
    line = str(text)
    return line if line.isprintable() else "".join(map(_visible, line))


def _visible(sign: str) -> str:
    if unicodedata.category(sign) not in INVISIBLE:
        return sign
    code = ord(sign)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible_lines(text: object) -> str:
    """Return several lines, each as `visible`."""
    return "\n".join(visible(line) for line in str(text).split("\n"))


def brief(value: object) -> str:
    """Return a value as a message quotes it: its `repr`, cut to `MESSAGE_LENGTH`.

    Examples
    --------
    >>> brief("cpu"), len(brief("x" * 10_000))
    ("'cpu'", 80)
    """
    text = repr(value[: MESSAGE_LENGTH + 1] if isinstance(value, str | list | tuple) else value)
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 3]}..."


def is_file_name(text: str) -> bool:
    """Return whether text names a file in a folder, and cannot lead out of it.

    Examples
    --------
    >>> is_file_name("scan.nii.gz"), is_file_name("../scan.nii.gz"), is_file_name("..")
    (True, False, False)
    """
    separators = {os.sep, os.altsep, "/", "\0"}
    if text in ("", os.curdir, os.pardir) or any(sign in text for sign in separators if sign):
        return False
    try:
        os.fsencode(text)
    except UnicodeError:
        return False
    return os.path.splitdrive(text)[0] == ""


def as_cell(text: str) -> str:
    """Return text as a cell of a CSV or TSV file that no spreadsheet takes for a formula.

    Parameters
    ----------
    text : str
        A number, also with its deviation or as an interval, stays as it is.

    Returns
    -------
    str
        With an apostrophe before what would start a formula, and before an apostrophe, so that
        `from_cell` returns the text.

    Examples
    --------
    >>> as_cell("=1+1"), as_cell("-0.5 ± 0.1"), as_cell("sub-01")
    ("'=1+1", '-0.5 ± 0.1', 'sub-01')
    """
    if text.startswith((*FORMULA, _MARK)) and not _FIGURES.fullmatch(text):
        return _MARK + text
    return text


def from_cell(cell: str) -> str:
    """Return the text of a cell that `as_cell` made.

    Examples
    --------
    >>> from_cell(as_cell("=1+1"))
    '=1+1'
    """
    return cell.removeprefix(_MARK)


def to_json(content: Any, *, indent: int | None = 2, ascii_only: bool = True) -> str:
    """Return strict JSON, which has no infinity and no NaN.

    They become the strings ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``, which ``float()`` in
    Python and ``Number()`` in JavaScript read back. NumPy numbers become plain ones.

    Parameters
    ----------
    content : Any
        Mappings, lists, strings and numbers.
    indent : int, optional
        Of the text; None for one line.
    ascii_only : bool
        True escapes every other character, for a terminal that may not support it.

    Examples
    --------
    >>> to_json({"psnr": float("inf")}, indent=None)
    '{"psnr": "Infinity"}'
    """
    return json.dumps(_strict(content), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _strict(value: object) -> object:
    """Replace what JSON cannot express by its name."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if hasattr(value, "item"):  # a number of numpy, which takes too long to import here
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def as_read(content: Any) -> Any:
    """Return values as they are read back from strict JSON.

    Examples
    --------
    >>> as_read({"widths": (8, 16), "limit": float("inf")})
    {'widths': [8, 16], 'limit': 'Infinity'}
    """
    return json.loads(to_json(content, indent=None))


def with_numbers(figures: Any) -> Any:
    """Return figures read from JSON with infinity and NaN as numbers again; see `to_json`.

    Examples
    --------
    >>> with_numbers({"psnr": {"mean": "Infinity"}, "hardware": "cpu"})
    {'psnr': {'mean': inf}, 'hardware': 'cpu'}
    """
    if isinstance(figures, Mapping):
        return {key: with_numbers(value) for key, value in figures.items()}
    if isinstance(figures, list):
        return [with_numbers(value) for value in figures]
    return float(figures) if figures in NOT_FINITE else figures
