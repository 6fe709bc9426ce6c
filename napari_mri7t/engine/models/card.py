"""Model cards: what a model is, was trained on, scored, and is not for. Read without torch."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import ModelError, StateError

BUNDLED = Path(__file__).parents[2] / "models"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "card.json"
BIDS_SUBJECT = re.compile(r"sub-[0-9A-Za-z]+")
DEFAULT_MODEL = "slice_unet"  # the best on held-out subjects
NOT_FOR = (
    "Diagnosis or any clinical decision. Scans with lesions, children's brains, other contrasts "
    "than T1w, low-resolution or anisotropic scans: none was in the training data."
)


@dataclass(frozen=True)
class ModelCard:
    """What accompanies a model's weights.

    Parameters
    ----------
    name : str
        Of the model, as `--model` takes it.
    title : str
        One line for lists.
    network : str
        One of `NETWORKS`.
    network_config : dict
        Arguments of the network's constructor.
    n_parameters : int
        As Keras counts.
    preprocessing : dict
        What the model expects: `voxel_size_mm`, `brain_extracted`, `plane`, and
        `intensity_quantiles`, the brain's quantiles 0 ... 1 at even steps, in [0, 1].
    synthesis : dict
        Settings of `SynthesisConfig` the held-out figures were measured with.
    training : dict
        Data and their licence, recipe, command, seed, hardware, date.
    metrics : dict
        On held-out subjects, with their spread.
    intended_use, not_for : str
    sha256 : str
        Of the weights' file.
    """

    name: str
    title: str
    network: str
    n_parameters: int
    preprocessing: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    intended_use: str
    sha256: str
    not_for: str = NOT_FOR
    network_config: dict[str, Any] = field(default_factory=dict)
    synthesis: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Give the card as JSON knows it."""
        return asdict(self)


def card_from_dict(values: Mapping[str, Any], where: str | Path) -> ModelCard:
    """Build a card from parsed JSON.

    Raises
    ------
    ModelError
        If a key is missing or unknown, or a value of the wrong kind.
    """
    known = {entry.name for entry in fields(ModelCard)}
    optional = {"not_for", "network_config", "synthesis"}
    missing = known - optional - set(values)
    unknown = set(values) - known
    if missing or unknown:
        raise ModelError(
            f"{where}: not a model card of this version: missing {sorted(missing)}, unknown "
            f"{sorted(unknown)}; export the model again"
        )
    for entry in fields(ModelCard):
        kind = {"str": str, "int": int}.get(str(getattr(entry.type, "__name__", "")), dict)
        if entry.name in values and not isinstance(values[entry.name], kind):
            raise ModelError(f"{where}: {entry.name} must be of type {kind.__name__}")
    expected = values["preprocessing"]
    quantiles, size = (_numbers(expected, key) for key in ("intensity_quantiles", "voxel_size_mm"))
    ends = quantiles[:1] + quantiles[-1:]
    if len(quantiles) < 2 or quantiles != sorted(quantiles) or not 0 <= ends[0] <= ends[1] <= 1:
        raise ModelError(f"{where}: intensity_quantiles must rise within 0 to 1, two at least")
    if len(size) != 3 or not min(size) > 0:
        raise ModelError(f"{where}: voxel_size_mm must be three lengths above 0")
    return ModelCard(**values)


def _numbers(values: Mapping[str, Any], key: str) -> list[float]:
    """Take a list of finite numbers; an empty one where there is none."""
    found = values.get(key)
    if not isinstance(found, list):
        return []
    is_sound = all(isinstance(n, int | float) and math.isfinite(n) for n in found)
    return [float(n) for n in found] if is_sound else []


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model folder.

    Raises
    ------
    ModelError
        If the folder is no model.
    """
    path = folder / CARD_FILE
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: no readable model card ({error}); a model is a folder with {WEIGHTS_FILE} "
            f"and {CARD_FILE}"
        ) from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: not a model card: expected a JSON object")
    return card_from_dict(values, path)


def seen_subjects(card: ModelCard) -> set[str]:
    """Name all subjects that a model's weights were learnt from, its own start included."""
    return _texts(card.training, "subjects") | _texts(_start_of(card), "subjects")


def seen_digests(card: ModelCard) -> set[str]:
    """Give the SHA-256 of the volumes that a model's weights were learnt from, where known."""
    return _texts(card.training, "targets_sha256") | _texts(_start_of(card), "targets_sha256")


def has_seen(card: ModelCard, name: str, sha256: str = "") -> bool:
    """Tell whether a model knows a subject: by the volume, by its name or its BIDS label.

    Parameters
    ----------
    card : ModelCard
    name : str
        Of the subject.
    sha256 : str
        Of its volume's file; empty if only the name is to decide.
    """
    return sha256 in seen_digests(card) or subject_label(name) in map(
        subject_label, seen_subjects(card)
    )


def _start_of(card: ModelCard) -> Mapping[str, Any]:
    """Give what a card says of the model that the training started from."""
    found = card.training.get("started_from")
    return found if isinstance(found, Mapping) else {}


def _texts(values: Mapping[str, Any], key: str) -> set[str]:
    """Take a list of texts; an empty one where a card has something else."""
    found = values.get(key)
    return {text for text in found if isinstance(text, str)} if isinstance(found, list) else set()


def subject_label(name: str) -> str:
    """Give the part of a name that stands for the person, where it begins as BIDS has it."""
    match = BIDS_SUBJECT.match(name)
    return match.group() if match else name


def find_model(name_or_folder: str | Path) -> Path:
    """Find a model's folder: a bundled one by name, or any folder.

    Raises
    ------
    ModelError
        If there is none; the message lists the bundled models.
    """
    text = str(name_or_folder)
    for folder in (*bundled_folders(), *fold_folders()):
        if text == _bundled_name(folder):
            return folder
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    names = ", ".join(_bundled_name(known) for known in bundled_folders())
    raise ModelError(
        f"{text}: no such model: choose {names}, or give a folder with {WEIGHTS_FILE} and "
        f"{CARD_FILE}"
    )


def list_models(*, folds: bool = False) -> list[ModelCard]:
    """Give the cards of the bundled models, in the order of their names.

    Parameters
    ----------
    folds : bool
        Those of `fold_folders` in place of the models for daily use.
    """
    return [read_card(folder) for folder in (fold_folders() if folds else bundled_folders())]


def bundled_folders() -> list[Path]:
    """List the folders of the bundled models."""
    return sorted(path.parent for path in BUNDLED.glob(f"*/{CARD_FILE}"))


def fold_folders() -> list[Path]:
    """List the folders of the models of single folds, each trained without one subject.

    With them anyone can check the published figures.
    """
    return sorted(path.parent for path in BUNDLED.glob(f"*/*/{CARD_FILE}"))


def bundled_names() -> set[str]:
    """Give the names of the bundled models, and of the folders that hold a model per fold."""
    folds = fold_folders()
    folders = [*bundled_folders(), *folds, *(fold.parent for fold in folds)]
    return {_bundled_name(folder) for folder in folders}


def folder_of(place: str) -> Path:
    """Give the folder that a bundled name or a path stands for, be it there or not."""
    return BUNDLED / place if place in bundled_names() else Path(place).expanduser()


def _bundled_name(folder: Path) -> str:
    return folder.relative_to(BUNDLED).as_posix()


def normalise_place(place: str) -> str:
    """Write a place so that it means the same from anywhere: a bundled name, or a whole path."""
    if place in bundled_names():
        return place
    folder = Path(place).expanduser().resolve()
    bundled = BUNDLED.resolve()
    return folder.relative_to(bundled).as_posix() if bundled in folder.parents else str(folder)


def start_folder(place: str, fold: str) -> Path:
    """Find the model of a fold in a folder of folds, or the one model that all folds start from.

    Raises
    ------
    StateError
        If the place is a folder of folds without this one.
    ModelError
        If there is no such place.
    """
    root = folder_of(place)
    for folder in (root / fold, root):
        if (folder / CARD_FILE).exists():
            return folder
    if root.is_dir():
        raise StateError(
            f"{root}: no model for {fold} to start from: train it there first, or only the folds "
            "that it has"
        )
    return find_model(place)


def check_place(place: str, network: str, network_config: dict[str, Any]) -> str:
    """Check that a place holds models of the network that is trained.

    Parameters
    ----------
    place : str
        A model, bundled or a folder, or a folder with a model per fold.
    network, network_config
        As the study has them.

    Returns
    -------
    str
        SHA-256 of the first model's weights, by which the place is known again elsewhere.

    Raises
    ------
    StateError
        If there is no model in it, or of another network.
    ModelError
        If there is no such place.
    """
    root = folder_of(place)
    cards = [root / CARD_FILE, *sorted(root.glob(f"*/{CARD_FILE}"))]
    found = [path.parent for path in cards if path.exists()]
    if not found:
        find_model(place)
        raise StateError(f"{root}: neither a model nor a run folder with trained folds")
    card = read_card(found[0])
    if (card.network, card.network_config) != (network, json.loads(json.dumps(network_config))):
        raise StateError(
            f"{found[0]}: is network {card.network} {card.network_config or ''}, not {network} "
            f"{network_config or ''}; start from a model of the network that is trained"
        )
    return card.sha256
