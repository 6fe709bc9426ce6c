"""Calibrate the uncertainty of `slice_unet` on held-out brains, and measure what it is worth.

python benchmarks/uncertainty.py FOLDER [--keep DIR] [--cards] [--figure FILE]

FOLDER holds the ten extracted 7T brains of the report. Each is estimated from its pseudo-3T by the
model of `slice_unet-loo` that was trained without it. Printed are the share of each brain's voxels
that the 90 % interval holds, by a calibration on the other nine; the same for other intervals; and
whether the map is higher where a lesion was lost. --cards writes the calibration into the cards of
`slice_unet` (all ten brains) and of the folds (the nine others). --keep keeps the estimates, for
another run in seconds.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.evaluation.robustness import (
    Lesion,
    LesionConfig,
    occupancy,
    place_lesions,
)
from napari_mri7t.engine.metrics.calibration import (
    INTERVAL,
    Calibration,
    HeldOut,
    calibrate,
    leave_one_out,
    local_spread,
)
from napari_mri7t.engine.metrics.detail import Spacing
from napari_mri7t.engine.models.card import (
    CARD_FILE,
    ModelCard,
    find_model,
    fold_folders,
    read_card,
)
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.simulation.pseudo_3t import REPORT_VARIANCE, add_noise
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.slabs import average_views
from napari_mri7t.engine.synthesis.synthesize import Passage
from napari_mri7t.engine.synthesis.uncertainty import CALIBRATED
from napari_mri7t.engine.texts import to_json
from napari_mri7t.engine.volumes.intensity import match_histogram, normalize_volume
from napari_mri7t.engine.volumes.volume import Volume, load_volume

MODEL, REFERENCE = "slice_unet", "sub-TELL0106"
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
LESIONS = LesionConfig(diameters_mm=(1.5, 2.0, 3.0, 4.0, 6.0), n_each=6)
LOST = 0.5  # of a lesion's contrast; less is left of a lesion that is lost
LEAST_CONTRAST = 0.02  # in the target; histogram matching takes it where the tones end
FLAGGED = 0.9  # the part of the brain's voxels that are less uncertain than a flagged one
SETTINGS = SynthesisConfig(device="cpu", planes=("axial",))


@dataclass(frozen=True, eq=False)
class Run:
    """One volume through a model: arrays (S, A, R) on the model's scale.

    `lesions`: that were added to the brain; empty where it is as it was scanned.
    """

    target: np.ndarray
    source: np.ndarray
    estimate: np.ndarray
    spread: np.ndarray
    lesions: tuple[Lesion, ...] = ()

    @property
    def local_spread(self) -> np.ndarray:
        """What the factors are applied to."""
        return local_spread(self.spread, self.estimate - self.source)

    @property
    def brain(self) -> np.ndarray:
        """Where the target is brain."""
        return self.target > 0


def run(card: ModelCard, brain: Volume, reference: Volume, *, with_lesions: bool) -> Run:
    """Estimate a brain that the model was not trained on, from its pseudo-3T."""
    clean, matched_to = normalize_volume(brain), normalize_volume(reference)
    lesions: tuple[Lesion, ...] = ()
    if with_lesions:
        lesions = tuple(place_lesions(clean, brain.voxel_size, LESIONS))
        for lesion in lesions:
            box, share = occupancy(lesion, clean.shape, brain.voxel_size)
            clean[box] += np.float32(lesion.contrast) * share
    source = match_histogram(add_noise(clean, REPORT_VARIANCE, 0), matched_to)
    target = match_histogram(clean, matched_to)
    return through(load_model(card.name), SETTINGS, brain.with_array(source), target, lesions)


def through(
    model: Model,
    settings: SynthesisConfig,
    source: Volume,
    target: np.ndarray,
    lesions: tuple[Lesion, ...] = (),
) -> Run:
    """Estimate a volume; `target`, on its grid, is what it should become."""
    passage = Passage.of(source, model, settings)
    spread = np.zeros(passage.array.shape, np.float32)
    estimate = average_views(passage.array, passage.runner, spread=spread).clip(0, 1)
    expected = passage.harmonization.to_model(target).T
    return Run(expected, passage.array, estimate, spread, lesions)


def kept(path: Path | None, make: Any) -> Run:
    """Read a run that an earlier call kept, or make and keep it."""
    if path is not None and path.exists():
        found = dict(np.load(path))
        lesions = tuple(
            Lesion((int(i), int(j), int(k)), d, c) for i, j, k, d, c in found.pop("lesions")
        )
        return Run(**found, lesions=lesions)
    made: Run = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [(*lesion.centre, lesion.diameter_mm, lesion.contrast) for lesion in made.lesions]
        np.savez(
            path,
            target=made.target,
            source=made.source,
            estimate=made.estimate,
            spread=made.spread,
            lesions=np.array(rows).reshape(-1, 5),
        )
    return made


def held_out(name: str, made: Run) -> HeldOut:
    """Return the voxels of a brain."""
    arrays = (made.target, made.estimate, made.local_spread)
    return HeldOut(name, *(array[made.brain] for array in arrays))


def print_coverage(brains: list[HeldOut]) -> tuple[dict[str, float], dict[str, float]]:
    """Print and return what the intervals hold: by brain for 90 %, on average for the others."""
    found = leave_one_out(brains)
    print("brain | held by the 90 % interval, %")
    for name, part in found.items():
        print(f"{name} | {100 * part:.1f}")
    print(f"mean | {100 * np.mean(list(found.values())):.1f}", flush=True)
    print("interval, % | held, %: mean, lowest, highest")
    reliability = {}
    for level in LEVELS:
        parts = list((found if level == INTERVAL else leave_one_out(brains, level)).values())
        reliability[f"{level:g}"] = round(float(np.mean(parts)), 4)
        row = (100 * value for value in (level, np.mean(parts), min(parts), max(parts)))
        print(" | ".join(f"{value:.1f}" for value in row), flush=True)
    return {name: round(part, 4) for name, part in found.items()}, reliability


def lesion_rows(
    plain: Run, sick: Run, calibration: Calibration, voxel_size: Spacing = (1.0, 1.0, 1.0)
) -> Iterator[tuple[float, ...]]:
    """Yield, of each lesion, the contrast left and the map's rank there, with and without it.

    A rank is the part of the brain's voxels that are less uncertain than the sphere's mean.
    """
    maps = [calibration.half_width(each.estimate, each.local_spread) for each in (plain, sick)]
    sorted_maps = [np.sort(each[plain.brain]) for each in maps]
    for lesion in sick.lesions:
        box, share = occupancy(lesion, plain.target.T.shape, voxel_size)
        inside, here = (share > 0.5).T, box[::-1]
        change = [(b[here] - a[here])[inside].mean() for a, b in _pairs(plain, sick)]
        if abs(change[0]) < LEAST_CONTRAST:
            continue
        ranks = [
            np.searchsorted(levels, each[here][inside].mean()) / len(levels)
            for each, levels in zip(maps, sorted_maps, strict=True)
        ]
        yield (lesion.diameter_mm, lesion.contrast, change[1] / change[0], *ranks)


def _pairs(plain: Run, sick: Run) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (plain.target, sick.target), (plain.estimate, sick.estimate)


def print_lesions(rows: np.ndarray) -> dict[str, Any]:
    """Print and return how often the map is high where lesions are lost, and where they are not."""
    retained, before, after = rows[:, 2:].T
    lost = retained < LOST
    found: dict[str, Any] = {"lost_below": LOST, "flagged_above": FLAGGED}
    for name, group in (("lost", lost), ("kept", ~lost)):
        found[name] = {
            "n": int(group.sum()),
            "flagged": round(float(np.mean(after[group] > FLAGGED)), 3),
            "flagged_without_lesion": round(float(np.mean(before[group] > FLAGGED)), 3),
            "rank": round(float(np.mean(after[group])), 3),
        }
        print(name, found[name], flush=True)
    return found


def draw(brains: list[HeldOut], path: Path) -> None:
    """Draw the reliability diagram: what intervals should hold, and what they do."""
    from matplotlib.figure import Figure

    figure = Figure((4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    parts = np.array([list(leave_one_out(brains, level).values()) for level in LEVELS])
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=1, label="as it should be")
    low, high = 100 * parts.min(axis=1), 100 * parts.max(axis=1)
    nominal = 100 * np.array(LEVELS)
    axes.fill_between(nominal, low, high, alpha=0.25, label="lowest to highest brain")
    axes.plot(nominal, 100 * parts.mean(axis=1), marker="o", label="mean of the brains")
    axes.set_xlabel("interval, %")
    axes.set_ylabel("voxels of the brain that it holds, %")
    axes.legend()
    figure.savefig(path, dpi=120)


def write_card(folder: Path, facts: dict[str, Any]) -> None:
    """Put a calibration into a model's card; its weights stay."""
    values = json.loads((folder / CARD_FILE).read_text())
    write_content(folder / CARD_FILE, to_json(values | {"uncertainty": facts}) + "\n")


def write_cards(brains: list[HeldOut], measured: dict[str, Any]) -> None:
    """Write the calibration on all brains, and for each fold that on the others."""
    settings = recorded(SETTINGS)
    write_card(find_model(MODEL), calibrate(brains).as_dict() | settings | measured)
    for folder in folds():
        held = str(read_card(folder).training["held_out"])
        others = [brain for brain in brains if brain.name != held]
        found = measured["held_out"][held]
        part = {"coverage": found, "held_out": {held: found}}
        write_card(folder, calibrate(others).as_dict() | settings | part)


def recorded(config: SynthesisConfig) -> dict[str, Any]:
    """Return what a card records of the settings that a calibration is for."""
    values = {key: getattr(config, key) for key in CALIBRATED}
    plain = {key: list(x) if isinstance(x, tuple) else x for key, x in values.items()}
    return {"settings": plain}


def folds() -> list[Path]:
    """Return the folders of the models that were trained without one brain."""
    return [folder for folder in fold_folders() if folder.parent.name == f"{MODEL}-loo"]


def main() -> None:
    """Take the folder and the options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--cards", action="store_true")
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    volumes = {path.name.partition(".")[0]: path for path in sorted(asked.folder.glob("*.nii.gz"))}
    reference = load_volume(next(p for name, p in volumes.items() if name.startswith(REFERENCE)))
    brains, rows = [], []
    for card in map(read_card, folds()):
        name = str(card.training["held_out"])
        plain, sick = (
            kept(
                None if asked.keep is None else asked.keep / f"{name}_{kind}.npz",
                partial(run, card, load_volume(volumes[name]), reference, with_lesions=is_sick),
            )
            for kind, is_sick in (("plain", False), ("lesions", True))
        )
        brains.append(held_out(name, plain))
        rows.append((name, plain, sick))
    held, reliability = print_coverage(brains)
    lesions = [
        row
        for name, plain, sick in rows
        for row in lesion_rows(plain, sick, calibrate([b for b in brains if b.name != name]))
    ]
    measured = {
        "coverage": round(float(np.mean(list(held.values()))), 4),
        "held_out": held,
        "reliability": reliability,
        "lesions": print_lesions(np.array(lesions)),
    }
    if asked.cards:
        write_cards(brains, measured)
    if asked.figure is not None:
        draw(brains, asked.figure)


if __name__ == "__main__":
    main()
