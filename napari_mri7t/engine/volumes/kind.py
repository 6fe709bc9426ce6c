"""What an image shows, by its intensities: a scan, a mask, labels, phase."""

import math

import numpy as np
from scipy.ndimage import binary_erosion, binary_fill_holes, generate_binary_structure

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.dicom_t1w import not_magnitude
from napari_mri7t.engine.volumes.files.sidecars import image_type_beside
from napari_mri7t.engine.volumes.scale import LEAST_FACES, border_of, faces_of, sample_of
from napari_mri7t.engine.volumes.volume import Volume

FEW_LEVELS = 32  # of a mask or of labels, background included; a scan of 8 bits has over 100
MANY_VOXELS = 20_000  # fewer may be a phantom, whose tissue has any distribution
FEW_OF_SMALL, MANY_OF_SMALL = 16, 1_000  # levels and voxels that not even a phantom has
WHOLE_IMAGE = 250_000  # voxels; fewer may be a phantom
SATURATED, TOP = 0.25, 0.99  # part of the foreground near its maximum in a probability map
FULL = (1.0, 100.0, 255.0)  # what stands for certain in a probability map
FULL_IN_BITS = (1000.0, 32767.0, 65535.0)  # the same in whole numbers
LEAST_LOW, LEAST_HIGH = 0.2, 0.08  # part of it in the lowest and highest tenth of the range
DIP = 1.5  # times as many voxels in the highest tenth as in a tenth of the middle
# A smoothed map has many voxels in the lowest tenth of its range (measured on maps of tissues,
# smoothed by 1 to 4 voxels: 0.12 to 0.28; 47 brains, also enlarged: at most 0.03) and no texture
# (0.2 to 0.8; brains 0.9 and more, enlarged ones 0.6).
FAINT, LEAST_FAINT, MOST_TEXTURE = (0.02, 0.1), 0.11, 0.82
LOBES = 0.05  # of the 99th percentile of what is no border: what splines leave in the air
LEAST_HEIGHT = 0.25  # of what stands for certain, in a smoothed map
# What differs between blocks of some millimetres, as part of what differs between voxels (masked
# parts and field maps 0.8 to 1; brains 0.4 to 0.6, with a strong bias 0.7), and where the median of
# the brain's rim lies among its voxels (0.2 to 0.7; brains at most 0.16).
BLOCK, LEAST_BLOCKS, LARGE_SCALE, INNER_RIM = 8, 100, 0.78, 0.2
MIDDLE_RIM = 0.35  # of what is no brain, whatever its scale: a map of statistics
FIELD_SCALE, FIELD_TEXTURE = 0.9, 0.3  # of what varies on one side of 0
LEAST_PART = 0.05  # of the foreground on either side of 0
SLOPE_STEP = 4  # voxels between those whose slope is measured
TEXTURE_STEP = 4  # voxels between the lines along which texture is measured
EVEN = 0.7  # part of neighbours in the foreground that are equal in labels; scans: below 0.3
EVEN_STEPS = 1e-3  # of a step
# Of label maps that were resampled linearly: part of the neighbours that are equal, and of the
# voxels that have the most frequent levels (measured: 0.32 and 0.49 at least; brains and heads: at
# most 0.10 where the levels hold a third). A scan whose white matter is capped has one such level.
EVEN_INSIDE, FREQUENT, LEAST_FREQUENT, LEAST_SECOND = 0.2, 8, 0.35, 0.05
LEAST_SPIKE = 2.0  # times as frequent as the next level on one side (labels 5, few grey values 1.7)
# Of a mask that was resampled by splines, in so many steps up to the 99th percentile of what is
# above the border: part of the foreground at the most frequent one (0.87; brains of capped tissue
# 0.43, which is more than label maps have).
FEW_STEPS, LEAST_OF_MASK = 20, 0.6
# Of maps of tissue labels with their mixtures, as CAT12 has them: where pure tissue lies, the part
# of the voxels that lies within AT_LABEL of it (maps smoothed by up to 0.8 voxels at least 0.30,
# brains at most 0.23), and how much denser they are there than beside it (1.49; brains 1.1).
THIRDS, AT_LABEL, BESIDE, LEAST_PURE, LEAST_PEAK = (
    (1 / 3, 2 / 3, 1.0),
    0.02,
    (0.05, 0.09),
    0.27,
    1.3,
)
AIR = 0.1  # of the 99th percentile of the foreground: at most that bright
# Of the foreground of a map of distances: its slope is the same everywhere (0.77 and more within a
# tenth of the median; scans 0.11 at most).
SLOPE, LEAST_SLOPED = 0.1, 0.5
ROUND = 0.01  # relative
DIFFUSE, DIFFUSE_INSIDE = 0.05, 0.1  # largest difference of quantiles from an even distribution
LEAST_WRAPPED = 0.03  # part of the foreground in the highest tenth of a phase from 0 to 2 pi
# By the code in a NIfTI header: those that also scans bear by mistake are left out
OTHER_INTENTS = dict.fromkeys(range(2, 25), "a map of statistics") | {1002: "labels"}
SYMMETRIC = 0.1  # difference of the tails of a distribution about 0


def check_t1w(volume: Volume) -> None:
    """Check that an image is no mask, label map, probability map, phase, real or imaginary part.

    Parameters
    ----------
    volume : Volume
        As loaded, on its own scale.

    Raises
    ------
    VolumeError
        If its intensities are not those of a scan, or the JSON file beside it, as BIDS has it,
        records a phase, a real or an imaginary part.

    Examples
    --------
    >>> check_t1w(Volume(np.pad(np.ones((30, 30, 30)), 5), np.eye(4), name="mask"))
    Traceback (most recent call last):
    ...
    napari_mri7t.engine.errors.VolumeError: mask: looks like a mask or label map (2 values): ...
    """
    file = volume.geometry
    path = None if file is None or file.computed else file.path
    name = path or volume.name
    if what := _what_else(volume.array):
        raise VolumeError(f"{name}: looks like {what}: use a T1w image (magnitude)")
    if file is None or path is None:
        return
    if what := OTHER_INTENTS.get(file.intent, ""):
        raise VolumeError(
            f"{name}: holds {what} by its header (NIfTI intent {file.intent}): use a T1w "
            "image, or set the code to 0 if it is one"
        )
    if part := not_magnitude(image_type_beside(path)):
        raise VolumeError(
            f"{name}: is no magnitude image by the ImageType of its JSON file ({part}): use "
            "a T1w image (magnitude)"
        )


def _what_else(array: np.ndarray) -> str:
    sample, (border, share) = sample_of(array), border_of(array)
    above = array - np.float32(border)  # a scan's background need not be 0
    n_foreground = np.count_nonzero(above)
    is_sparse = n_foreground <= MANY_VOXELS
    levels = np.unique(above[above != 0] if is_sparse else sample_of(above[above != 0]))
    is_labelled = len(levels) == 1 or (
        _are_labels(above, levels)
        if array.size >= WHOLE_IMAGE or not is_sparse
        else len(levels) < FEW_OF_SMALL and n_foreground > MANY_OF_SMALL
    )
    if is_labelled:
        return f"a mask or label map ({len(levels) + 1} values)"
    is_whole = array.size >= WHOLE_IMAGE and not is_sparse
    if is_whole and _are_resampled_labels(above):
        return "a mask or label map that was resampled"
    low, high = float(array.min()), float(array.max())
    raised, top = _raised(above, border), high - border
    is_map = low >= border and not is_sparse and _is_probability(raised / top, top)
    if is_map and _texture(above) < MOST_TEXTURE:  # smoothing puts a faint rim around a brain, too
        parts = raised / top
        is_map = _is_probability(parts[parts > FAINT[0]], top)
    if low >= border and is_whole and _are_mixtures(raised / top):
        return "a map of tissue labels and their mixtures"
    if is_map or (low == border == 0 and not is_sparse and _is_smoothed(array, high)):
        return "a probability map or a soft mask"
    if _is_phase(array, sample, low, high):
        return f"a phase image (from {low:g} to {high:g})"
    if _is_signed_noise(faces_of(array), sample):
        return "a real or imaginary part (on both sides of the background)"
    masked = _masked_map(above) if array.size >= WHOLE_IMAGE and share >= LEAST_FACES else ""
    is_distance = is_whole and not masked and _are_distances(above)
    return "a map of distances (its slope is the same everywhere)" if is_distance else masked


def _raised(above: np.ndarray, border: float) -> np.ndarray:
    """Return the voxels of a sample above the border, from their own minimum if that is far off.

    As where -9999 fills the air.
    """
    raised = sample_of(above)
    raised = raised[raised > 0]
    if border < 0 and raised.size and 2 * raised.min() > raised.max() > raised.min():
        raised = raised - raised.min()
    return raised


def _are_mixtures(parts: np.ndarray) -> bool:
    """Return whether the parts of the maximum gather at thirds, with few between them.

    Fluid, grey and white matter are 1, 2 and 3 there, and 1.4 is a mixture.
    """
    distance = np.abs(parts[:, None] - THIRDS)
    at = np.mean(distance < AT_LABEL, axis=0)
    beside = np.mean((distance > BESIDE[0]) & (distance < BESIDE[1]), axis=0)
    is_peak = at / AT_LABEL > LEAST_PEAK * beside / (BESIDE[1] - BESIDE[0])
    return bool(at.sum() > LEAST_PURE and is_peak.all())


def _are_labels(array: np.ndarray, levels: np.ndarray) -> bool:
    """Return whether the values are few, or multiples of one step and the same in large areas."""
    if len(levels) < FEW_LEVELS:
        return bool(levels.size)
    steps = levels.astype(float) / np.diff(np.union1d(levels, 0.0)).min()
    if (np.abs(steps - steps.round()) > EVEN_STEPS).any():
        return False
    return _equal(array) > EVEN


def _equal(array: np.ndarray) -> float:
    """Return the part of the neighbours in the foreground that are equal."""
    ahead = (array[1:] != array[:-1]).any(axis=(1, 2))  # no plane twice, as in enlarged scans
    first, second = array[:-1][ahead], array[1:][ahead]
    both = (first != 0) & (second != 0)
    return float(np.mean((first == second)[both])) if both.any() else 0.0


def _are_resampled_labels(array: np.ndarray) -> bool:
    """Return whether large areas have one of few values, whatever lies between the areas.

    The air around a head, which may have few values, does not count.
    """
    foreground = np.abs(sample_of(array[array != 0]))
    tissue = np.where(np.abs(array) > AIR * np.percentile(foreground, 99), array, 0)
    counts = np.unique(sample_of(tissue[tissue != 0]), return_counts=True)[1]
    parts = np.sort(counts)[-FREQUENT:] / counts.sum()
    is_frequent = parts.sum() > LEAST_FREQUENT and parts[-2:].min() > LEAST_SECOND
    are_spikes = _heights(counts)[np.argsort(counts)[-2:]].min() > LEAST_SPIKE
    return bool(is_frequent and are_spikes and _equal(tissue) > EVEN_INSIDE)


def _is_mask_in_waves(above: np.ndarray) -> bool:
    """Return whether most of the foreground has one value, but for the waves of splines."""
    top = np.percentile(sample_of(above[above > 0]), 99)
    foreground = sample_of(above[above > AIR * top])
    counts = np.bincount(np.round(foreground / top * FEW_STEPS).astype(int))
    return bool(counts.max() > LEAST_OF_MASK * counts.sum())


def _heights(counts: np.ndarray) -> np.ndarray:
    """Return how many times as frequent each level is as the rarer of those next to it."""
    beside = np.pad(counts, 1, mode="edge")
    heights: np.ndarray = counts / np.maximum(np.minimum(beside[:-2], beside[2:]), 1)
    return heights


def _are_distances(array: np.ndarray) -> bool:
    """Return whether the slope is the same nearly everywhere in the foreground."""
    inner, step = (slice(1, -1),) * 3, (slice(None, None, SLOPE_STEP),) * 3
    is_inside = array[inner][step] != 0
    square = np.zeros(is_inside.shape)
    for axis in range(3):
        ahead, behind = list(inner), list(inner)
        ahead[axis], behind[axis] = slice(2, None), slice(None, -2)
        square += (array[tuple(ahead)][step] - array[tuple(behind)][step]).astype(float) ** 2
    slopes = np.sqrt(square[is_inside])
    return bool(
        np.mean(np.abs(slopes - np.median(slopes)) < SLOPE * np.median(slopes)) > LEAST_SLOPED
    )


def _is_probability(parts: np.ndarray, high: float) -> bool:
    """Return whether the parts of the maximum are mostly 1, or mostly near 0 and near 1."""
    saturated = np.mean(parts > TOP)
    if not any(TOP * full <= high <= full * (1 + EVEN_STEPS) for full in FULL + FULL_IN_BITS):
        return bool(saturated > 2 * SATURATED)
    tenths = np.histogram(parts, 10, (0, 1))[0] / max(parts.size, 1)
    is_split = tenths[0] > LEAST_LOW and tenths[-1] > max(LEAST_HIGH, DIP * tenths[3:7].mean())
    return bool(saturated > SATURATED or is_split)


def _is_smoothed(array: np.ndarray, high: float) -> bool:
    """Return whether an image with a background of 0 is a probability map that was smoothed."""
    if not any(LEAST_HEIGHT * full <= high <= full * (1 + EVEN_STEPS) for full in FULL):
        return False
    foreground = sample_of(array[array > FAINT[0] * high])
    faint = foreground <= FAINT[1] * np.percentile(foreground, 99)
    return bool(np.mean(faint) > LEAST_FAINT and _texture(array) < MOST_TEXTURE)


def _masked_map(above: np.ndarray) -> str:
    """Return what a masked image is that varies slowly, or on both sides of 0 up to its rim."""
    brain = above != 0
    values = np.sort(sample_of(above[brain]))
    strength = np.abs(values)
    strong = values[strength > LOBES * np.percentile(strength, 99)]
    is_signed = LEAST_PART < np.mean(strong < 0) < 1 - LEAST_PART
    is_smooth = _texture(above) < FIELD_TEXTURE
    scale = _large_scale(above) if is_signed or is_smooth else 0.0
    if is_smooth and scale > FIELD_SCALE:
        return "a field map (it varies slowly)"
    if not is_signed:
        # Not where -9999 fills the air, nor where all is below the background.
        begins_at_0 = values[0] < AIR * values[-1] and values[-1] > 0
        is_mask = begins_at_0 and _is_mask_in_waves(above)
        return "a mask that was resampled" if is_mask else ""
    low, high = float(values[0]), float(values[-1])
    if abs(high + low) <= ROUND * high and _is_even(values, (low, high), DIFFUSE_INSIDE):
        return f"a phase image (from {low:g} to {high:g})"
    least = INNER_RIM if scale > LARGE_SCALE else MIDDLE_RIM
    is_inner = _rim_rank(above, binary_fill_holes(brain), values) > least
    return (
        "a real or imaginary part, or a map (on both sides of 0, up to its rim)" if is_inner else ""
    )


def _rim_rank(above: np.ndarray, brain: np.ndarray, values: np.ndarray) -> float:
    """Return where the median of the rim lies among the sorted values.

    The rim is that of planes, those where it is darkest: where a slab was cut out, tissue ends.
    """
    ranks = []
    for axis in range(3):
        in_plane = np.moveaxis(generate_binary_structure(2, 1)[None], 0, axis)
        rim = above[brain & ~binary_erosion(brain, in_plane, border_value=1)]
        ranks += [float(np.searchsorted(values, np.median(rim)))] if rim.size else []
    return min(ranks, default=0.0) / values.size


def _texture(above: np.ndarray) -> float:
    """Return the size of second differences in the foreground, relative to that of the first.

    It is 1.7 for noise, and some 1 / sigma for what was smoothed by sigma voxels.
    """
    first, second = 0.0, 0.0
    for axis in range(3):
        lines = np.moveaxis(above, axis, 0)[:, ::TEXTURE_STEP, ::TEXTURE_STEP]
        steps = np.diff(lines, axis=0)
        is_inside = (lines[:-2] != 0) & (lines[1:-1] != 0) & (lines[2:] != 0)
        first += float(np.square(steps[1:][is_inside], dtype=float).sum())
        second += float(np.square(np.diff(steps, axis=0)[is_inside], dtype=float).sum())
    return math.sqrt(second / first) if first else 0.0


def _large_scale(above: np.ndarray) -> float:
    """Return the part of the variance that lies between blocks within the foreground."""
    n_blocks = [n // BLOCK for n in above.shape]
    whole = above[tuple(slice(n * BLOCK) for n in n_blocks)]
    split = whole.reshape([size for n in n_blocks for size in (n, BLOCK)])
    blocks = split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, BLOCK**3)
    inner = blocks[(blocks != 0).all(axis=1)].astype(float)
    variance = float(inner.var()) if len(inner) >= LEAST_BLOCKS else 0.0
    return float(inner.mean(axis=1).var()) / variance if variance else 0.0


def _is_phase(array: np.ndarray, sample: np.ndarray, low: float, high: float) -> bool:
    """Return whether the range is that of a phase, or everything is spread over the whole range."""
    is_symmetric = low < 0 and abs(high + low) <= ROUND * high
    if is_symmetric and any(abs(high / end - 1) <= ROUND for end in (np.pi, 4095.0, 180.0)):
        return True
    if array.size <= MANY_VOXELS:
        return False
    foreground = sample[sample != 0]
    turn = 2 * np.pi
    if low >= 0 and turn * (1 - ROUND) <= high <= turn * (1 + EVEN_STEPS):
        return bool(np.mean(foreground > 0.9 * turn) > LEAST_WRAPPED)
    middle = array[tuple(slice(n // 3, n - n // 3) for n in array.shape)]
    span = (low, high)
    return _is_even(faces_of(array), span, DIFFUSE) and _is_even(middle, span, DIFFUSE_INSIDE)


def _is_even(array: np.ndarray, span: tuple[float, float], most: float) -> bool:
    """Return whether intensities are spread evenly over the whole range of the image."""
    parts = np.array([5, 25, 50, 75, 95])
    low, high = span
    found = (np.percentile(sample_of(array), parts) - low) / max(high - low, np.finfo(float).tiny)
    return bool(np.abs(found - parts / 100).max() < most)


def _is_signed_noise(faces: np.ndarray, sample: np.ndarray) -> bool:
    """Return whether the air is noise, and the tissue lies on both sides of it."""
    low, high = np.percentile(sample, (0.5, 99.5))
    span = float(high - low)
    dark, middle, bright = np.percentile(faces, (25, 50, 75))
    is_noise = dark < middle < bright and bright - dark < 2 * SYMMETRIC * span
    return bool(is_noise and min(middle - low, high - middle) > 0.25 * span)
