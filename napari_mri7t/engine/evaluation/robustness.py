"""Noise and shift: how a method holds where its input leaves what it was trained on.

The same pseudo-3T as in training, with less and more noise, from a blurred brain, and under a bias
field; always against the unharmed target. Where a method scores below its own input it has stopped
to help.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.evaluation.metrics import compare
from napari_mri7t.engine.evaluation.scoring import flatten
from napari_mri7t.engine.preparation.intensity import match_histogram, normalize
from napari_mri7t.engine.preparation.simulation import REPORT_VARIANCE, add_noise
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.volume import Volume

Method = Callable[[Volume], Generator[object, None, Volume]]  # source to estimate, with steps


@dataclass(frozen=True)
class Condition:
    """One way to harm the input, and how much.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    level : float
        In the unit that `KINDS` names.
    """

    kind: str
    level: float


@dataclass(frozen=True)
class RobustnessPoint:
    """The figures of source and estimate under one condition.

    Parameters
    ----------
    kind, level
        As in `Condition`.
    source, estimate : dict
        Keys as `metrics.compare` gives them, flattened: "brain_psnr" and so on.
    """

    kind: str
    level: float
    source: dict[str, float]
    estimate: dict[str, float]


@dataclass(frozen=True)
class RobustnessProgress:
    """How many conditions are done, of how many, and which one is being worked on."""

    done: int
    total: int
    message: str


KINDS: dict[str, str] = {
    "noise": "variance of the noise",
    "blur": "sigma of the blur, mm",
    "bias": "amplitude of the bias field",
}
CONDITIONS: tuple[Condition, ...] = (
    *(Condition("noise", level) for level in (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01)),
    *(Condition("blur", level) for level in (0.0, 0.4, 0.6, 0.8, 1.0, 1.5)),
    *(Condition("bias", level) for level in (0.0, 0.1, 0.2, 0.3, 0.4)),
)


def robustness_steps(
    target: Volume,
    method: Method,
    *,
    reference: Volume | None = None,
    conditions: Sequence[Condition] = CONDITIONS,
    seed: int = 0,
) -> Generator[RobustnessProgress, None, list[RobustnessPoint]]:
    """Score a method under every condition.

    Parameters
    ----------
    target : Volume
        A 7T brain that the method was not trained on, any intensity scale.
    method : callable
        Source to a generator that returns the estimate; its steps are passed on.
    reference : Volume, optional
        Whose histogram source and target get; the target's own by default.
    conditions : sequence of Condition
    seed : int
        Of noise and bias field, the same under every condition.

    Yields
    ------
    RobustnessProgress

    Returns
    -------
    list of RobustnessPoint
        In the order of the conditions.
    """
    clean = normalize(target.array)[0]
    matched_to = clean if reference is None else normalize(reference.array)[0]
    aim = target.with_array(match_histogram(clean, matched_to), name=f"{target.name}_7T")
    points = []
    for number, condition in enumerate(conditions):
        now = RobustnessProgress(
            number, len(conditions), f"{KINDS[condition.kind]} {condition.level:g}"
        )
        yield now
        harmed = harm(clean, condition, seed=seed, voxel_size=target.voxel_size)
        source = target.with_array(match_histogram(harmed, matched_to), name="pseudo-3T")
        estimate = yield from run_method(method, source, now)
        figures = [flatten(compare(aim, volume)) for volume in (source, estimate)]
        points.append(RobustnessPoint(condition.kind, condition.level, *figures))
    return points


def run_method(
    method: Method, source: Volume, now: RobustnessProgress
) -> Generator[RobustnessProgress, None, Volume]:
    """Run a method to its end, yielding our own progress for each of its steps.

    Parameters
    ----------
    method : callable
    source : Volume
    now : RobustnessProgress

    Returns
    -------
    Volume
        The estimate.
    """
    return (yield from with_records(method(source), lambda _: now))


def harm(
    clean: np.ndarray,
    condition: Condition,
    *,
    seed: int = 0,
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Make the noisy, blurred or shaded input of one condition, before histogram matching.

    Parameters
    ----------
    clean : ndarray, shape (I, J, K)
        In [0, 1].
    condition : Condition
        Blur and bias field come with the report's noise on top.
    seed : int
        Of noise and field.
    voxel_size : tuple of float
        mm.

    Returns
    -------
    ndarray of float32, shape (I, J, K)

    Raises
    ------
    ValueError
        If the kind is unknown or the level negative.
    """
    if condition.kind not in KINDS:
        raise ValueError(f"{condition.kind}: unknown condition, expected one of {', '.join(KINDS)}")
    if not condition.level >= 0:
        raise ValueError(f"{condition.kind}: the level must not be negative, got {condition.level}")
    if condition.kind == "noise":
        return add_noise(clean, condition.level, seed)
    if condition.kind == "blur":
        sigma = [condition.level / side for side in voxel_size]
        return add_noise(gaussian_filter(clean, sigma), REPORT_VARIANCE, seed)
    field = 1 + condition.level * bias_shape(clean.shape, seed)
    return add_noise((clean * field).astype(np.float32), REPORT_VARIANCE, seed)


def bias_shape(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Smooth field as coils make it: a random polynomial of second order, from -1 to 1.

    Parameters
    ----------
    shape : tuple of int
        (I, J, K).
    seed : int
        Of the coefficients.

    Returns
    -------
    ndarray of float64, the shape
    """
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    terms = [axes[a] * axes[b] for a in range(3) for b in range(a, 3)] + list(axes)
    weights = np.random.default_rng(seed).normal(size=len(terms))
    field = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    low, high = float(np.min(field)), float(np.max(field))
    scaled = 2 * (field - low) / max(high - low, np.finfo(float).tiny) - 1
    return np.asarray(np.broadcast_to(scaled, shape))


def turning_points(
    points: Sequence[RobustnessPoint], kind: str, key: str = "brain_psnr"
) -> list[tuple[float, bool]]:
    """Find the levels at which a method starts or stops to do better than its own input.

    Parameters
    ----------
    points : sequence of RobustnessPoint
    kind : str
        Of `KINDS`.
    key : str
        A figure of which more is better.

    Returns
    -------
    list of (float, bool)
        The lowest level and whether the method helps there; then every level at which the gain
        crosses zero, linear between the levels measured, and whether it helps beyond. Empty if
        nothing of the kind was measured.
    """
    of_kind = sorted((p for p in points if p.kind == kind), key=lambda point: point.level)
    gains = [point.estimate[key] - point.source[key] for point in of_kind]
    turns = [(of_kind[0].level, gains[0] > 0)] if of_kind else []
    for place in range(1, len(of_kind)):
        before, after = gains[place - 1], gains[place]
        if (before > 0) != (after > 0):
            low, high = of_kind[place - 1].level, of_kind[place].level
            turns.append((low + before / (before - after) * (high - low), after > 0))
    return turns
