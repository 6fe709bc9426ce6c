"""Scores of one subject by one method: kept as small files, so that work stopped is not lost.

A result carries the fingerprint of what it was computed from. A file that is damaged, or whose
fingerprint is another, counts as missing and is computed again.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.evaluation.metrics import scores_to_json
from napari_mri7t.engine.json_files import read_json

STEM_LENGTH = 60  # characters of a name that its file's name shows; the digest tells them apart
DIGEST_LENGTH = 12  # hexadecimal digits

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cost:
    """What an estimate took.

    Parameters
    ----------
    seconds : float
        Computing alone, on the machine of the study; NaN where not known.
    n_parameters : int
        Of the network, as Keras counts; 0 for other methods.
    """

    seconds: float = math.nan
    n_parameters: int = 0


@dataclass(frozen=True)
class SubjectResult:
    """Every figure of one method on one subject.

    Parameters
    ----------
    subject : str
    method : str
        A network, a baseline, or "source".
    metrics : dict
        Keys of `scoring.METRICS`.
    note : str
        What else a reader should know, such as a baseline's parameter.
    cost : Cost
    """

    subject: str
    method: str
    metrics: dict[str, float]
    note: str = ""
    cost: Cost = field(default=Cost(), compare=False)  # no two runs take the same time


def file_name(*names: str) -> str:
    """Make a file name of names that may hold any character.

    Parameters
    ----------
    *names : str
        Such as subject and method.

    Returns
    -------
    str
        Letters, digits, dots, hyphens and a digest, ending in ``.json``.
    """
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", "_".join(names)).strip("-.")[:STEM_LENGTH]
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}-{digest[:DIGEST_LENGTH]}.json"


def fingerprint(*parts: object) -> str:
    """Digest of everything that a result depends on.

    Parameters
    ----------
    *parts : object
        Whose ``repr`` tells them apart: strings, numbers, tuples of these.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def write_content(path: Path, content: str | bytes) -> Path:
    """Write a small file whole or not at all.

    Parameters
    ----------
    path : Path
    content : str or bytes
        Text becomes UTF-8; what a strange name smuggled into it, an escape.

    Returns
    -------
    Path
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    return write_atomically(path, lambda file: file.write(data))


def save_record(folder: Path, name: str, mark: str, content: Mapping[str, object]) -> None:
    """Write a small record with its fingerprint, whole or not at all.

    Parameters
    ----------
    folder : Path
        Made if missing.
    name : str
        From `file_name`.
    mark : str
        The fingerprint.
    content : mapping
        What JSON can hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_content(folder / name, scores_to_json({"fingerprint": mark, **content}))


def load_record(folder: Path, name: str, mark: str | None = None) -> dict[str, object] | None:
    """Read a record, or None if it is missing, damaged, or has another fingerprint.

    Parameters
    ----------
    folder : Path
    name : str
        From `file_name`.
    mark : str, optional
        The fingerprint it must have; any by default.

    Returns
    -------
    dict or None
    """
    path = folder / name
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s: cannot be read (%s), will be computed again", path, error)
        return None
    if not isinstance(content, dict) or (mark is not None and content.get("fingerprint") != mark):
        return None
    return content


def save_result(folder: Path, result: SubjectResult, mark: str) -> None:
    """Write one subject's figures by one method.

    Parameters
    ----------
    folder : Path
        Made if missing.
    result : SubjectResult
    mark : str
        The fingerprint.
    """
    content = {
        "subject": result.subject,
        "method": result.method,
        "note": result.note,
        "metrics": result.metrics,
        "seconds": result.cost.seconds,
        "n_parameters": result.cost.n_parameters,
    }
    save_record(folder, file_name(result.subject, result.method), mark, content)


def load_result(folder: Path, subject: str, method: str, mark: str) -> SubjectResult | None:
    """Read one subject's figures by one method.

    Parameters
    ----------
    folder : Path
    subject, method : str
    mark : str
        The fingerprint that the result must have.

    Returns
    -------
    SubjectResult or None
        None if it has to be computed.
    """
    content = load_record(folder, file_name(subject, method), mark)
    return None if content is None else _result_from(content)


def load_results(folder: Path) -> list[SubjectResult]:
    """Read every result of a folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of SubjectResult
        Sorted by subject and method; damaged files left out. Empty if there is no folder.
    """
    contents = (load_record(folder, path.name) for path in sorted(folder.glob("*.json")))
    found = (_result_from(content) for content in contents if content is not None)
    return sorted(
        (result for result in found if result is not None), key=lambda r: (r.subject, r.method)
    )


def values_of(results: Iterable[SubjectResult], method: str, key: str) -> dict[str, float]:
    """One metric of one method, by subject.

    Parameters
    ----------
    results : iterable of SubjectResult
    method : str
    key : str
        Of `scoring.METRICS`.

    Returns
    -------
    dict
        Subject to value; NaN where the result lacks the metric.
    """
    return {r.subject: r.metrics.get(key, np.nan) for r in results if r.method == method}


def _result_from(content: Mapping[str, object]) -> SubjectResult | None:
    """Read a result, or None if the record is no result."""
    metrics = content.get("metrics")
    if not isinstance(metrics, dict):
        return None
    try:
        figures = {str(key): float(value) for key, value in metrics.items()}
        seconds = float(str(content.get("seconds", math.nan)))
        cost = Cost(seconds, int(str(content.get("n_parameters", 0))))
    except (TypeError, ValueError):
        return None
    subject, method, note = (str(content.get(key, "")) for key in ("subject", "method", "note"))
    return SubjectResult(subject, method, figures, note, cost)
