"""Raw scans through the whole chain: how long it takes, what turning a head costs, which way back.

python benchmarks/raw_scans.py times FOLDER SCAN...       seconds per scan, a quality page each
python benchmarks/raw_scans.py turned 7T_VOLUME...        brain PSNR, straight and turned
"""

import sys
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from napari_mri7t.engine.cards import DEFAULT_MODEL
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.evaluation.metrics import psnr
from napari_mri7t.engine.networks.model import Model, load_model
from napari_mri7t.engine.preparation.brain_extraction import foreground_mask
from napari_mri7t.engine.preparation.intensity import normalize
from napari_mri7t.engine.preparation.raw_scan import WAYS, PreparationConfig
from napari_mri7t.engine.preparation.registration import centre_of
from napari_mri7t.engine.preparation.resampling import LINEAR, resample
from napari_mri7t.engine.preparation.simulation import simulate_3t
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.quality_page import write_quality_page
from napari_mri7t.engine.raw_synthesis import synthesize_scan
from napari_mri7t.engine.synthesis import SynthesisConfig
from napari_mri7t.engine.volume import Volume, load_volume

LARGEST_TURN = 20.0  # degrees, about each axis
LARGEST_SHIFT_MM = 20.0
SEED = 0


def time_scans(folder: Path, paths: list[Path], model: Model) -> None:
    """Print the seconds of each scan, and write its quality page."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        start, worked = time.perf_counter(), time.process_time()
        try:
            scan = load_volume(path)
            run = run_to_end(synthesize_scan(scan, model, SynthesisConfig(), PreparationConfig()))
        except Mri7tError as error:
            print(f"{path.name}: stopped: {error}")
            continue
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        facts = {} if run.prepared is None else run.prepared.facts
        told = {name: value for name, value in facts.items() if name != "to_mni"}
        print(f"{scan.name}: {seconds:.0f} s, {worked:.0f} s of processor time, {told}", flush=True)
        if run.prepared is not None:
            page = folder / f"{scan.name}.png"
            write_quality_page(run.prepared, run.synthesis.volume, model.card, page)


def turn(volume: Volume, rng: np.random.Generator) -> Volume:
    """Turn and shift a brain within its field of view, by cubic splines."""
    matrix = np.eye(4)
    angles = rng.uniform(-LARGEST_TURN, LARGEST_TURN, 3)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    centre = centre_of(volume)
    shift = rng.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, 3) / 2
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + shift
    mask = volume.with_array(foreground_mask(volume))
    inside = resample(mask, volume, matrix, order=LINEAR) > 0.5
    return volume.with_array(np.where(inside, resample(volume, volume, matrix), 0))


def score(target: Volume, model: Model, preparation: PreparationConfig) -> float:
    """Make a pseudo-3T of a 7T, synthesise it, and give the PSNR in the brain."""
    mask = target.array > 0
    source, _ = simulate_3t(target)
    extracted = source.with_array(np.where(mask, np.maximum(source.array, 1e-3), 0))
    run = run_to_end(synthesize_scan(extracted, model, SynthesisConfig(), preparation))
    estimate = run.synthesis.volume.array
    return psnr(target.array, estimate, data_range=1.0, mask=mask)


def compare_turned(paths: list[Path], model: Model) -> None:
    """Print brain PSNR on the straight path and of turned heads, each way back."""
    rng = np.random.default_rng(SEED)
    print("volume | straight | " + " | ".join(f"turned, {way}" for way in WAYS))
    for path in paths:
        loaded = load_volume(path)
        target = loaded.with_array(normalize(loaded.array)[0])
        turned = turn(target, rng)
        found = [score(target, model, PreparationConfig(prepare="none"))]
        found += [score(turned, model, PreparationConfig(way=way)) for way in WAYS]
        print(f"{target.name} | " + " | ".join(f"{value:.2f}" for value in found), flush=True)


def main() -> None:
    """Do what the first argument says."""
    what, *rest = sys.argv[1:]
    paths = [Path(text) for text in rest]
    model = load_model(DEFAULT_MODEL)
    if what == "times":
        time_scans(paths[0], paths[1:], model)
    else:
        compare_turned(paths, model)


if __name__ == "__main__":
    main()
