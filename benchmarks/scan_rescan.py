"""How well the estimate of a person's first scan predicts the second scan.

python benchmarks/scan_rescan.py FOLDER PERSON... [--models NAME,NAME]

FOLDER holds `N_SS.nii.gz` (extracted scans) and `N_mask.nii.gz`; a PERSON is two of them, as in
1003,1023. The second scan has noise and contrast of its own: only what both scans share helps to
predict it, and nothing is simulated. It is registered rigidly to the first; the shading of the
first is brought to that of the second, and an affine tone map is fitted. The figure is the PSNR in
the brain, eroded by two voxels, against the 99.9th percentile of the second scan there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as its own documents
from filters import filters, parser_of
from scipy.ndimage import binary_erosion, gaussian_filter

from napari_mri7t.engine.preparation.registration import matrix_of
from napari_mri7t.engine.volumes.grids import resample
from napari_mri7t.engine.volumes.volume import Volume, load_volume

SHADING_VOXELS = 8.0  # sigma of a Gaussian
EROSION = 2  # voxels
RANGE_PERCENTILE = 99.9
PITCHES = (0.0, -0.15, 0.15)  # radians, of the starts of the registration
SAMPLED = 0.2  # part of the voxels
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # of ITK, from RAS+ and back
COARSE, FINE = ((4, 2), (2.0, 1.0)), ((2, 1), (1.0, 0.0))  # shrinking and smoothing, mm


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans of one person on the grid of the first.

    Parameters
    ----------
    first : Volume
    second : ndarray
        Registered.
    inner : ndarray of bool
        The brain of the first scan, eroded.
    shading : ndarray
        Of the first scan over that of the second.
    """

    first: Volume
    second: np.ndarray
    inner: np.ndarray
    shading: np.ndarray

    def score(self, array: np.ndarray) -> float:
        """Return the PSNR of the second scan as predicted from an image of the first, dB."""
        seen = self.second[self.inner].astype(float)
        found = (array / self.shading)[self.inner].astype(float)
        error = np.mean((np.polyval(np.polyfit(found, seen, 1), found) - seen) ** 2)
        return float(10 * np.log10(np.percentile(seen, RANGE_PERCENTILE) ** 2 / error))


def load_pair(folder: Path, first: str, second: str) -> Pair:
    """Read two scans and register the second to the first."""
    paths = [folder / f"{number}_SS.nii.gz" for number in (first, second)]
    scans = [load_volume(path) for path in paths]
    mask = load_volume(folder / f"{first}_mask.nii.gz").array > 0
    moved = resample(scans[1], scans[0], register(*paths))
    part = _smooth(mask.astype(np.float32)).clip(1e-6)
    shading = [(_smooth(each * mask) / part).clip(1e-6) for each in (scans[0].array, moved)]
    inner = binary_erosion(mask, iterations=EROSION)
    return Pair(scans[0], moved, inner, shading[0] / shading[1])


def register(fixed: Path, moving: Path) -> np.ndarray:
    """Return the rigid transform from RAS mm of `moving` to those of `fixed`, the best of six.

    In the order of the files' axes: the voxels that are sampled, and with them the third digit of
    the correlation, depend on it.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    images = [sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving)]
    centres = sitk.CenteredTransformInitializerFilter
    found = []
    for kind in (centres.MOMENTS, centres.GEOMETRY):
        for pitch in PITCHES:
            start = sitk.CenteredTransformInitializer(*images, sitk.Euler3DTransform(), kind)
            start = sitk.Euler3DTransform(start)
            start.SetRotation(pitch, 0.0, 0.0)
            found.append(_optimise(images, start, *COARSE))
    _, best = min(found, key=lambda each: each[0])
    value, best = _optimise(images, best, *FINE)
    print(f"correlation of the registered scans {-value:.4f}", flush=True)
    return np.linalg.inv(LPS @ matrix_of(best) @ LPS)


def _optimise(
    images: list[sitk.Image],
    start: sitk.Transform,
    shrink: tuple[int, ...],
    smooth: tuple[float, ...],
) -> tuple[float, sitk.Transform]:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SAMPLED, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel(smooth)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
    found = method.Execute(*images)
    if isinstance(found, sitk.CompositeTransform):
        found = found.GetBackTransform()
    return method.GetMetricValue(), found


def _smooth(array: np.ndarray) -> np.ndarray:
    found: np.ndarray = gaussian_filter(array, SHADING_VOXELS)
    return found


def main() -> None:
    """Take folder, persons and models from the command line, and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("persons", nargs="+", metavar="FIRST,SECOND")
    asked = parser.parse_args()
    pairs = {person: load_pair(asked.folder, *person.split(",")) for person in asked.persons}
    print(" | ".join(("method", *pairs, "mean gain")))
    as_is: list[float] = []
    for name, apply in filters(asked).items():
        scores = [pair.score(apply(pair.first)) for pair in pairs.values()]
        as_is = as_is or scores
        gain = np.mean(scores) - np.mean(as_is)
        print(" | ".join((name, *(f"{score:.2f}" for score in scores), f"{gain:+.3f}")), flush=True)


if __name__ == "__main__":
    main()
