"""The methods that are compared: what people call them, and what the report published of them."""

from __future__ import annotations

from collections.abc import Sequence

from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.evaluation.results import SubjectResult

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
