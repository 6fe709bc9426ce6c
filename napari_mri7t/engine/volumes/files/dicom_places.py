"""Where the images of a DICOM series lie: gaps between slices, and several images at one place.

Positions and orientations by DICOM PS3.3, C.7.6.2.1.1.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from napari_mri7t.engine.volumes.files.dicom_header import Header

EVEN, NEARLY_EVEN = 0.01, 0.1  # part of the spacing that a slice may be away from its place
WIDE = 1.5  # times the spacing of the header: of two slices one may be missing
SAME_MM, SAME_DIRECTION = 1e-3, 1e-4  # dcm2niix takes apart what differs by 3e-4
OTHER_DIRECTION = 0.02  # one degree: of another stack
MOST_SHIFT_MM = 0.3  # of a slice in its plane; texts round by a hundredth of that
DECIMALS = 2  # of positions and directions that count as equal, such as those of two echoes
AGAIN = "export or copy it again"


@dataclass(frozen=True)
class Repeats:
    """The images of a series that lie at one place.

    Attributes
    ----------
    count : int
        Most images at a place.
    texts : tuple of str
        What distinguishes them, in the order of their instance numbers where these differ; empty if
        not the same everywhere.
    share_numbers : bool
        Whether images have the same instance number, so that their order is unknown.
    n_frames : int
        Most frames of multi-frame files at a place; 1 for other files.
    """

    count: int = 1
    texts: tuple[str, ...] = ()
    share_numbers: bool = False
    n_frames: int = 1


def differences(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return what distinguishes each row from the others: its values where not all are equal.

    Parameters
    ----------
    rows : sequence of sequence of str
        Of one length.

    Examples
    --------
    >>> differences([("3T", "echo 1", "a"), ("3T", "echo 2", "a")])
    ['echo 1', 'echo 2']
    """
    columns = [column for column in zip(*rows, strict=True) if len(set(column)) > 1]
    return [", ".join(filter(None, (column[n] for column in columns))) for n in range(len(rows))]


def find_repeats(headers: Sequence[Header]) -> Repeats:
    """Find the images that lie at one place.

    Parameters
    ----------
    headers : sequence of Header
        Of one series, in the order of their instance numbers. Frames, and files without a
        position, are counted, but not compared.
    """
    places: dict[tuple[float, ...], list[Header]] = defaultdict(list)
    for header in headers:
        if header.n_frames > 1 or not header.position or not header.orientation:
            return Repeats(n_frames=_most_frames(headers))
        lies = (*header.position, *header.orientation)
        places[tuple(np.round(lies, DECIMALS) + 0.0)].append(header)
    count = max(map(len, places.values()))
    if count == 1:
        return Repeats()
    share_numbers = len({header.order for header in headers}) < len(headers)
    told = set()
    for group in places.values():
        texts = differences([one.contrast for one in group])
        told.add(
            tuple(sorted(texts, key=lambda text: (len(text), text)) if share_numbers else texts)
        )
    texts_of_all = told.pop() if len(told) == 1 else ()
    return Repeats(count, texts_of_all if all(texts_of_all) else (), share_numbers)


def _most_frames(headers: Sequence[Header]) -> int:
    places = [place for header in headers for place in header.places or ()]
    if not places:
        return 1
    rounded = map(tuple, (np.round(places, DECIMALS) + 0.0).tolist())
    return max(Counter(rounded).values())


def check_places(headers: Sequence[Header]) -> tuple[int, str, list[str]]:
    """Check the distances between the slices of a series, or of each of its stacks.

    Parameters
    ----------
    headers : sequence of Header
        Of one series. Images of another type may be a stack of their own.

    Returns
    -------
    n_slices : int
    problem : str
        Why they cannot be a volume; empty if nothing is known.
    odd : list of str
        What is unusual.
    """
    all_of_it = _check_stack(headers)
    stacks: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        stacks[header.contrast[-1]].append(header)
    if not all_of_it[1] or len(stacks) == 1:
        return all_of_it
    counts, problems, notes = zip(*map(_check_stack, stacks.values()), strict=True)
    if any(problems):
        return all_of_it
    return sum(counts), "", list(dict.fromkeys(note for odd in notes for note in odd))


def _check_stack(headers: Sequence[Header]) -> tuple[int, str, list[str]]:
    """Check the slices of one stack, as `check_places`."""
    n_frames = sum(header.n_frames for header in headers)
    if n_unplaced := sum(header.places == () for header in headers):
        where = "position and orientation (ImagePositionPatient, ImageOrientationPatient)"
        told = f"{n_unplaced} of its {len(headers)} files lack the {where} of their slices"
        return n_frames, f"{told}: {AGAIN}", []
    if problem := next((header.problem for header in headers if header.problem), ""):
        return n_frames, problem, []
    if any(header.places is None for header in headers):
        return n_frames, "", []  # which dcm2niix reads
    sizes = {header.pixel_size for header in headers}
    if () in sizes:
        return n_frames, f"does not record the size of its pixels (PixelSpacing): {AGAIN}", []
    places = np.array([place for header in headers for place in header.places or ()])  # (N, 9)
    directions = places[:, 3:]
    turned = np.abs(directions - directions[0]).max()
    if turned > OTHER_DIRECTION:  # three planes of a localizer
        return n_frames, "", []
    if np.ptp(np.array([*sizes]), axis=0).max() > SAME_MM:
        return n_frames, f"the pixels of its slices differ in size (PixelSpacing): {AGAIN}", []
    if turned > SAME_DIRECTION:  # dcm2niix takes them apart, and the gap would close
        return n_frames, f"its slices are turned against each other: {AGAIN}", []
    normal = np.cross(directions[0, :3], directions[0, 3:])
    gaps = np.diff(np.sort(places[:, :3] @ normal))
    gaps = gaps[gaps > SAME_MM]  # several echoes or times of one slice
    shifts = (places[:, :3] - places[0, :3]) @ directions[0].reshape(2, 3).T
    if len(gaps) and (shift := float(np.abs(shifts).max())) > MOST_SHIFT_MM:
        told = f"its slices are shifted along their own plane by up to {shift:.3g} mm"
        return n_frames, f"{told}, which no volume can hold: {AGAIN}", []
    if len(gaps) == 0:
        return 1, "", []
    usual, problem, odd = _check_gaps(gaps)
    if not problem:
        problem, more = _check_spacing(headers, usual, is_single=len(gaps) + 1 == len(headers))
        odd += more
    return len(gaps) + 1, problem, [] if problem else odd


def _check_gaps(gaps: np.ndarray) -> tuple[float, str, list[str]]:
    """Return the usual gap, mm, and what is wrong or unusual about the others."""
    steps = np.round(gaps / gaps.min())  # whole ones, unless the spacing is uneven
    is_whole = np.abs(gaps / gaps.min() - steps).max() <= NEARLY_EVEN
    usual = float(np.median(gaps / steps if is_whole else gaps))
    n_missing = int(np.sum(np.round(gaps / usual) - 1))
    if n_missing > 0:
        return usual, f"{n_missing} of its slices are missing between others: {AGAIN}", []
    spread = float(np.abs(gaps - usual).max()) / usual
    told = f"its slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart"
    if spread > NEARLY_EVEN:
        return usual, f"{told}, which no volume can hold: {AGAIN}", []
    return usual, "", [told] if spread > EVEN else []


def _check_spacing(
    headers: Sequence[Header], usual: float, *, is_single: bool
) -> tuple[str, list[str]]:
    """Hold even gaps against what headers say of slices: of every second one, all are even.

    dcm2niix takes the spacing of frames, and not their places, for the size of a voxel.
    """
    first = headers[0]
    spacing = first.spacing or (first.thickness if first.traits.acquisition == "3D" else 0.0)
    told = f"its slices are {usual:.3g} mm apart, not {spacing:.3g} mm as its header says"
    has_frames = any(header.n_frames > 1 or not header.position for header in headers)
    if has_frames and first.spacing and abs(usual / spacing - 1) > EVEN:
        return f"{told}: {AGAIN}", []
    if spacing and usual >= WIDE * spacing:
        return "", [f"{told}: slices between them may be missing"]
    orders = sorted(header.order for header in headers)
    steps = {second - first for first, second in pairwise(orders)}
    if not is_single or len(steps) != 1:
        return "", []
    step = steps.pop()
    if step > 1 and not spacing:
        return "", [f"its instance numbers rise by {step}: slices between them may be missing"]
    if step == 1 and orders[0] > 1:
        return "", ["its instance numbers do not begin at 1: slices at an end may be missing"]
    return "", []
