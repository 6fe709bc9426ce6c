"""How much of a lesion's contrast is left in the estimate of a real scan.

python benchmarks/lesions_on_scans.py SCAN... [--models NAME,NAME]

SCANs are extracted 3T brains. Each is divided by its bias field and gets spheres of brighter and
darker tissue, a fifth of the range of its intensities; no noise is added to its own. By row and
diameter: the share of the contrast that remains, mean and standard deviation over all spheres.
"""

from pathlib import Path

import numpy as np
from filters import Filter, filters, parser_of
from known_noise import corrected

from napari_mri7t.engine.evaluation.robustness import LesionConfig, LesionResult, measure_lesions
from napari_mri7t.engine.volumes.volume import Volume

NO_NOISE = LesionConfig(variance=0.0)


def retained(scan: Volume, apply: Filter) -> list[LesionResult]:
    """Measure the spheres in one scan."""
    return measure_lesions(
        scan, lambda source, _: source.with_array(apply(source)), config=NO_NOISE
    )


def main() -> None:
    """Take scans and models from the command line, and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("scans", type=Path, nargs="+")
    asked = parser.parse_args()
    scans = [corrected(path)[0] for path in asked.scans]
    print(" | ".join(("method", *(f"{size:g} mm" for size in NO_NOISE.diameters_mm))))
    for name, apply in filters(asked).items():
        found = [result for scan in scans for result in retained(scan, apply)]
        for kind, sign in (("bright", 1), ("dark", -1)):
            shares = [
                [
                    each.estimate_retained
                    for each in found
                    if each.lesion.diameter_mm == size and each.lesion.contrast * sign > 0
                ]
                for size in NO_NOISE.diameters_mm
            ]
            cells = (f"{np.mean(share):.2f} ± {np.std(share):.2f}" for share in shares)
            print(" | ".join((f"{name}, {kind}", *cells)), flush=True)


if __name__ == "__main__":
    main()
