"""What is refused of a study before anything is written, and another study in its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from napari_mri7t.engine.datasets.subjects import Subject
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.evaluation.results import STUDY_FILE
from napari_mri7t.engine.networks import takes_noise_map
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.texts import as_read
from napari_mri7t.engine.training.config import TrainConfig, from_dict, settings_of
from napari_mri7t.engine.training.patches import NO_NOISE_LEVEL
from napari_mri7t.engine.volumes.files.geometry import FileGeometry, ras_grid

LOCK_FILE = "lock"  # in the folder of a fold


def refuse_strays(folder: Path) -> None:
    """Refuse folds whose study is lost: nothing says what they were trained on."""
    for place in (*sorted(folder.glob("fold-*")), folder / "final"):
        if any(path.name != LOCK_FILE for path in place.glob("*")):
            if (folder / STUDY_FILE).exists():  # by now
                return
            raise StateError(
                f"{folder}: holds {place.name}, but no {STUDY_FILE}: put that back, or use another "
                "folder"
            )


def check_noise_map(network: nn.Module, subjects: Sequence[Subject], config: TrainConfig) -> None:
    """Refuse a network that is told the noise where nothing knows how strong it is."""
    are_alone = all(subject.source is None for subject in subjects)
    is_known = are_alone and config.fresh_noise and config.pseudo_3t == "noise"
    if takes_noise_map(network) and not is_known:
        raise ValueError(NO_NOISE_LEVEL)


def check_ends(geometry: FileGeometry, n_outputs: int, config: SynthesisConfig, path: Path) -> None:
    """Refuse end slices that leave nothing of a held-out subject, before a fold is trained."""
    n_slices = ras_grid(geometry.affine, geometry.shape)[1][2]
    if n_slices < n_outputs + 2 * config.end_slices:
        raise ValueError(
            f"{path}: of {n_slices} axial slices, {config.end_slices} end slices on either side "
            f"leave fewer than the {n_outputs} that the network makes at once; set a smaller "
            "inference.end_slices"
        )


def refuse_other_study(
    path: Path, known: Mapping[str, Any], asked: Mapping[str, Any], *, inference: bool = True
) -> None:
    """Refuse to continue a study other than the requested one.

    Parameters
    ----------
    path : Path
        The study's file, for the message.
    known, asked : mapping
        Both studies as `study.json` holds them.
    inference : bool
        Whether the settings of inference count.
    """
    old, new = (_comparable(facts, inference) for facts in (known, asked))
    differing = [key for key in old if old[key] != new[key]]
    if "config" in differing:
        settings = [(key, old["config"][key], value) for key, value in new["config"].items()]
        changed = [f"{key} {before} -> {now}" for key, before, now in settings if before != now]
        differing[differing.index("config")] = "settings " + ", ".join(changed)
    if "subjects" in differing:
        before, now = known["subjects"], asked["subjects"]
        differing[differing.index("subjects")] = f"subjects: {_of_subjects(before, now)}"
    if differing:
        raise StateError(
            f"{path}: this run folder holds a study that differs in {'; '.join(differing)}; "
            "use another folder"
        )


def _of_subjects(known: Sequence[dict[str, Any]], asked: Sequence[dict[str, Any]]) -> str:
    """Say in which subjects, and in which of their files, two studies differ."""
    before, now = ({entry["name"]: entry for entry in each} for each in (known, asked))
    told = [f"{name} is gone" for name in before if name not in now]
    told += [f"{name} is new" for name in now if name not in before]
    for name in before.keys() & now.keys():
        for tesla, role in (("7T", "target"), ("3T", "source")):
            if before[name][f"{role}_sha256"] != now[name][f"{role}_sha256"]:
                told.append(f"the {tesla} image of {name} has changed")
    return ", ".join(sorted(told)) or "their order"


def _comparable(facts: Mapping[str, Any], inference: bool) -> dict[str, Any]:
    """Return what must not change; data and start may be moved, their digests decide."""
    config = from_dict(facts["config"])
    same = ("name", "target_sha256", "source_sha256")
    return {
        "network": facts["network"],
        "network_config": as_read(facts["network_config"]),
        "preset": facts["preset"],
        "config": settings_of(config) if inference else config.learnt_from(),
        "reference": facts["reference"],
        "subjects": [{key: entry[key] for key in same} for entry in facts["subjects"]],
        "start_from": facts.get("start_sha256"),
    }
