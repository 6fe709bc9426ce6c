"""Training settings: one frozen dataclass, and the recipes by name.

The study's recipe is in the report, "CNN network to synthesize 7T MRI images from 3T MRI images"
(Univ. Lille, Centrale Lille); `qu2020` follows doi:10.1016/j.media.2020.101663 and its code.

Training settings as people and files write them: text and JSON in, `TrainConfig` out.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from napari_mri7t.engine.simulation.pseudo_3t import REPORT_VARIANCE, SIMULATIONS, SimulationConfig
from napari_mri7t.engine.synthesis.config import AXES_OF_PLANE, SynthesisConfig

SCHEDULES = ("linear", "cosine", "step")
PIXEL_LOSSES = ("mae", "mse", "psnr")
PLANES = tuple(AXES_OF_PLANE)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training, apart from network, data and device.

    Parameters
    ----------
    start : {"identity", "published"}
        First weights: as the network's authors draw them, or so that the first estimate is the
        source, for networks that have `start_as_identity`.
    n_steps : int
        Optimiser steps.
    batch_size : int
        Patches per step.
    patch_size : int
        Height and width of a patch, voxels; a multiple of 8.
    patches_per_epoch : int
        An epoch's last batch holds what remains of this number; 0 means no epochs.
    learning_rate, final_learning_rate : float
        Adam's step size at the start and at the end of the schedule.
    schedule : {"linear", "cosine", "step"}
        "step" multiplies by `decay_factor` every `decay_steps`.
    decay_steps : int
        Optimiser steps over which the schedule runs; 0 means all `n_steps`.
    decay_factor : float
        Of the "step" schedule.
    warmup_steps : int
        Steps over which the learning rate rises linearly from 0; a third of all steps at most.
    weight_decay : float
        Adam's L2 penalty, as in the authors' released code.
    pixel_loss : {"mae", "mse", "psnr"}
        Mean absolute error, mean squared error, or its logarithm patch by patch: the main part of
        the loss.
    background_weight : float
        Weight of voxels where the target is 0, relative to the brain: 1 is the plain loss, 0 the
        report's brain-masked loss.
    ssim_weight, gradient_weight, wavelet_weight : float
        Of 1 - SSIM, of the error of finite differences, of the error of Haar details; 0 is off.
    adversarial_weight : float
        Of the discriminator's verdict; above 0 the training is a GAN.
    discriminator_learning_rate : float
        Adam's step size for the discriminator of a GAN, the same in all steps.
    gradient_clip : float
        Largest norm of the gradient; 0 is off.
    average_decay : float
        Of the exponential moving average of the weights, which is what is kept; 0 keeps the last.
    planes : tuple of {"axial", "coronal", "sagittal"}
        Planes that patches are cut from.
    flips, rotations : bool
        Mirror patches along each axis; turn them by multiples of 90 degrees.
    scales : tuple of float
        Sizes a patch's content is resampled to, drawn per batch; 1 is as it is.
    sampling : {"uniform", "brain"}
        Patch centres anywhere, or on brain voxels.
    max_background : float
        Patches with a larger part of zeros in the target are dropped; 1 keeps all.
    end_slices : int
        Axial slices at either end that patches never touch.
    fresh_noise : bool
        All that is random in the pseudo-3T is drawn anew in every patch, instead of one volume per
        subject.
    pseudo_3t : {"report", "realistic"}
        How sources are made where there is no 3T volume; see `SimulationConfig`.
    variance : float
        Of the noise of the report's pseudo-3T.
    precision : {"auto", "float32", "bfloat16"}
        Numbers of the convolutions; "auto" takes bfloat16 where the device is fast in it.
    seed : int
        Decides first weights, patches and noise: the same seed on a CPU gives the same bits.
    checkpoint_steps : int
        Steps between two checkpoints.
    inference_step, inference_end_slices, inference_planes, inference_flips, inference_crop
        `SynthesisConfig` of the held-out estimate; no part of what is learnt.

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
    inference_step: int = 1
    inference_end_slices: int = 0
    inference_planes: tuple[str, ...] = ("axial",)
    inference_flips: bool = False
    inference_crop: bool = True

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "patch_size", "checkpoint_steps"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        _require(self.patch_size % 8 == 0, "patch_size must be a multiple of 8", self.patch_size)
        _require(self.learning_rate > 0, "learning_rate must be above 0", self.learning_rate)
        for name, choices in (
            ("start", ("identity", "published")),
            ("schedule", SCHEDULES),
            ("pixel_loss", PIXEL_LOSSES),
            ("sampling", ("uniform", "brain")),
            ("pseudo_3t", SIMULATIONS),
            ("precision", ("auto", "float32", "bfloat16")),
        ):
            value = getattr(self, name)
            _require(value in choices, f"{name} must be one of {', '.join(choices)}", value)
        _require(
            bool(self.planes) and set(self.planes) <= set(PLANES),
            f"planes must be some of {', '.join(PLANES)}",
            self.planes,
        )
        _require(0 <= self.average_decay < 1, "average_decay must be in [0, 1)", self.average_decay)
        _require(
            bool(self.scales) and all(0 < scale <= 1 for scale in self.scales),
            "scales must lie in (0, 1]",
            self.scales,
        )
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                _require(value >= 0, f"{field.name} must be at least 0", value)

    @property
    def simulation(self) -> SimulationConfig:
        """Say how pseudo-3T sources are made."""
        return SimulationConfig(self.variance, self.seed, self.pseudo_3t)

    def learnt_from(self) -> dict[str, Any]:
        """Give the settings that decide the weights: not when they are saved, nor their use."""
        settings = asdict(self)
        if self.pseudo_3t == "report":
            del settings["pseudo_3t"]  # states of trainings before there was a choice stay valid
        return {
            key: value
            for key, value in settings.items()
            if key != "checkpoint_steps" and not key.startswith("inference_")
        }

    def learning_rate_at(self, step: int) -> float:
        """Tell the learning rate of one optimiser step, counted from 0."""
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


def _require(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{expected}, got {got!r}")


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
    inference_step=3,
    inference_end_slices=30,
    inference_crop=False,
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
    "gan": GAN,
}


def find_preset(name: str) -> TrainConfig:
    """Look a preset up by name.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists them.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def network_settings(network: str, preset: str) -> dict[str, Any]:
    """Give the constructor's arguments that a preset asks of a network.

    Where the recipe is ours, WATNet spends its narrow bottleneck on the central slice alone.
    """
    ours = find_preset(preset).start == "identity"
    return {"central_only": True} if network == "watnet" and ours else {}


def synthesis_config(config: TrainConfig, device: str) -> SynthesisConfig:
    """Take the settings of the held-out estimate from those of the training."""
    return SynthesisConfig(
        device=device,
        precision=config.precision,
        step=config.inference_step,
        end_slices=config.inference_end_slices,
        planes=config.inference_planes,
        flips=config.inference_flips,
        crop=config.inference_crop,
    )


def with_settings(config: TrainConfig, settings: dict[str, str]) -> TrainConfig:
    """Change settings given as text, "key=value" split, as the command line gives them.

    Raises
    ------
    ValueError
        If a key is unknown or a value is not of its type.
    """
    types = get_type_hints(TrainConfig)
    changes: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in types:
            raise ValueError(f"setting {key!r} is unknown; choose one of {', '.join(types)}")
        try:
            changes[key] = _parse(text, types[key])
        except ValueError as error:
            raise ValueError(f"{key}: {text!r} is not of type {types[key].__name__}") from error
    return replace(config, **changes)


def pairs_of(texts: Iterable[str], where: str) -> dict[str, str]:
    """Split texts of the form "key=value".

    Parameters
    ----------
    texts : iterable of str
    where : str
        Where they stand, for the error: "--set".

    Raises
    ------
    ValueError
        If one has no "=" or no key.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{where} {text}: expected key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def network_arguments(texts: Iterable[str], where: str) -> dict[str, Any]:
    """Read a constructor's arguments from "key=value".

    Parameters
    ----------
    texts, where
        As for `pairs_of`.

    Returns
    -------
    dict
        Argument to number, list or truth value, as JSON knows them; anything else is a name.

    Raises
    ------
    ValueError
        As `pairs_of`.
    """
    return {key: _json_or_name(text) for key, text in pairs_of(texts, where).items()}


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """Rebuild settings from JSON; lists become tuples, unknown keys are refused."""
    known = {field.name for field in fields(TrainConfig)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}; known: {sorted(known)}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return TrainConfig(**plain)


def _parse(text: str, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(text)
        return text.lower() in ("true", "1", "yes")
    if kind is int:
        return int(float(text)) if float(text).is_integer() else int(text)
    return kind(text)


def _json_or_name(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
