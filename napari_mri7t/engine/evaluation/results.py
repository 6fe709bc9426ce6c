"""Results of an evaluation: the scores of each subject by each method, and their files.

Each result is a small file with the fingerprint of its inputs, so that a stopped evaluation resumes
without loss: a damaged file, or one with another fingerprint, counts as missing.

Also the names of methods, and their scores as published in the report.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_mri7t.engine.atomic import read_json, write_json
from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.metrics.scoring import METRICS

STUDY_FILE = "study.json"  # of a run folder: marks it as one
STEM_LENGTH = 60  # characters of a name in its file's name; a digest makes it unique
DIGEST_LENGTH = 12  # hexadecimal digits
SOURCE = "source"  # the method that does nothing: 3T as is, the report's "worst case"
TARGET = "target"  # key of the real 7T among volumes by method
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
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cost:
    """Computing time and size of a method.

    Parameters
    ----------
    seconds : float
        Computing alone, on the machine of the study; NaN if unknown.
    n_parameters : int
        Of the network, as Keras counts; 0 for other methods.
    """

    seconds: float = math.nan
    n_parameters: int = 0


@dataclass(frozen=True)
class SubjectResult:
    """Scores of one method on one subject.

    Parameters
    ----------
    subject : str
    method : str
        A network, a baseline, or "source".
    metrics : dict
        Keys of `scoring.METRICS`.
    note : str
        Such as a baseline's parameter.
    cost : Cost
    """

    subject: str
    method: str
    metrics: dict[str, float]
    note: str = ""
    cost: Cost = field(default=Cost(), compare=False)  # differs from run to run


@dataclass(frozen=True)
class StudyResults:
    """Results of several methods on several subjects.

    Parameters
    ----------
    results : tuple of SubjectResult
    is_of_report : bool
        Whether subjects and input are those of the report, beside whose figures they may stand.
    """

    results: tuple[SubjectResult, ...] = ()
    is_of_report: bool = False

    def __iter__(self) -> Iterator[SubjectResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def subjects(self) -> list[str]:
        """Names, in the order of the results."""
        return list(dict.fromkeys(result.subject for result in self.results))

    @property
    def methods(self) -> list[str]:
        """Source, baselines, then networks."""
        found = dict.fromkeys(result.method for result in self.results)
        return [m for m in LABELS if m in found] + [m for m in found if m not in LABELS]

    @property
    def networks(self) -> list[str]:
        """Methods other than the source and the baselines."""
        return [m for m in self.methods if m != SOURCE and m not in BASELINES]

    def values(self, method: str, key: str) -> dict[str, float]:
        """Return one metric of one method by subject, NaN where a result lacks it."""
        return {r.subject: r.metrics.get(key, np.nan) for r in self.results if r.method == method}

    def gains(self, ours: str, theirs: str, key: str) -> np.ndarray:
        """Return the gain of one method over another on every subject that has both.

        Parameters
        ----------
        ours, theirs : str
            Methods.
        key : str
            Of `METRICS`.

        Returns
        -------
        ndarray, shape (n,)
            Positive where ours is better; NaN where both are infinite.
        """
        a, b = self.values(ours, key), self.values(theirs, key)
        common = [subject for subject in a if subject in b]
        with np.errstate(invalid="ignore"):  # infinite against infinite
            return METRICS[key].gain(
                np.array([a[s] for s in common]), np.array([b[s] for s in common])
            )


def file_name(*names: str) -> str:
    """Return a safe file name for names that may hold any character.

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
    """Return a digest of everything that a result depends on.

    Parameters
    ----------
    *parts : object
        Distinguished by their ``repr``: strings, numbers, tuples of these.

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
    write_json(folder / name, {"fingerprint": mark, **content})


def load_record(folder: Path, name: str, mark: str) -> dict[str, object] | None:
    """Read a record, or None if it is missing, damaged, or has another fingerprint.

    Parameters
    ----------
    folder : Path
    name : str
        From `file_name`.
    mark : str
        The fingerprint that it must have.
    """
    path = folder / name
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s: cannot be read (%s), will be computed again", path, error)
        return None
    return content if isinstance(content, dict) and content.get("fingerprint") == mark else None


def save_result(folder: Path, result: SubjectResult, mark: str) -> None:
    """Write the scores of one method on one subject.

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
    """Read the scores of one method on one subject.

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
    metrics = None if content is None else content.get("metrics")
    if content is None or not isinstance(metrics, dict):
        return None
    try:
        figures = {str(key): float(value) for key, value in metrics.items()}
        seconds = float(str(content.get("seconds", math.nan)))
        cost = Cost(seconds, int(str(content.get("n_parameters", 0))))
    except (TypeError, ValueError, OverflowError):  # of a number of 400 digits
        return None
    return SubjectResult(subject, method, figures, str(content.get("note", "")), cost)


def published_of(method: str) -> dict[str, tuple[float, float]] | None:
    """Return the figures of a method in the report's Table 1.

    Parameters
    ----------
    method : str
        With or without a remark in brackets, which must be "report".

    Returns
    -------
    dict or None
        Metric to mean and standard deviation; None for methods that the report lacks.
    """
    name, _, remark = method.partition(" (")
    return PUBLISHED.get(name) if remark in ("", "report)") else None


def label_of(method: str) -> str:
    """Return the displayed name of a method.

    Parameters
    ----------
    method : str
        With or without a remark in brackets.

    Returns
    -------
    str
        The name itself for an unknown method.

    Examples
    --------
    >>> label_of("watnet (report)")
    'WATNet (report)'
    """
    name, bracket, remark = method.partition(" (")
    return LABELS.get(name, name) + bracket + remark


def name_of_layer(name: str) -> str:
    """Return a layer's name as that of a method, unlike those that have a meaning of their own.

    Examples
    --------
    >>> name_of_layer("t1 synthetic-7T"), name_of_layer("target"), name_of_layer("watnet (report)")
    ('t1 synthetic-7T', 'layer target', 'layer watnet (report)')
    """
    return f"layer {name}" if name.partition(" (")[0] in {TARGET, *LABELS} else name
