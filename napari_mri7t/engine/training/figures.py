"""The figures of held-out subjects: those of one fold, in its file, and their summary."""

import math
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import StateError, reason_of
from napari_mri7t.engine.models.card import CARD_FILE, read_card
from napari_mri7t.engine.texts import to_json, with_numbers
from napari_mri7t.engine.training.fold_checks import check_done
from napari_mri7t.engine.training.study import Study
from napari_mri7t.engine.typed import is_of_type

METRICS_FILE = "metrics.json"
ROLES, REGIONS = ("source", "estimate"), ("brain", "whole")  # of its figures


def summarize_figures(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation (None for one subject) of the held-out figures.

    Parameters
    ----------
    figures : list of dict
        As `estimate_held_out` returns them, one per subject.

    Returns
    -------
    dict
        `n_held_out`, `subjects`, median `seconds`, `hardware`, and for source and estimate the
        figures by region; empty without figures. The deviation is divided by n, as in all tables.
    """
    if not figures:
        return {}
    summary: dict[str, Any] = {
        "n_held_out": len(figures),
        "subjects": [entry["subject"] for entry in figures],
        "seconds": round(median(entry["seconds"] for entry in figures), 2),
        "hardware": figures[0]["hardware"],
    }
    for method, region in product(ROLES, REGIONS):
        for metric in figures[0][method][region]:
            values = [entry[method][region][metric] for entry in figures]
            summary.setdefault(method, {}).setdefault(region, {})[metric] = {
                "mean": round(fmean(values), 5),
                "std": _spread(values),
            }
    return summary


def _spread(values: list[float]) -> float | None:
    if len(values) < 2:
        return None
    return round(pstdev(values), 5) if all(map(math.isfinite, values)) else math.nan


def held_out_figures(study: Study) -> list[dict[str, Any]]:
    """Return the held-out figures of all folds that are done, each checked to be this study's.

    Raises
    ------
    StateError
        As `check_done`, or if a fold's figures cannot be read, or are not those of its card.
    """
    done = [k for k in range(len(study.subjects)) if study.is_done(k)]
    for k in done:
        check_done(study, k)
    folders = [study.fold_folder(k) for k in done]
    folders = [folder for folder in folders if (folder / METRICS_FILE).exists()]
    found = read_figures(folders)
    for folder, figures in zip(folders, found, strict=True):
        if to_json(summarize_figures([figures])) != to_json(read_card(folder).metrics):
            raise StateError(
                f"{folder / METRICS_FILE}: holds other figures than the fold's {CARD_FILE}: put "
                "it back, or remove the folder to train the fold again"
            )
    return found


def read_figures(folders: list[Path]) -> list[dict[str, Any]]:
    """Return the held-out figures of all folds that have them."""
    paths = [path for folder in folders if (path := folder / METRICS_FILE).exists()]
    found = [_read_figures(path) for path in paths]
    for path, figures in zip(paths, found, strict=True):
        if any(figures[r][s].keys() != found[0][r][s].keys() for r, s in product(ROLES, REGIONS)):
            raise StateError(f"{path}: holds other metrics than {paths[0]}; remove one of the two")
    return found


def _read_figures(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = read_json(path)
        figures = read | {role: with_numbers(read[role]) for role in ROLES}
        for name, is_sound in _checks(figures).items():
            if not is_sound:
                raise ValueError(f"{name} is missing or has another type")
        return figures
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StateError(
            f"{path}: holds no readable figures ({reason_of(error)}); remove it"
        ) from error


def _checks(figures: Mapping[str, Any]) -> dict[str, bool]:
    """Return by name which entries that the summary and the costs take are sound."""
    checks = {name: isinstance(figures.get(name), str) for name in ("subject", "hardware")}
    checks["seconds"] = _is_number(figures.get("seconds"))
    for role, region in product(ROLES, REGIONS):
        found = figures[role].get(region)
        checks[f"{role}.{region}"] = isinstance(found, Mapping) and all(
            map(_is_number, found.values())
        )
    return checks


def _is_number(value: object) -> bool:
    """Return whether a value is a number; infinity and NaN are scores too."""
    return isinstance(value, float) or is_of_type(value, float)
