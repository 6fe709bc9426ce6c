"""What the default preparation costs a brain that needs none, and what it does for one that does.

python benchmarks/default_costs.py 7T_FOLDER [turned|shaded] [0101 0102 ...]

PSNR in the brain of the report's ten pairs (noise of variance 0.003, both matched to
sub-TELL0106), each estimated by the model that has not seen it: as `--prepare none` and as
`--prepare auto`. With `turned`, each pseudo-3T has a header turned by 20 degrees about each
axis and shifted by 10 mm: the estimate is on the same voxels, and need not be turned back. With
`shaded`, it is turned and has a bias field, half as bright on one side as on the other. Numbers
of brains at the end pick these.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.models.card import REPORT_MODEL, fold_folders
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.preparation.registration import centre_of
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis.config import OutputConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.volume import Volume

REFERENCE = "TELL0106"
TURN_DEGREES, SHIFT_MM = 20.0, 10.0
SHADING = 1 / 3  # of the field, up and down from left to right of the volume


def turned(scan: Volume) -> Volume:
    """Return the voxels of a scan at another place in space."""
    move = np.eye(4)
    angles = np.full(3, TURN_DEGREES)
    move[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    centre = centre_of(scan)
    move[:3, 3] = centre - move[:3, :3] @ centre + SHIFT_MM
    return replace(scan, affine=move @ scan.affine, geometry=None)


def shaded(scan: Volume) -> Volume:
    """Return a scan at another place in space, with a bias field."""
    field = 1 + SHADING * np.sin(np.linspace(-np.pi / 2, np.pi / 2, scan.shape[0]))
    return turned(scan.with_array(scan.array * field[:, None, None].astype(np.float32)))


CHANGES = {"turned": turned, "shaded": shaded}


def main() -> None:
    """Print a row per brain."""
    paths = sorted(Path(sys.argv[1]).glob("*TELL*.nii.gz"))
    change = next((CHANGES[word] for word in sys.argv[2:] if word in CHANGES), lambda scan: scan)
    picked = [word for word in sys.argv[2:] if word.isdigit()]
    reference = next(path for path in paths if REFERENCE in path.name)
    folds = [each for each in fold_folders() if each.parent.name == f"{REPORT_MODEL}-loo"]
    print("brain | none, dB | auto, dB | auto minus none | what auto did")
    rows = []
    for path, fold in zip(paths, folds, strict=True):
        name = path.name.removeprefix("sub-TELL")[:4]
        if picked and name not in picked:
            continue
        model = load_model(fold)
        source, target = simulate_3t(path, reference=reference)
        scan = change(source)
        values, done = [], ""
        for mode in ("none", "auto"):
            made = synthesize(
                scan, model, preparation=PreparationConfig(mode), output=OutputConfig()
            )
            mask = target.array > 0
            values.append(psnr(target.array, made.volume.array, data_range=1.0, mask=mask))
            if made.prepared is not None and mode == "auto":
                names = ("brain_extraction", "bias_field", "bias_field_strength", "registration")
                done = ", ".join(str(made.prepared.facts.get(name)) for name in names)
        rows.append(values)
        cells = f"{values[0]:.2f} | {values[1]:.2f} | {values[1] - values[0]:+.3f}"
        print(f"{name} | {cells} | {done or 'nothing'}", flush=True)
    none, auto = np.mean(rows, axis=0)
    print(f"mean | {none:.2f} | {auto:.2f} | {auto - none:+.3f} |")


if __name__ == "__main__":
    main()
