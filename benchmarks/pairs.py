"""Accuracy of raw pairs made of 7T brains: registration errors, and what is found wrong.

python benchmarks/pairs.py FOLDER [--head HEAD] [--brains 0,1,2] [--keep DIR]  registration errors
python benchmarks/pairs.py FOLDER [--head HEAD] [--brains 0,1,2] --wrong       pairs that are wrong
python benchmarks/pairs.py --rescan FIRST SECOND                               one person twice

FOLDER holds brain-extracted 7T volumes. The 3T scan of each is simulated (realistic preset), the
head turned by up to 20 degrees about each axis and shifted by up to 30 mm along each, on a grid
with other voxels and another order of axes; both scans are shaded. HEAD is a raw scan whose skull
is fitted around each brain; without it the pairs are extracted brains. The rotation error is the
angle between the found and the true rotation; the shift error is measured at the brain's centre.
Wrong pairs: the next person's 7T, the 3T mirrored left to right, the 3T with inverted contrast.
DIR keeps brain masks, which another run on the same scans reuses.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy.ndimage import binary_closing, binary_erosion, gaussian_filter
from scipy.spatial.transform import Rotation

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.metrics.pair_agreement import cross_information, swapped
from napari_mri7t.engine.preparation.extraction import extract_brain
from napari_mri7t.engine.preparation.pair import (
    PairConfig,
    PreparedPair,
    RawPair,
    make_pair,
)
from napari_mri7t.engine.preparation.pair_problems import comparable
from napari_mri7t.engine.preparation.registration import centre_of
from napari_mri7t.engine.simulation.pseudo_3t import realistic_3t
from napari_mri7t.engine.simulation.realistic import white_of
from napari_mri7t.engine.volumes.brain import foreground_mask
from napari_mri7t.engine.volumes.grids import bounding_box_mm, resample, upright_grid
from napari_mri7t.engine.volumes.volume import Volume, as_volume, load_volume

LARGEST_TURN = 20.0  # degrees, about each axis
LARGEST_SHIFT_MM = 30.0  # along each axis
SHADING = (0.2, 0.5)  # logarithm of the brightest over the darkest, 5th and 95th percentile
MARGIN_MM = (25.0, 25.0, 25.0)  # around the brain: skull and scalp
VOXELS_MM = ((1.0, 1.0, 1.0), (1.0, 0.9, 0.9), (1.2, 1.0, 1.0), (0.8, 0.8, 0.8))
ORIENTATIONS = ("PSR", "LAS", "RAS", "ASL", "LPS")
RATIO_VOXELS = 8.0  # sigma of the smoothing that leaves shading
GAP = 0.1  # of white matter: fluid between the brain and the fitted skull


@dataclass(frozen=True)
class TruePair:
    """A raw pair and what is true of it.

    Parameters
    ----------
    raw : RawPair
    to_target : ndarray, shape (4, 4)
        mm of the 3T scan to mm of the 7T scan.
    centre : ndarray, shape (3,)
        Of the brain, mm of the 7T scan.
    turn : ndarray, shape (3,)
        Degrees.
    shift : ndarray, shape (3,)
        mm.
    """

    raw: RawPair
    to_target: np.ndarray
    centre: np.ndarray
    turn: np.ndarray
    shift: np.ndarray


def with_skull(brain: Volume, head: Volume, head_mask: np.ndarray) -> Volume:
    """Return a head: a brain with another head's skull around it, on a wider grid.

    The head is scaled along each axis so that the box around its brain becomes the brain's.
    """
    mask = brain.array > 0
    boxes = [bounding_box_mm(mask, brain.affine), bounding_box_mm(head_mask, head.affine)]
    scales = (boxes[0][1] - boxes[0][0]) / (boxes[1][1] - boxes[1][0])
    fit = np.diag([*scales, 1.0])
    fit[:3, 3] = boxes[0].mean(axis=0) - scales * boxes[1].mean(axis=0)
    wide = widened(brain)
    around = resample(head, wide, fit)
    cavity = resample(head.with_array(head_mask), wide, fit, order=1) > 0.5
    white = white_of(brain.array)
    around = around * (white / white_of(np.where(head_mask, head.array, 0)))
    rng = np.random.default_rng(0)
    fluid = GAP * white * (1 + 0.1 * rng.standard_normal(wide.shape))
    composed = np.where(cavity, fluid, around)
    inside = binary_closing(wide.array > 0, iterations=2)
    composed = np.where(inside, np.maximum(wide.array, 0.02 * white), composed)
    return wide.with_array(composed.astype(np.float32))


def widened(brain: Volume) -> Volume:
    """Return a volume with a margin of zeros around it."""
    margins = [round(mm / size) for mm, size in zip(MARGIN_MM, brain.voxel_size, strict=True)]
    affine = brain.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ margins
    array = np.pad(brain.array, [(margin, margin) for margin in margins])
    return Volume(array, affine, brain.name)


def shaded(volume: Volume, rng: np.random.Generator) -> Volume:
    """Multiply a volume by a random smooth field."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in volume.shape), indexing="ij", sparse=True)
    x, y, z = (axis.astype(np.float32) for axis in axes)
    parts = (x, y, z, x * y, x * z, y * z, x * x, y * y, z * z)
    field = sum(float(rng.standard_normal()) * each for each in parts)
    low, high = np.percentile(field[volume.array > 0], (5, 95))
    field = (field - (low + high) / 2) / (high - low)
    return volume.with_array(volume.array * np.exp(rng.uniform(*SHADING) * field))


def stored_as(volume: Volume, orientation: str) -> Volume:
    """Return a volume as if loaded from a file whose axes have another order."""
    image = Nifti1Image(volume.array, volume.affine)
    there = ornt_transform(io_orientation(volume.affine), axcodes2ornt(orientation))
    return Volume.from_nibabel(image.as_reoriented(there), volume.name)


def make_true_pair(
    brain: Volume, seed: int, head: tuple[Volume, np.ndarray] | None = None
) -> TruePair:
    """Make a raw pair of a brain."""
    rng = np.random.default_rng(seed)
    turn = rng.uniform(-LARGEST_TURN, LARGEST_TURN, 3)
    shift = rng.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, 3)
    voxel_mm = VOXELS_MM[seed % len(VOXELS_MM)]
    centre = centre_of(brain)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    motion[:3, 3] = centre - motion[:3, :3] @ centre + shift
    whole = widened(brain) if head is None else with_skull(brain, *head)
    corners = bounding_box_mm(whole.array >= 0, whole.affine)
    corners = corners + shift
    cube = upright_grid(corners, 1.0)
    sides = np.ceil(np.asarray(cube.shape) / voxel_mm).astype(int)
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = cube.affine[:3, 3]
    grid = Volume(np.zeros(sides, np.float32), affine, name=f"{brain.name}_3T")
    array = resample(whole, grid, motion)
    if head is None:
        mask = resample(whole.with_array(foreground_mask(whole)), grid, motion, order=1) > 0.5
        array = np.where(mask, array.clip(1e-3 * array.max()), 0)
    peak = float(whole.array.max())
    degraded = realistic_3t((array.clip(0) / peak).astype(np.float32), grid.voxel_size, seed)
    source = shaded(grid.with_array(700 * degraded), rng)
    target = shaded(replace(whole, name=f"{brain.name}_7T"), rng)
    raw = RawPair(
        stored_as(source, ORIENTATIONS[seed % len(ORIENTATIONS)]),
        stored_as(target, "LAS"),
        name=brain.name,
    )
    return TruePair(raw, np.linalg.inv(motion), centre, turn, shift)


def errors_of(found: np.ndarray, pair: TruePair) -> tuple[float, float]:
    """Return the rotation error, degrees, and the shift error at the brain's centre, mm."""
    rest = found @ np.linalg.inv(pair.to_target)  # mm of the 7T to where they are found
    turned = Rotation.from_matrix(rest[:3, :3])
    shift = rest[:3, :3] @ pair.centre + rest[:3, 3] - pair.centre
    return float(np.degrees(turned.magnitude())), float(np.linalg.norm(shift))


def measure(pairs: list[TruePair]) -> None:
    """Print the errors of each registration, and who is found to belong to whom."""
    print(
        "brain | turn, degrees | shift, mm | rotation error, degrees | shift error, mm | "
        "information | mirrored | boundaries, mm | overlap | problems | s"
    )
    made: list[PreparedPair] = []
    for pair in pairs:
        start = time.perf_counter()
        try:
            found = make_pair(pair.raw)
        except Mri7tError as error:
            print(f"{pair.raw.name} | refused: {error}", flush=True)
            continue
        made.append(found)
        rotation, shift = errors_of(found.to_target, pair)
        agreement = found.agreement
        moved = (" ".join(f"{value:.0f}" for value in side) for side in (pair.turn, pair.shift))
        seconds = time.perf_counter() - start
        print(
            f"{pair.raw.name} | {' | '.join(moved)} | {rotation:.3f} | {shift:.3f} | "
            f"{agreement.mutual_information:.3f} | {agreement.mirrored_information:.3f} | "
            f"{agreement.boundary_mm} | {agreement.overlap:.3f} | {'; '.join(found.problems)} | "
            f"{seconds:.0f}",
            flush=True,
        )
    compare_people(made)


def compare_people(made: list[PreparedPair]) -> None:
    """Print how each 3T fits its own 7T and the best of the others, and the swapped ones."""
    sides = [[comparable(pair_side, to_mni) for pair_side, to_mni in in_mni(pair)] for pair in made]
    names = [pair.name for pair in made]
    found = cross_information([side[0] for side in sides], [side[1] for side in sides])
    for name, row, own in zip(names, found, found.diagonal(), strict=True):
        others = max((value for value in row if value != own), default=1.0)
        print(f"{name}: own 7T {own:.3f}, best other {others:.3f}")
    print(f"swapped: {swapped(found, names)}", flush=True)


def in_mni(pair: PreparedPair) -> list[tuple[Volume, np.ndarray]]:
    """Return both images of a pair, each with its transform to MNI space."""
    facts = pair.facts
    names = ("source_grid_to_mni", "target_grid_to_mni")
    images = (pair.source, pair.target)
    return [(image, np.array(facts[name])) for image, name in zip(images, names, strict=True)]


def measure_wrong(pairs: list[TruePair]) -> None:
    """Print what is said of pairs that are wrong, and who is found to be swapped."""
    exchanged = []
    for number, pair in enumerate(pairs):
        other = pairs[number ^ 1 if (number ^ 1) < len(pairs) else number]
        source = as_volume(pair.raw.source)
        wrong = {
            "other person": replace(pair.raw, target=other.raw.target),
            "mirrored": replace(pair.raw, source=mirrored(source)),
            "inverted": replace(pair.raw, source=inverted(source)),
        }
        for what, raw in wrong.items():
            try:
                found = make_pair(raw)
                said = "; ".join(found.problems) or "NOTHING"
                if what == "other person":
                    exchanged.append(found)
            except Mri7tError as error:
                said = f"refused: {error}"
            print(f"{raw.name} | {what} | {said}", flush=True)
    compare_people(exchanged)


def mirrored(scan: Volume) -> Volume:
    """Return a scan whose header has left and right exchanged."""
    return Volume(np.ascontiguousarray(scan.array[::-1]), scan.affine, scan.name)


def inverted(scan: Volume) -> Volume:
    """Return a scan whose tissues are as bright as dark before, in black air."""
    top = float(np.percentile(scan.array, 99.9))
    tissue = scan.array > 0.08 * top
    return scan.with_array(np.where(tissue, (1.1 * top - scan.array).clip(0), scan.array))


def measure_rescan(first: Path, second: Path) -> None:
    """Print the correlation of two scans of one person, registered, where both are brain."""
    for grid in ("mni", "7t"):
        pair = make_pair(RawPair(second, first, "rescan"), PairConfig(grid=grid))
        agreement = pair.agreement
        inside = [image.array[pair.mask] for image in (pair.source, pair.target)]
        core = binary_erosion(pair.mask, iterations=2)
        inner = [image.array[core] for image in (pair.source, pair.target)]
        even = [pair.source.array * shading_ratio(pair), pair.target.array]
        whole = [image.array.ravel() for image in (pair.source, pair.target)]
        compared = (inside, inner, [array[core] for array in even], whole)
        found = [np.corrcoef(*each)[0, 1] for each in compared]
        print(
            f"{first.name}, {second.name}, grid {grid}: correlation in the brain {found[0]:.4f}, "
            f"two voxels inside {found[1]:.4f}, there without the ratio of shading {found[2]:.4f}, "
            f"in the whole volume {found[3]:.4f}; {agreement}; {pair.problems}",
            flush=True,
        )


def shading_ratio(pair: PreparedPair) -> np.ndarray:
    """Return the 7T over the 3T, both smoothed within the brain."""
    smooth = [gaussian_filter(image.array, RATIO_VOXELS) for image in (pair.target, pair.source)]
    ratio: np.ndarray = smooth[0] / np.maximum(smooth[1], np.finfo(np.float32).tiny)
    return ratio


def main() -> None:
    """Take brains, head and kind of measurement from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--head", type=Path)
    parser.add_argument("--brains", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wrong", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rescan", type=Path, nargs=2)
    asked = parser.parse_args()
    if asked.rescan:
        measure_rescan(*asked.rescan)
        return
    head = None
    if asked.head:
        scan = load_volume(asked.head)
        head = (scan, extract_brain(scan))
    paths = sorted(asked.folder.glob("*.nii.gz"))
    chosen = [int(text) for text in asked.brains.split(",") if text] or range(len(paths))
    pairs = [make_true_pair(load_volume(paths[n]), asked.seed + n, head) for n in chosen]
    if asked.keep:
        pairs = [replace(p, raw=replace(p.raw, keep=asked.keep / p.raw.name)) for p in pairs]
    (measure_wrong if asked.wrong else measure)(pairs)


if __name__ == "__main__":
    main()
