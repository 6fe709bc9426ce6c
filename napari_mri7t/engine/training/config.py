"""Training settings: one frozen dataclass, the presets, and both as text. Read without torch.

The study's recipe is in the report, "CNN network to synthesize 7T MRI images from 3T MRI images"
(Univ. Lille, Centrale Lille); `qu2020` follows doi:10.1016/j.media.2020.101663 and its code.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from napari_mri7t.engine.models.card import AXIAL, PLANES
from napari_mri7t.engine.simulation.pseudo_3t import REPORT_VARIANCE, SIMULATIONS, SimulationConfig
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.texts import as_read, brief
from napari_mri7t.engine.typed import check_types

MOST = 10**18  # of any whole number, steps and seeds included
IN_WORDS = {int: "a whole number", float: "a number, such as 0.5", bool: "true or false"}
FINAL = -1  # in place of a fold's number: train on all subjects
CHOICES = {
    "start": ("identity", "published"),
    "schedule": ("linear", "cosine", "step"),
    "pixel_loss": ("mae", "mse", "psnr"),
    "sampling": ("uniform", "brain"),
    "pseudo_3t": SIMULATIONS,
    "precision": ("auto", "float32", "bfloat16"),
}
FIXED_IN_INFERENCE = {
    "device": "it is that of the training",
    "precision": "it is that of the training",
    "memory_mb": "it is no setting of a study",
}
INFERENCE_SETTINGS = ("step", "end_slices", "planes", "flips", "crop")  # a study may choose these


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training, apart from network, data and device.

    Parameters
    ----------
    start : {"identity", "published"}
        Initial weights: "published" draws them as the network's authors do, "identity" makes the
        first estimate equal the source, for networks that have `start_as_identity`.
    n_steps : int
        Optimiser steps.
    batch_size : int
        Patches per step.
    patch_size : int
        Height and width of a patch, voxels; a multiple of 8.
    patches_per_epoch : int
        The last batch of an epoch holds the remainder of this number; 0 means no epochs.
    learning_rate, final_learning_rate : float
        Adam's step size at the start and at the end of the schedule.
    schedule : {"linear", "cosine", "step"}
        "step" multiplies by `decay_factor` every `decay_steps`.
    decay_steps : int
        Optimiser steps over which the schedule runs; 0 means all `n_steps`.
    decay_factor : float
        Of the "step" schedule.
    warmup_steps : int
        Steps over which the learning rate rises linearly from 0; at most a third of all steps.
    weight_decay : float
        Adam's L2 penalty, as in the code released by Qu et al. (2020).
    pixel_loss : {"mae", "mse", "psnr"}
        Main term of the loss: mean absolute error, mean squared error, or its logarithm per patch.
    background_weight : float
        Weight of voxels where the target is 0, relative to the brain: 1 is the plain loss, 0 the
        report's brain-masked loss.
    ssim_weight, gradient_weight, wavelet_weight : float
        Weight of 1 - SSIM, of the error of finite differences, of the error of Haar details; 0 is
        off.
    adversarial_weight : float
        Weight of the adversarial loss; above 0 the training is a GAN.
    discriminator_learning_rate : float
        Adam's constant step size for the discriminator of a GAN.
    gradient_clip : float
        Largest norm of the gradient; 0 is off.
    average_decay : float
        Decay of the exponential moving average of the weights, which becomes the model; with 0 the
        last weights do.
    planes : tuple of {"axial", "coronal", "sagittal"}
        Planes that patches are cut from.
    flips, rotations : bool
        Mirror patches along each axis; turn them by multiples of 90 degrees.
    scales : tuple of float
        Scales that patches are resampled to, one drawn per batch; 1 leaves them unchanged.
    sampling : {"uniform", "brain"}
        Patch centres anywhere, or on brain voxels.
    max_background : float
        Patches with a larger fraction of zeros in the target are dropped; 1 keeps all.
    end_slices : int
        Axial slices at either end that are not trained on.
    fresh_noise : bool
        Draw all random parts of the pseudo-3T anew for every patch, instead of once per subject.
    pseudo_3t : {"report", "realistic", "noise"}
        How sources are simulated where there is no 3T volume; see `SimulationConfig`.
    variance : float
        Noise variance of the report's pseudo-3T.
    precision : {"auto", "float32", "bfloat16"}
        Number format of the convolutions; "auto" uses bfloat16 where the device is fast with it.
    seed : int
        Decides initial weights, patches and noise: on a CPU the same seed gives the same bits.
    checkpoint_steps : int
        Steps between two checkpoints.
    inference : SynthesisConfig
        How the held-out subject is estimated, in axial slices unless it names planes; no part of
        what is learnt. Device, precision and memory bound must stay at their defaults:
        `synthesis_config` fills them in.

    Raises
    ------
    ValueError
        If a value is out of its range; the message names it.
    """

    start: str = "identity"
    n_steps: int = 2000
    batch_size: int = 16
    patch_size: int = 96
    patches_per_epoch: int = 0
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    schedule: str = "cosine"
    decay_steps: int = 0
    decay_factor: float = 0.8
    warmup_steps: int = 50
    weight_decay: float = 0.0
    pixel_loss: str = "mse"
    background_weight: float = 0.1
    ssim_weight: float = 0.0
    gradient_weight: float = 0.0
    wavelet_weight: float = 0.0
    adversarial_weight: float = 0.0
    discriminator_learning_rate: float = 2e-4
    gradient_clip: float = 1.0
    average_decay: float = 0.99
    planes: tuple[str, ...] = PLANES
    flips: bool = True
    rotations: bool = True
    scales: tuple[float, ...] = (1.0,)
    sampling: str = "brain"
    max_background: float = 1.0
    end_slices: int = 0
    fresh_noise: bool = True
    pseudo_3t: str = "report"
    variance: float = REPORT_VARIANCE
    precision: str = "auto"
    seed: int = 0
    checkpoint_steps: int = 100
    inference: SynthesisConfig = field(default_factory=SynthesisConfig)

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("n_steps", "batch_size", "patch_size", "checkpoint_steps"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        _require(self.patch_size % 8 == 0, "patch_size must be a multiple of 8", self.patch_size)
        _require(self.learning_rate > 0, "learning_rate must be above 0", self.learning_rate)
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            _require(value in choices, f"{name} must be one of {', '.join(choices)}", value)
        _require(
            bool(self.planes) and set(self.planes) <= set(PLANES),
            f"planes must be some of {', '.join(PLANES)}",
            self.planes,
        )
        for name, why in FIXED_IN_INFERENCE.items():
            value, default = getattr(self.inference, name), getattr(SynthesisConfig, name)
            _require(value == default, f"inference.{name} must stay {default!r}: {why}", value)
        planes = self.inference.planes or AXIAL
        object.__setattr__(self, "inference", replace(self.inference, planes=planes))
        _require(0 <= self.average_decay < 1, "average_decay must be in [0, 1)", self.average_decay)
        _require(
            bool(self.scales) and all(0 < scale <= 1 for scale in self.scales),
            "scales must lie in (0, 1]",
            self.scales,
        )
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                _require(value >= 0, f"{entry.name} must be at least 0", value)
            if isinstance(value, int):
                _require(value <= MOST, f"{entry.name} must be at most {MOST:g}", value)

        _ = self.simulation  # its own checks

    @property
    def simulation(self) -> SimulationConfig:
        """Return how pseudo-3T sources are simulated."""
        return SimulationConfig(self.variance, self.seed, self.pseudo_3t)

    def learnt_from(self) -> dict[str, Any]:
        """Return the settings that decide the weights: not when they are saved, nor their use."""
        unlearnt = ("checkpoint_steps", "inference")
        return {key: value for key, value in asdict(self).items() if key not in unlearnt}

    def synthesis_config(self, device: str) -> SynthesisConfig:
        """Return how the held-out subject is estimated on a device."""
        return replace(self.inference, device=device, precision=self.precision)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of one optimiser step, counted from 0."""
        warmup = min(self.warmup_steps, self.n_steps // 3)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        length = self.decay_steps or self.n_steps
        if self.schedule == "step":
            return float(self.learning_rate * self.decay_factor ** (step // length))
        done = min(step / length, 1.0)
        if self.schedule == "cosine":
            done = 0.5 - 0.5 * math.cos(math.pi * done)
        return self.learning_rate + (self.final_learning_rate - self.learning_rate) * done


Settings = TypeVar("Settings", TrainConfig, SynthesisConfig)


def _require(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{expected}, got {brief(got)}")


REPORT = TrainConfig(
    start="published",
    n_steps=120,
    batch_size=32,
    patch_size=64,
    patches_per_epoch=360,  # 40 passes over 9 subjects
    final_learning_rate=1e-4,
    schedule="linear",
    decay_steps=10,
    warmup_steps=0,
    pixel_loss="mae",
    background_weight=1.0,
    gradient_clip=0.0,
    average_decay=0.0,
    planes=("axial",),
    flips=False,
    rotations=False,
    sampling="uniform",
    end_slices=30,
    fresh_noise=False,
    checkpoint_steps=40,
    inference=SynthesisConfig(step=3, end_slices=30, crop=False),
)

QU2020 = TrainConfig(
    start="published",
    n_steps=3000,  # the authors ran 132,000; scaled to two CPU cores
    batch_size=32,
    patch_size=64,
    learning_rate=2.5e-4,
    schedule="step",
    decay_steps=773,  # 34,000 of 132,000, scaled alike
    warmup_steps=0,
    weight_decay=1e-4,
    pixel_loss="mae",
    background_weight=1.0,
    gradient_clip=0.0,
    average_decay=0.0,
    planes=("axial",),
    scales=(1.0, 0.8, 0.6),
    sampling="uniform",
    max_background=0.3,
)

BEST = TrainConfig(pixel_loss="psnr")

SCAN = replace(BEST, n_steps=4000, patch_size=80, pseudo_3t="noise", average_decay=0.999)

GAN = replace(
    BEST,
    n_steps=1500,
    batch_size=32,
    patch_size=64,
    pixel_loss="mae",  # adversarial + L1, as the report proposes
    adversarial_weight=0.002,
)

PRESETS: dict[str, TrainConfig] = {
    "report": REPORT,
    "report-text": replace(REPORT, decay_steps=120),  # 10 epochs of 12 steps
    "qu2020": QU2020,
    "best": BEST,
    "scan": SCAN,
    "gan": GAN,
}


def find_preset(name: str) -> TrainConfig:
    """Return the preset of that name.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the presets.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def network_settings(network: str, preset: str) -> dict[str, Any]:
    """Return the constructor arguments that a preset asks of a network.

    In our own recipes, WATNet uses its narrow bottleneck for the central slice alone; with the
    preset "scan", SliceUNet is told how strong the noise is.
    """
    if (network, preset) == ("slice_unet", "scan"):
        return {"n_slices": 5, "n_outputs": 1, "widths": [32, 64, 96], "noise_map": True}
    ours = find_preset(preset).start == "identity"
    return {"central_only": True} if network == "watnet" and ours else {}


def changed_settings(preset: str, config: TrainConfig) -> dict[str, Any]:
    """Return the settings of a training that differ from those of its preset."""
    known = settings_of(find_preset(preset))
    return {key: value for key, value in settings_of(config).items() if value != known[key]}


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """Return every setting that `with_settings` takes; the nested ones as "inference.step"."""
    found = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    nested = found.pop("inference")
    return found | {f"inference.{name}": getattr(nested, name) for name in INFERENCE_SETTINGS}


def with_settings(config: TrainConfig, settings: dict[str, str]) -> TrainConfig:
    """Change settings given as text.

    Parameters
    ----------
    config : TrainConfig
    settings : dict of str to str
        Name, as in `settings_of`, to value; the items of a tuple are separated by commas.

    Raises
    ------
    ValueError
        If a name is unknown or a value is not of its type.

    Examples
    --------
    >>> with_settings(BEST, {"n_steps": "50", "inference.planes": "axial,coronal"}).n_steps
    50
    """
    types = get_type_hints(TrainConfig)
    nested = get_type_hints(SynthesisConfig)
    known = settings_of(config)
    changes: dict[str, Any] = {}
    inference: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in known:
            raise ValueError(f"setting {brief(key)} is unknown; choose one of {', '.join(known)}")
        name = key.removeprefix("inference.")
        into, kind = (changes, types[key]) if name == key else (inference, nested[name])
        try:
            into[name] = _parse(text, kind)
        except ValueError as error:
            raise ValueError(
                f"{key}: {brief(text)} is not {IN_WORDS.get(kind, kind.__name__)}"
            ) from error
    return replace(config, **changes, inference=replace(config.inference, **inference))


def pairs_of(texts: Iterable[str], where: str) -> dict[str, str]:
    """Split texts of the form "key=value".

    Parameters
    ----------
    texts : iterable of str
    where : str
        Where they come from, for the error.

    Raises
    ------
    ValueError
        If a text has no "=" or no key.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{where} {text}: expected key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def network_arguments(texts: Iterable[str], where: str) -> dict[str, Any]:
    """Read a constructor's arguments from texts of the form "key=value".

    Parameters
    ----------
    texts, where
        As for `pairs_of`.

    Returns
    -------
    dict
        Argument to number, list or boolean, as in JSON; anything else is a string.

    Raises
    ------
    ValueError
        As `pairs_of`.
    """
    return {key: _json_or_name(text) for key, text in pairs_of(texts, where).items()}


def from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Rebuild settings from JSON; lists become tuples.

    Parameters
    ----------
    values : mapping
        As `dataclasses.asdict` gives; settings that are missing have their defaults.

    Raises
    ------
    ValueError
        If a setting is unknown or out of its range.
    """
    inference = _build(SynthesisConfig, dict(values.get("inference", {})))
    return _build(TrainConfig, {**values, "inference": inference})


def _build(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    known = {entry.name for entry in fields(kind)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}; known: {sorted(known)}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return kind(**plain)


def _parse(text: str, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(text)
        return text.lower() in ("true", "1", "yes")
    if kind is int:
        return int(Decimal(text)) if float(text).is_integer() else int(text)  # 1e4 is whole
    return kind(text)


def _json_or_name(text: str) -> Any:
    try:
        return as_read(json.loads(text))  # without infinity, which JSON lacks
    except (ValueError, RecursionError):
        return text
