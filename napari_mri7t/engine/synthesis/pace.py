"""How long a synthesis takes on this computer, from a quarter of a second of its work."""

import time
from contextlib import suppress

import numpy as np

from napari_mri7t.engine.devices import resolve_device, resolve_precision
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.networks import slices_of
from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.slabs import Runner, SlabPlan, average_region, plan_slabs
from napari_mri7t.engine.synthesis.windows import Batch, Region

BUDGET_S = 0.25
SLOW_S = 1.0  # a batch that takes longer is not measured twice
BRAIN_PART = 0.75  # of a volume's length, along each axis: the MNI152 template's
TIMED_SLICES = 24  # in the middle of the brain


class _EnoughSeenError(Exception):
    """The budget is spent."""


def seconds_to_synthesize(
    shape: tuple[int, int, int],
    model: Model,
    config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen
    report: Report = ignore,
) -> float:
    """Return about how long a volume takes, from its middle slices.

    The brain is taken as an ellipsoid of three quarters of the volume's length along each axis.
    What is measured is the network's pass; the first batch is left out, in which a device warms up.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, (I, J, K).
    model : Model
    config : SynthesisConfig
    report : callable
        Called after every batch; what it raises cancels.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    DeviceError
        If the device does not exist.
    VolumeError
        If the volume has too few slices for the network.

    Examples
    --------
    >>> from napari_mri7t import load_model
    >>> 0 < seconds_to_synthesize((24, 24, 24), load_model("basic_cnn")) < 60
    True
    """
    config, device = config.of_model(model.card), resolve_device(config.device)
    runner = Runner(model.network, config, device, resolve_precision(config.precision, device))
    array = _ellipsoid(tuple(max(1, round(BRAIN_PART * n)) for n in reversed(shape)))
    plan = plan_slabs(array, runner)
    region = (_middle(len(array)), slice(0, array.shape[1]), slice(0, array.shape[2]))
    seconds_per_slab = _timed(plan, region, runner, report)
    _, n_outputs = slices_of(model.network)
    first, stop = region[0].start - plan.box[0].start, region[0].stop - plan.box[0].start
    batches = [batch for _, batches in plan.views for batch in batches]
    seen = [b for b in batches if first - n_outputs < b.starts[0] < stop] or batches
    pixels_per_slab = sum(map(_pixels, seen)) / sum(len(batch.starts) for batch in seen)
    return seconds_per_slab * sum(map(_pixels, batches)) / max(pixels_per_slab, 1)


def _middle(n: int) -> slice:
    """Return the middle slices of n."""
    return slice(max(0, n // 2 - TIMED_SLICES // 2), min(n, n // 2 + TIMED_SLICES // 2))


def _timed(plan: SlabPlan, region: Region, runner: Runner, report: Report) -> float:
    """Return the seconds a slab of a region takes."""
    begun = time.perf_counter()
    n_warm = runner.n_lanes(*plan.array.shape[1:])  # each lane's first batch
    marks: list[tuple[float, float]] = []

    def watch(progress: Progress) -> None:
        report(progress)
        now = time.perf_counter()
        marks.append((now, progress.done))
        is_warm = len(marks) > n_warm and now - marks[n_warm - 1][0] >= BUDGET_S
        if is_warm or now - begun >= SLOW_S:
            raise _EnoughSeenError

    with suppress(_EnoughSeenError):
        average_region(plan, region, runner, watch)
    (until, done), (since, before) = marks[-1], (begun, 0.0)
    if len(marks) > n_warm:
        since, before = marks[n_warm - 1]
    return (until - since) / max(done - before, 1)


def _pixels(batch: Batch) -> int:
    """Return the pixels of a batch's slabs."""
    if batch.window is None:
        return 0
    height, width = (int(part.stop - part.start) for part in batch.window)
    return len(batch.starts) * height * width


def _ellipsoid(shape: tuple[int, ...]) -> np.ndarray:
    """Return an ellipsoid of random intensities that fills a volume, its background 0."""
    radii = [(np.arange(n) - (n - 1) / 2) / (n / 2) for n in shape]
    s, a, r = np.meshgrid(*radii, indexing="ij", sparse=True)
    values = np.random.default_rng(0).uniform(0.2, 1, shape).astype(np.float32)
    values[s**2 + a**2 + r**2 >= 1] = 0
    return values
