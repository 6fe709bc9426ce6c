"""Model cards: what a model is, its training data, scores and limits. Read without torch."""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from napari_mri7t.engine.atomic import expanded, read_object
from napari_mri7t.engine.errors import ModelError, StateError
from napari_mri7t.engine.texts import as_read, with_numbers
from napari_mri7t.engine.typed import is_finite

BUNDLED = Path(__file__).parents[2] / "models"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "card.json"
BIDS_SUBJECT = re.compile(r"sub-[0-9A-Za-z]+")
FINGERPRINTS = "targets_fingerprints"
DIGEST_KEYS = (
    "targets_sha256",
    "targets_voxels_sha256",
    "sources_sha256",
    "sources_voxels_sha256",
    FINGERPRINTS,
)
PLANES, AXIAL = ("axial", "coronal", "sagittal"), ("axial",)
ANY_TONES = "any"  # in `preprocessing`: no histogram is matched, the scan is scaled linearly
DEFAULT_MODEL = "scan_unet"  # best on scans
REPORT_MODEL = "slice_unet"  # best on the pseudo-3T of the report
#: What lists of models say after a name.
DEFAULT_MARKS = {DEFAULT_MODEL: " (default)", REPORT_MODEL: " (default for pseudo-3T)"}
NOT_FOR = (
    "Diagnosis or any clinical decision. Scans with lesions, children's brains, other contrasts "
    "than T1w, low-resolution or anisotropic scans: none was in the training data."
)


@dataclass(frozen=True)
class ModelCard:
    """Description of a model that accompanies its weights.

    Parameters
    ----------
    name : str
        Of the model, as `load_model` takes it.
    title : str
        One line for lists.
    network : str
        One of `NETWORKS`.
    network_config : dict
        Arguments of the network's constructor.
    n_parameters : int
        As Keras counts them.
    preprocessing : dict
        What the model expects: `voxel_size_mm`, `brain_extracted`, `plane`, and
        `intensity_quantiles`, the brain's quantiles 0 ... 1 at even steps, in [0, 1]. `tones` is
        "any" where a scan keeps its own, and only the brain's bright tissue is brought to one
        level. `voxel_range_mm`, if there, are the shortest and longest side it was tried with.
    synthesis : dict
        Settings of `SynthesisConfig` with which the figures were measured; its planes are those
        that are averaged unless others are asked for.
    training : dict
        Data and their licence, settings, command, hardware, date.
    metrics : dict
        Mean and standard deviation over held-out subjects.
    uncertainty : dict
        How uncertain an estimate is, as `metrics.calibration` writes it; empty where that was never
        measured on held-out subjects.
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
    uncertainty: dict[str, Any] = field(default_factory=dict)

    @property
    def is_told_noise(self) -> bool:
        """Whether the network gets the strength of a scan's noise; `noise_factor` changes it."""
        return bool(self.network_config.get("noise_map"))

    @property
    def is_of_one_slice(self) -> bool:
        """Whether each slice is estimated once, whatever the step, by the settings on the card."""
        return self.network_config.get("n_outputs") == 1

    @property
    def planes(self) -> tuple[str, ...]:
        """Planes whose estimates are averaged unless others are asked for."""
        return tuple(self.synthesis.get("planes") or AXIAL)

    @property
    def voxel_bounds_mm(self) -> tuple[list[float], list[float]]:
        """The smallest and the largest voxel that the model is for, three sides each."""
        size = self.preprocessing["voxel_size_mm"]
        shortest, longest = self.preprocessing.get("voxel_range_mm", (None, None))
        return ([shortest] * 3, [longest] * 3) if shortest else (size, size)

    def as_dict(self) -> dict[str, Any]:
        """Return the card as plain dicts and lists."""
        return asdict(self)


def card_from_dict(values: Mapping[str, Any], where: str | Path) -> ModelCard:
    """Build a card from parsed JSON.

    Parameters
    ----------
    values : mapping
    where : str or Path
        The file, for the errors.

    Raises
    ------
    ModelError
        If a key is missing or unknown, or a value has the wrong type.
    """
    known = {entry.name for entry in fields(ModelCard)}
    optional = {"not_for", "network_config", "synthesis", "uncertainty"}
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
        raise ModelError(
            f"{where}: intensity_quantiles must be two or more rising values in 0 to 1"
        )
    if len(size) != 3 or not min(size) > 0:
        raise ModelError(f"{where}: voxel_size_mm must be three lengths above 0")
    if "voxel_range_mm" in expected:
        sides = _numbers(expected, "voxel_range_mm")
        if len(sides) != 2 or not 0 < sides[0] <= sides[1]:
            raise ModelError(f"{where}: voxel_range_mm must be two rising lengths above 0")
    if not _are_planes(values.get("synthesis", {}).get("planes", [])):
        raise ModelError(f"{where}: planes of synthesis must be some of {', '.join(PLANES)}")
    return ModelCard(**{**values, "metrics": _figures(values["metrics"])})


def _are_planes(found: object) -> bool:
    """Return whether a value is a list of some of the planes, each at most once."""
    if not isinstance(found, list):
        return False
    return [plane for plane in PLANES if plane in found] == sorted(found, key=str)


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics as numbers; names of subjects stay as they are."""
    return {k: v if k == "subjects" else with_numbers(v) for k, v in metrics.items()}


def _numbers(values: Mapping[str, Any], key: str) -> list[float]:
    """Return a list of finite numbers, empty if the value is anything else."""
    found = values.get(key)
    if not isinstance(found, list):
        return []
    is_sound = all(isinstance(n, int | float) and is_finite(n) for n in found)
    return [float(n) for n in found] if is_sound else []


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model folder.

    Raises
    ------
    ModelError
        If the folder is no model.
    """
    path = folder / CARD_FILE
    advice = f"a model is a folder with {WEIGHTS_FILE} and {CARD_FILE}"
    return card_from_dict(read_object(path, advice, ModelError), path)


def seen_subjects(card: ModelCard) -> set[str]:
    """Return the training subjects of a model, those of the model it started from included."""
    return _texts(card.training, "subjects") | _texts(_start_of(card), "subjects")


def seen_digests(card: ModelCard) -> dict[str, set[str]]:
    """Return what is known of the training volumes of a model: digests, and fingerprints."""
    places = (card.training, _start_of(card))
    return {key: set().union(*(_texts(place, key) for place in places)) for key in DIGEST_KEYS}


def has_seen(card: ModelCard, name: str, digests: Collection[str] = ()) -> bool:
    """Return whether a model was trained on a subject: by volume, by name or by BIDS label.

    Parameters
    ----------
    card : ModelCard
    name : str
        Of the subject.
    digests : collection of str
        Of its volumes' files and voxels; empty to compare names only.
    """
    if not set().union(*seen_digests(card).values()).isdisjoint(digests):
        return True
    known = {subject_label(each) for each in seen_subjects(card)}
    return subject_label(name) in known or any(
        _is_named_after(name.casefold(), label.removeprefix("sub-").casefold()) for label in known
    )


def _is_named_after(name: str, label: str) -> bool:
    """Return whether a name without "sub-" begins with a label that is no mere number."""
    is_telling = any(letter.isalpha() for letter in label) and any(n.isdecimal() for n in label)
    return is_telling and (name == label or name.startswith(f"{label}_"))


def _start_of(card: ModelCard) -> Mapping[str, Any]:
    """Return what a card records of the model that the training started from."""
    found = card.training.get("started_from")
    return found if isinstance(found, Mapping) else {}


def _texts(values: Mapping[str, Any], key: str) -> set[str]:
    """Return the strings of a list, empty if the value is anything else."""
    found = values.get(key)
    return {text for text in found if isinstance(text, str)} if isinstance(found, list) else set()


def subject_label(name: str) -> str:
    """Return the BIDS label "sub-..." that a name begins with, or the name."""
    match = BIDS_SUBJECT.match(name)
    return match.group() if match else name


def find_model(name_or_folder: str | Path) -> Path:
    """Return the folder of a bundled model, by name, or of any other, by path.

    Raises
    ------
    ModelError
        If there is none; the message lists the bundled models.
    """
    folder = folder_of(str(name_or_folder))
    if folder.is_dir():
        return folder
    names = ", ".join(known.name for known in bundled_folders())
    raise ModelError(
        f"{name_or_folder}: no such model: choose {names}, or a folder with {WEIGHTS_FILE} "
        f"and {CARD_FILE}"
    )


def models(*, folds: bool = False) -> list[ModelCard]:
    """Return the cards of the bundled models, in the order of their names.

    Parameters
    ----------
    folds : bool
        Return the leave-one-out models instead, each trained without one subject.

    Returns
    -------
    list of ModelCard

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> [card.name for card in mri7t.models()]
    ['basic_cnn', 'scan_unet', 'slice_unet', 'watnet']
    """
    return [read_card(folder) for folder in (fold_folders() if folds else bundled_folders())]


def bundled_folders() -> list[Path]:
    """Return the folders of the bundled models."""
    return sorted(path.parent for path in BUNDLED.glob(f"*/{CARD_FILE}"))


def fold_folders() -> list[Path]:
    """Return the folders of the leave-one-out models, which reproduce the published figures."""
    return sorted(path.parent for path in BUNDLED.glob(f"*/*/{CARD_FILE}"))


def bundled_names() -> set[str]:
    """Return the names of the bundled models, and of the folders that hold a model per fold."""
    folds = fold_folders()
    folders = [*bundled_folders(), *folds, *(fold.parent for fold in folds)]
    return {folder.relative_to(BUNDLED).as_posix() for folder in folders}


def folder_of(place: str) -> Path:
    """Return the folder that a bundled name or a path stands for; it may not exist."""
    return BUNDLED / place if place in bundled_names() else expanded(place)


def normalise_place(place: str) -> str:
    """Return a bundled name, or an absolute path, for a place."""
    if place in bundled_names():
        return place
    folder = expanded(place).resolve()
    bundled = BUNDLED.resolve()
    return folder.relative_to(bundled).as_posix() if bundled in folder.parents else str(folder)


def start_folder(place: str, fold: str) -> Path:
    """Return the model that a fold starts from: that of the same fold, or one for all folds.

    Parameters
    ----------
    place : str
        Bundled name or path of a model, or of a folder with a model per fold.
    fold : str
        Name of the fold's folder.

    Raises
    ------
    StateError
        If the place has models of other folds only.
    ModelError
        If there is no such place.
    """
    root = folder_of(place)
    for folder in (root / fold, root):
        if (folder / CARD_FILE).exists():
            return folder
    if root.is_dir():
        raise StateError(
            f"{root}: no model for {fold} to start from; train it there first, or train only the "
            "folds that it has"
        )
    return find_model(place)


def check_place(place: str, network: str, network_config: dict[str, Any]) -> str:
    """Return the digest of the first model in a place, if it is of the network to be trained.

    Parameters
    ----------
    place : str
        Bundled name or path of a model, or of a folder with a model per fold.
    network : str
    network_config : dict
        As in the study.

    Returns
    -------
    str
        SHA-256 of the weights, which identifies the place after it was moved.

    Raises
    ------
    StateError
        If there is no model in it, or one of another network.
    ModelError
        If there is no such place.
    """
    root, found = folder_of(place), _models_in(place)
    if not found:
        find_model(place)
        raise StateError(f"{root}: neither a model nor a run folder with trained folds")
    card = read_card(found[0])
    if (card.network, card.network_config) != (network, as_read(network_config)):
        raise StateError(
            f"{found[0]}: is network {card.network} {card.network_config or ''}, not {network} "
            f"{network_config or ''}; start from a model of the same network"
        )
    return card.sha256


def is_replaced(place: str, digest: str) -> bool:
    """Return whether a place has models, but not the one that `check_place` once found there.

    Parameters
    ----------
    place : str
        As for `check_place`.
    digest : str
        What it returned; of a run folder, other folds may have been trained since.
    """
    found = _models_in(place)
    return bool(found) and all(read_card(folder).sha256 != digest for folder in found)


def digests_of_starts(place: str) -> dict[str, str]:
    """Return the digests of the models in a place, by their folders' names; "." for one model.

    Parameters
    ----------
    place : str
        As for `check_place`.
    """
    root = folder_of(place)
    return {
        folder.relative_to(root).as_posix(): read_card(folder).sha256
        for folder in _models_in(place)
    }


def _models_in(place: str) -> list[Path]:
    root = folder_of(place)
    cards = [root / CARD_FILE, *sorted(root.glob(f"*/{CARD_FILE}"))]
    return [path.parent for path in cards if path.exists()]
