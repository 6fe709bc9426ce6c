"""The scale of a scan's intensities: its background is found, and put at 0 with the brain above.

Everything behind works on that scale. Results return to the scan's own.
"""

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import binary_dilation, label

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import Volume

LEAST_FACES = 0.5  # part of the volume's faces that a constant background fills
LEAST_AREA = 0.02  # part of the faces that a value fills which is no noise
COHERENT = 0.8  # part of such a value's neighbours in the faces that have it, too
LEAST_WITHIN = 0.05  # part of the volume that a background within a padding fills
AROUND = 0.6  # part of what touches a padding that has one value, the background's
LAYERED = 0.5  # part of that value's neighbours that have it, too; less in a layer of one voxel
TOLERANCE = 0.05  # of the range of intensities: what resampling leaves below the background
LEAST_FLOOR = 0.05  # part of a noisy border that lies nearer to the darkest voxel than its median
LEAST_OFFSET = 1e-3  # of the range; less is none
FEW = 0.01  # part of the foreground that may lie below the background, as noise does
N_LEVELS = 100  # the darkest; they show the step between two grey values
LEAST_STEP = 1e-6  # of the range: rounding
DARK_RIM = 0.3  # part of a brain that is darker than its rim; T1w at most 0.16, inverted 0.8
BOUNDS = (1.0, 98.0)  # percentiles that span the intensities
NEAR_LEVELS, WIDE_STEP = 10, 1.4  # where a level is missing, the step is twice as wide
LARGE_HOLE = 64  # voxels of exactly one value, which tissue does not have side by side
SAMPLE = 300_000  # voxels


@dataclass(frozen=True)
class Scale:
    """Where a scan's intensities begin.

    Parameters
    ----------
    background : float
        The constant value around the head or brain, or the darkest air, lobes left out.
    zero : float
        What becomes 0 in the tissue; another value than the background's where that lies between
        the brain's intensities (z-scores within the brain) or far below the air (padding).
    padding : tuple of float
        Other values around the scan, which become background.
    n_far : int
        Voxels as far below the background as the tissue is above it, which become background.
    """

    background: float = 0.0
    zero: float = 0.0
    padding: tuple[float, ...] = ()
    n_far: int = field(default=0, compare=False, repr=False)

    @property
    def is_usual(self) -> bool:
        """Whether the background is 0 already."""
        return self.background == self.zero == 0 and not self.padding

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a result should say about a zero that had to be guessed."""
        notes = []
        if self.padding:
            values = " and ".join(f"{value:g}" for value in self.padding)
            notes.append(
                f"padding around the scan ({values}) was taken for background ({self.background:g})"
            )
        if self.background > self.zero:
            notes.append(
                "intensities lie on both sides of the background, as z-scores do: the darkest "
                "voxel of the brain was taken for zero"
            )
        if self.n_far:
            notes.append(
                f"{self.n_far} voxels lie far below the background, as bright ones do where a "
                "file's integers overflowed: they were taken for background"
            )
        return tuple(notes)

    def to_zero(self, array: np.ndarray) -> np.ndarray:
        """Return intensities with the background at 0, and none below; float32."""
        if self.is_usual:
            return array if array.min() >= 0 else np.maximum(array, 0)
        shifted: np.ndarray = np.maximum(array - np.float32(self.zero), 0)
        if self.background != self.zero or self.padding:
            same = _is_one_of(array, [self.background, *self.padding])
            outside = _reaches_faces(same)
            holes = _holes(array, same & ~outside, self)
            shifted[outside | holes] = 0
        return shifted

    def zeroed(self, volume: Volume) -> Volume:
        """Return a scan of this scale as `to_zero`; itself where nothing changes."""
        array = self.to_zero(volume.array)
        return volume if array is volume.array else replace(volume, array=array)

    def from_zero(self, array: np.ndarray, tissue: np.ndarray | None = None) -> np.ndarray:
        """Return intensities on the scan's own scale; what is 0 becomes background.

        Parameters
        ----------
        array : ndarray of float32
        tissue : ndarray of bool, same shape, optional
            Where 0 is an intensity and no background; nothing else is shown where the background
            lies between the intensities.
        """
        if self.is_usual:
            return array
        is_outside = array == 0
        if tissue is not None:
            is_outside = ~tissue if self.background != self.zero else is_outside & ~tissue
        restored: np.ndarray = array + np.float32(self.zero)
        restored[is_outside] = self.background
        return restored


def find_scale(volume: Volume) -> Scale:
    """Find the background of a scan, whatever the scale of its intensities.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    Scale

    Raises
    ------
    VolumeError
        If the background is brighter than what it surrounds.

    Examples
    --------
    >>> brain = np.pad(np.arange(1.0, 1001).reshape(10, 10, 10), 5)
    >>> find_scale(Volume(brain, np.eye(4)))
    Scale(background=0.0, zero=0.0, padding=())
    >>> find_scale(Volume(2 * brain - 7, np.eye(4)))
    Scale(background=-7.0, zero=-7.0, padding=())
    """
    found = _found(volume)
    return replace(found, n_far=_count_far(volume.array, found))


def _found(volume: Volume) -> Scale:
    array = volume.array
    constants = _constants_of(array)
    border = constants[0] if constants else float(np.median(faces_of(array)))
    if _is_above_tissue(array, border) and not _is_dark_at_rim(array, constants):
        raise VolumeError(_inverted(volume, border))
    if not constants:
        zero = _of_noise(array)
        return Scale(zero, zero)
    constant, *padding = constants
    inside = array[~_is_one_of(array, constants)]
    if not inside.size:
        return Scale()
    low, high = (float(x) for x in np.percentile(sample_of(inside), BOUNDS))
    reach = max(abs(low - constant), abs(high - constant))
    below = float(np.mean(inside < constant - TOLERANCE * reach))
    is_padding = constant < 0 and low - constant > high - low > 0
    if high < constant and not _is_dark_at_rim(array, constants):
        raise VolumeError(_inverted(volume, constant))
    if below <= FEW and not is_padding:
        return Scale(constant, constant, tuple(padding))
    return Scale(constant, _below(inside), tuple(padding))


def _count_far(array: np.ndarray, scale: Scale) -> int:
    if scale.background != scale.zero or array.min() >= scale.background:
        return 0  # z-scores lie on both sides
    reach = float(np.percentile(sample_of(array), BOUNDS[1])) - scale.background
    is_far = array < scale.background - reach
    return int(np.count_nonzero(is_far & ~_is_one_of(array, list(scale.padding))))


def zeroed(volume: Volume) -> Volume:
    """Return a scan with its background at 0 and nothing below; itself where that is so."""
    return find_scale(volume).zeroed(volume)


def foreground_of(volume: Volume) -> np.ndarray:
    """Return the mask of what is no background, whatever the scale of the intensities.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    ndarray of bool, shape (I, J, K)
        Where nothing is below 0, and the border 0 or noise: the voxels above 0.

    Raises
    ------
    VolumeError
        If the background is brighter than what it surrounds.

    Examples
    --------
    >>> brain = np.pad(np.arange(-500.0, 500).reshape(10, 10, 10) + 0.5, 5)
    >>> int(foreground_of(Volume(brain, np.eye(4))).sum())
    1000
    """
    array = volume.array
    if array.min() >= 0:
        constants = _constants_of(array)
        if constants in ([], [0.0]):
            return np.asarray(array > 0)
    return np.asarray(zeroed(volume).array > 0)


def _constants_of(array: np.ndarray) -> list[float]:
    """Return the constant values around a scan, first the one next to it; none if it is noise.

    Several are the background and what a program put around it, side by side or in layers.
    """
    constant, share = border_of(array)
    found = [constant] if share >= 1 - LEAST_AREA else _areas_of(array)
    if not found:
        return [constant] if share >= LEAST_FACES else []
    while (within := _within(array, found)) is not None:
        found.append(within)
    if len(found) == 1:
        return found
    outside = _reaches_faces(_is_one_of(array, found))
    levels, counts = np.unique(array[outside & binary_dilation(~outside)], return_counts=True)
    nearest = float(levels[counts.argmax()]) if levels.size else found[0]
    return [nearest, *(value for value in found if value != nearest)]


def _is_one_of(array: np.ndarray, values: list[float]) -> np.ndarray:
    found: np.ndarray = np.isin(array, np.array(values, np.float32))
    return found


def _areas_of(array: np.ndarray) -> list[float]:
    """Return the values that fill areas of the faces; none where noise fills half of them."""
    faces = [np.moveaxis(array, axis, 0)[end] for axis in range(3) for end in (0, -1)]
    levels, counts = np.unique(faces_of(array), return_counts=True)
    share = counts / counts.sum()
    large = share >= LEAST_AREA
    found = {
        float(value): part
        for value, part in zip(levels[large], share[large], strict=True)
        if _coherence([face == value for face in faces]) >= COHERENT
    }
    return list(found) if sum(found.values()) >= LEAST_FACES else []


def _coherence(masks: list[np.ndarray]) -> float:
    """Return how often the next voxel along an axis is set, too, where one is."""
    n_both, n_first = 0, 0
    for mask in masks:
        for axis in range(mask.ndim):
            along = np.moveaxis(mask, axis, 0)
            n_both += int(np.count_nonzero(along[:-1] & along[1:]))
            n_first += int(np.count_nonzero(along[:-1]))
    return n_both / max(n_first, 1)


def _within(array: np.ndarray, around: list[float]) -> float | None:
    """Return the constant value within what surrounds a scan; None if tissue follows."""
    sample = sample_of(array)
    _, counts = np.unique(sample[~_is_one_of(sample, around)], return_counts=True)
    if not counts.size or counts.max() < LEAST_WITHIN * sample.size:
        return None
    outside = _reaches_faces(_is_one_of(array, around))
    rim = array[binary_dilation(outside) & ~outside]
    levels, counts = np.unique(rim, return_counts=True)
    if not counts.size or counts.max() < AROUND * rim.size:
        return None
    value = levels[counts.argmax()]
    return float(value) if _coherence([array == value]) >= LAYERED else None


def _of_noise(array: np.ndarray) -> float:
    """Return the zero of a scan whose border is no constant.

    It is the darkest air, as where a magnitude was shifted; but the median of the border where
    resampling left a few lobes far below that.
    """
    darkest = float(array.min())
    faces = faces_of(array)
    middle = float(np.median(faces))
    reach = float(np.percentile(sample_of(array), BOUNDS[1])) - middle
    if 0 <= darkest <= LEAST_OFFSET * reach:
        return 0.0
    has_floor = np.mean(faces <= (darkest + middle) / 2) > LEAST_FLOOR
    if has_floor or 0 < darkest <= TOLERANCE * reach:
        return darkest
    if abs(middle) <= TOLERANCE * reach:
        return 0.0
    is_even = np.mean(np.abs(faces - middle) <= TOLERANCE * reach) > 1 - LEAST_FLOOR
    return middle if is_even else darkest


def _below(inside: np.ndarray) -> float:
    """Return the grey value just below the darkest one."""
    darkest = float(inside.min())
    reach = float(inside.max()) - darkest
    steps = np.diff(np.unique(sample_of(inside).astype(float))[:N_LEVELS])
    steps = steps[steps > LEAST_STEP * reach]
    step = float(steps.min()) if steps.size else reach
    return darkest - max(step, LEAST_STEP * max(reach, LEAST_STEP))


def _is_above_tissue(array: np.ndarray, border: float) -> bool:
    """Return whether the border is brighter than nearly everything in the middle."""
    middle = array[tuple(slice(n // 4, n - n // 4) for n in array.shape)]
    bright = float(np.percentile(sample_of(middle), 95)) if middle.size else border
    return min(array.shape) >= 8 and border > bright


def _is_dark_at_rim(array: np.ndarray, constants: list[float]) -> bool:
    """Return whether a brain is dark next to what fills its surroundings, as a T1w is.

    That is so where white matter was brought to 0 in the brain alone, not where intensities are
    inverted.
    """
    outside = _reaches_faces(_is_one_of(array, constants))
    rim = array[binary_dilation(outside) & ~outside]
    inside = sample_of(array[~outside])
    return bool(rim.size) and float(np.mean(inside < np.median(rim))) < DARK_RIM


def _inverted(volume: Volume, background: float) -> str:
    return (
        f"{volume.name}: the background ({background:g}) is brighter than the brain: the "
        "intensities are inverted: multiply them by -1"
    )


def border_of(array: np.ndarray) -> tuple[float, float]:
    """Return the commonest value of a volume's faces, and its share of them."""
    faces = faces_of(array)
    levels, counts = np.unique(faces, return_counts=True)
    return float(levels[counts.argmax()]), float(counts.max() / faces.size)


def _holes(array: np.ndarray, enclosed: np.ndarray, scale: Scale) -> np.ndarray:
    """Return which enclosed voxels of the background's value are holes.

    Tissue may have that value where it lies between the intensities and is one of their levels.
    Such a hole is large, or what is next to it is dark on the average.
    """
    if not enclosed.any() or not _is_level(array[~enclosed], scale.background):
        return enclosed
    components, n_components = label(enclosed)
    at = np.nonzero(components)
    total, n_beside = np.zeros(len(at[0])), np.zeros(len(at[0]))
    for axis, step in itertools.product(range(3), (-1, 1)):  # none lies on a face
        beside = tuple(place + step * (n == axis) for n, place in enumerate(at))
        is_tissue = ~enclosed[beside]
        total += np.where(is_tissue, array[beside], 0)
        n_beside += is_tissue
    number = components[at]
    sums, counts, sizes = (
        np.bincount(number, each, n_components + 1) for each in (total, n_beside, None)
    )
    is_hole = (sizes > LARGE_HOLE) | (sums < (scale.zero + scale.background) / 2 * counts)
    is_hole[0] = False
    holes: np.ndarray = is_hole[components]
    return holes


def _is_level(values: np.ndarray, value: float) -> bool:
    """Return whether a value is one of the grey levels, and none between two of them."""
    levels = np.unique(sample_of(values)).astype(float)
    levels = levels[levels != value]
    at = int(np.searchsorted(levels, value))
    if not 0 < at < len(levels):
        return False
    steps = np.diff(levels[max(0, at - NEAR_LEVELS) : at + NEAR_LEVELS])
    return bool(levels[at] - levels[at - 1] > WIDE_STEP * np.median(steps))


def _reaches_faces(mask: np.ndarray) -> np.ndarray:
    """Return the part of a mask that is connected with the faces of the volume."""
    components, n_components = label(mask)
    is_outside = np.zeros(n_components + 1, bool)
    is_outside[np.unique(faces_of(components))] = True
    is_outside[0] = False
    outside: np.ndarray = is_outside[components]
    return outside


def faces_of(array: np.ndarray) -> np.ndarray:
    """Return the voxels of the six faces of a volume, shape (n,)."""
    # Views: np.take would copy the whole of an array that is not in C order, as scans are not.
    ends = [np.moveaxis(array, axis, 0)[end].ravel() for axis in range(3) for end in (0, -1)]
    return np.concatenate(ends)


def sample_of(array: np.ndarray) -> np.ndarray:
    """Return voxels at even steps, at most some 600,000."""
    flat = array.ravel() if array.ndim > 1 else array
    return flat[:: max(1, flat.size // SAMPLE)]
