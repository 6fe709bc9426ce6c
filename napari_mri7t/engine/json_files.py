"""JSON from a file that anybody may have edited: whatever is wrong with it is a ValueError."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Any
        What JSON knows.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no JSON, no UTF-8, or nested so deeply that reading it would exhaust the stack.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # editors may put a mark
    except RecursionError as error:  # a RuntimeError, which napari's worker would swallow
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON at line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise ValueError("no text in UTF-8") from error
