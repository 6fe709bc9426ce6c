"""What is refused of a study before anything is written."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from napari_mri7t.engine.datasets.subjects import Subject
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.evaluation.results import STUDY_FILE
from napari_mri7t.engine.networks import takes_noise_map
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training.config import TrainConfig
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
