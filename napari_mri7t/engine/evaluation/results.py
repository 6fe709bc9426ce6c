"""Scores of one subject by one method: kept as small files, so that work stopped is not lost.

A result carries the fingerprint of what it was computed from. A file that is damaged, or whose
fingerprint is another, counts as missing and is computed again.

The methods that are compared: what people call them, and what the report published of them.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_mri7t.engine.atomic import read_json, scores_to_json, write_content
from napari_mri7t.engine.evaluation.baselines import BASELINES

STEM_LENGTH = 60  # characters of a name that its file's name shows; the digest tells them apart
DIGEST_LENGTH = 12  # hexadecimal digits
_log = logging.getLogger(__name__)
SOURCE = "source"  # the method that does nothing: 3T as is, the report's "worst case"
LABELS: dict[str, str] = {
    SOURCE: "3T as is",
    **{name: baseline.label for name, baseline in BASELINES.items()},
    "basic_cnn": "BasicCNN",
    "watnet": "WATNet",
    "watnet_qu2020": "WATNet (Qu 2020)",
    "slice_unet": "SliceUNet",
}
# Table 1 of the report, mean and standard deviation over its ten held-out subjects.
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    SOURCE: {
        "whole_mae": (0.012005, 0.004080),
        "whole_psnr": (28.7586, 2.8865),
        "whole_ssim": (0.94902, 0.01728),
    },
    "basic_cnn": {
        "whole_mae": (0.013583, 0.004005),
        "whole_psnr": (28.0283, 2.0203),
        "whole_ssim": (0.95267, 0.01632),
    },
    "watnet": {
        "whole_mae": (0.011912, 0.004119),
        "whole_psnr": (28.8904, 2.8821),
        "whole_ssim": (0.94868, 0.01783),
    },
}


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


def published_of(method: str) -> dict[str, tuple[float, float]] | None:
    """Find what the report's Table 1 holds of a method.

    Parameters
    ----------
    method : str
        With or without a remark in brackets, which must be "report".

    Returns
    -------
    dict or None
        Metric to mean and standard deviation; None for what the report has not.
    """
    name, _, remark = method.partition(" (")
    return PUBLISHED.get(name) if remark in ("", "report)") else None


def label_of(method: str) -> str:
    """Name a method for people; one that is not known keeps its name.

    A remark in brackets stays: "watnet (report)" becomes "WATNet (report)".

    Parameters
    ----------
    method : str

    Returns
    -------
    str
    """
    name, bracket, remark = method.partition(" (")
    return LABELS.get(name, name) + bracket + remark


def ordered_methods(results: Sequence[SubjectResult]) -> list[str]:
    """Every method of the results: source, baselines, then the networks.

    Parameters
    ----------
    results : sequence of SubjectResult

    Returns
    -------
    list of str
    """
    found = dict.fromkeys(result.method for result in results)
    return [m for m in LABELS if m in found] + [m for m in found if m not in LABELS]


def networks_of(results: Sequence[SubjectResult]) -> list[str]:
    """Every method that is neither the source nor a baseline.

    Parameters
    ----------
    results : sequence of SubjectResult

    Returns
    -------
    list of str
    """
    return [m for m in ordered_methods(results) if m != SOURCE and m not in BASELINES]
