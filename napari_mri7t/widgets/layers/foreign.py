"""The position in space of a layer that this plugin did not open, as far as known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pint

from napari_mri7t.engine.errors import VolumeError


def affine_of_foreign_layer(
    name: str, meta: Mapping[str, Any]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return affine and warnings of a layer that another plugin or a script made."""
    _refuse_turned_layer(name, meta)
    scale = np.ones(3) if meta.get("scale") is None else np.asarray(meta["scale"], float)[-3:]
    shift = np.zeros(3) if meta.get("translate") is None else np.asarray(meta["translate"], float)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise VolumeError(f"{name}: scale {tuple(scale)}: voxel sizes must be positive")
    to_mm, is_known = _millimetres(meta.get("units"))
    affine = np.diag([*(scale * to_mm)[::-1], 1.0])  # S, A, R -> R, A, S
    affine[:3, 3] = (shift[-3:] * to_mm)[::-1]
    warnings = [
        f"{name} was not opened by this plugin: its axes were assumed to be S, A, R; if not, "
        "open its file with this plugin"
    ]
    if not is_known:
        warnings.append(
            f"{name} has no unit of length: its scale was assumed to be in mm; if not, set the "
            "layer's units"
        )
    return affine, tuple(warnings)


def _refuse_turned_layer(name: str, meta: Mapping[str, Any]) -> None:
    turned = [
        key
        for key, neutral in (("rotate", np.eye), ("affine", np.eye))
        if meta.get(key) is not None
        and not np.allclose(meta[key], neutral(np.shape(np.asarray(meta[key]))[-1]))
    ]
    if meta.get("shear") is not None and np.any(np.asarray(meta["shear"], float)):
        turned.append("shear")
    if turned:
        raise VolumeError(
            f"{name}: shown with {' and '.join(turned)}: its voxel grid is unknown; "
            "save it with its own plugin and open the NIfTI file with this one"
        )


def _millimetres(units: Sequence[Any] | None) -> tuple[np.ndarray, bool]:
    """Return the units of the last three axes in mm, and whether all have a length."""
    lengths, is_known = np.ones(3), units is not None
    for axis, unit in enumerate(list(units or [])[-3:]):
        length = _length_in_mm(unit)
        is_known &= length is not None
        lengths[axis] = length or 1.0
    return lengths, is_known


def _length_in_mm(unit: Any) -> float | None:
    try:
        return float(pint.get_application_registry().Quantity(1.0, unit).to("mm").magnitude)
    except pint.PintError:
        return None
