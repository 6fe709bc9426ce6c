"""From a 3T volume to its 7T-like estimate: harmonised, slice by slice, averaged."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mri7t.engine.devices import precision_name, resolve_device, resolve_precision
from napari_mri7t.engine.errors import DeviceError, VolumeError, is_out_of_memory
from napari_mri7t.engine.metrics.calibration import Calibration
from napari_mri7t.engine.metrics.noise import measure_noise, told_noise
from napari_mri7t.engine.models.card import ANY_TONES
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.networks import takes_noise_map
from napari_mri7t.engine.preparation.domain import check_domain
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.slabs import Runner, average_views, effective_step
from napari_mri7t.engine.synthesis.uncertainty import (
    UNCERTAINTY,
    calibration_of,
    describe,
    half_width,
)
from napari_mri7t.engine.synthesis.windows import Region
from napari_mri7t.engine.volumes.brain import background_of, fill_brain
from napari_mri7t.engine.volumes.intensity import (
    BRIGHT_LEVEL,
    Harmonization,
    harmonize,
    scale_linearly,
)
from napari_mri7t.engine.volumes.provenance import Execution, sidecar
from napari_mri7t.engine.volumes.scale import Scale, find_scale
from napari_mri7t.engine.volumes.volume import Volume, save_volumes

SYNTHESIZE = "synthesize"  # what a sidecar says was done


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A finished synthesis: the estimate, and how it was made.

    Attributes
    ----------
    volume : Volume
        The estimate.
    source : Volume
        The scan it was made from.
    model : Model
    device : str
    threads : int or None
        Torch's on the CPU, None on another device.
    precision : str
    seconds : float
        Of the network's pass.
    warnings : tuple of str
    settings : dict
        Everything that decides the voxels, and what was found about the scan.
    prepared : Prepared or None
        None where the scan went to the model as is.
    uncertainty : Volume or None
        If the config asked for it: half of the width of the 90 % interval of every voxel, in the
        estimate's intensities; 0 outside the brain.
    """

    volume: Volume
    source: Volume
    model: Model
    device: str
    threads: int | None
    precision: str
    seconds: float
    warnings: tuple[str, ...]
    settings: dict[str, Any] = field(repr=False)
    prepared: Prepared | None = field(default=None, repr=False)
    uncertainty: Volume | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "volume", replace(self.volume, made_by=SYNTHESIZE))

    def sidecar(self, of: str = SYNTHESIZE) -> dict[str, Any]:
        """Describe the synthesis so that it can be repeated; as `provenance.sidecar`.

        Parameters
        ----------
        of : {"synthesize", "uncertainty"}
            The image that it belongs to.
        """
        execution = Execution(
            device=self.device,
            precision=self.precision,
            model=self.model.name,
            model_sha256=self.model.card.sha256,
            threads=self.threads,
        )
        facts = sidecar(
            of, [self.source], execution, settings=self.settings, warnings=self.warnings
        )
        return facts | (describe(self.model.card) if of == UNCERTAINTY else {})

    def save(
        self,
        path: str | Path,
        uncertainty_path: str | Path | None = None,
        *,
        overwrite: bool = False,
    ) -> Path:
        """Write the estimate, its uncertainty if that has a path, and their sidecars: all or none.

        Parameters
        ----------
        path, uncertainty_path : str or Path
            .nii.gz or .nii.
        overwrite : bool
            False refuses files that exist.

        Returns
        -------
        Path
            The image.

        Raises
        ------
        Mri7tError
            If the files cannot be written.
        ValueError
            If the uncertainty has a path, but was not asked for.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from napari_mri7t import load_model, load_volume
        >>> blob = Volume(np.pad(np.ones((8, 8, 3)), 8), np.eye(4), name="blob")
        >>> made = estimate(blob, load_model("basic_cnn"), SynthesisConfig(device="cpu"))
        >>> with TemporaryDirectory() as folder:
        ...     load_volume(made.save(f"{folder}/blob_7t.nii.gz")).shape
        (24, 24, 19)
        """
        images = [(self.volume, Path(path), self.sidecar())]
        if uncertainty_path is not None:
            if self.uncertainty is None:
                raise ValueError("the synthesis has no uncertainty: ask for it in its config")
            facts = self.sidecar(UNCERTAINTY)
            images.append((self.uncertainty, Path(uncertainty_path), facts))
        return save_volumes(images, overwrite=overwrite)[0]


def estimate(
    source: Volume,
    model: Model,
    config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen
    report: Report = ignore,
) -> Synthesis:
    """Run a prepared volume through a network.

    Parameters
    ----------
    source : Volume
        3T, any linear scale of the intensities; what is no background is taken as brain.
    model : Model
    config : SynthesisConfig
    report : callable
        Called after every batch of slices; what it raises cancels.

    Returns
    -------
    Synthesis
        Its volume has the source's grid and range of intensities.

    Raises
    ------
    VolumeError
        If the volume has too few slices for the network, or is all background.
    DeviceError
        If the device does not exist, or its memory does not hold a single slice.
    ModelError
        If the uncertainty is asked for and the model was not calibrated, or with other settings.
    """
    start = time.perf_counter()
    passage = Passage.of(source, model, config)
    config = passage.runner.config
    runner, notes = passage.runner, list(passage.warnings)
    calibration = calibration_of(model.card, config) if config.uncertainty else None
    spread = np.zeros(passage.array.shape, np.float32) if calibration else None
    run = partial(average_views, passage.array, runner, report, spread)
    slices = on_any_device(run, runner, passage.array.shape, notes)
    width = None
    if calibration is not None and spread is not None:
        width = source.with_array(
            passage.half_width(slices, spread, calibration).T, name=f"{source.name}_uncertainty"
        )
    array = passage.back(slices, tuple(slice(0, n) for n in slices.shape)).T
    return Synthesis(
        volume=source.with_array(array, name=f"{source.name}_synthetic-7T"),
        source=source,
        model=model,
        device=str(runner.device),
        threads=torch.get_num_threads() if runner.device.type == "cpu" else None,
        precision=precision_name(runner.precision),
        seconds=time.perf_counter() - start,
        warnings=tuple(notes),
        settings=_recorded(replace(config, step=effective_step(runner))) | passage.found,
        uncertainty=width,
    )


def _recorded(config: SynthesisConfig) -> dict[str, Any]:
    """Return what a sidecar records: the estimate is the same with and without uncertainty."""
    return {name: value for name, value in asdict(config).items() if name != "uncertainty"}


@dataclass(frozen=True, eq=False)
class Passage:
    """The way of a volume's intensities to a model's and back: what the whole volume decides.

    Attributes
    ----------
    source : Volume
        With its background at 0.
    array : ndarray of float32, shape (S, A, R)
        As the network sees it, in [0, 1].
    harmonization : Harmonization
    scale : Scale
        Of the volume as it was given.
    runner : Runner
    warnings : tuple of str
    found : dict
        For the record: whether intensities were mapped, and the noise if the network is told.
    """

    source: Volume
    array: np.ndarray
    harmonization: Harmonization
    scale: Scale
    runner: Runner
    warnings: tuple[str, ...]
    found: dict[str, Any]

    @classmethod
    def of(cls, source: Volume, model: Model, config: SynthesisConfig) -> "Passage":
        """Find a volume's way to a model; errors as of `estimate`."""
        config = config.of_model(model.card)
        device = resolve_device(config.device)
        precision = resolve_precision(config.precision, device)
        scale = find_scale(source)
        source = source.with_array(scale.to_zero(source.array)) if not scale.is_usual else source
        _check(source, config)
        harmonization = _harmonization(source.array, model)
        warnings = (*scale.warnings, *check_domain(source, model.card))
        runner = Runner(model.network, config, device, precision)
        found: dict[str, Any] = {"harmonized": harmonization.scan is not None}
        if takes_noise_map(model.network):
            noise, slope = measure_noise(source.array), harmonization.slope
            found["noise"] = noise.level
            runner.noise = told_noise(noise, BRIGHT_LEVEL / slope, config.noise_factor) * slope
        elif config.noise_factor != SynthesisConfig.noise_factor:
            warnings += (
                f"noise_factor {config.noise_factor:g} has no effect: the model {model.name} is "
                "not told the noise; use one that is",
            )
        array = harmonization.to_model(source.array).T
        return cls(source, array, harmonization, scale, runner, warnings, found)

    def back(self, slices: np.ndarray, region: Region) -> np.ndarray:
        """Return what a network made of a region of (S, A, R), in the scan's intensities.

        `slices` are changed.
        """
        seen = self.source.array.T[region]
        made = slices.clip(0, 1, out=slices)
        if self.harmonization.scan is not None:
            brightest = float(self.source.array.max())
            made = self.harmonization.to_scan(made, seen, self._brain[region], brightest)
        ends, n = self.runner.config.end_slices, len(self.array)
        at = np.arange(region[0].start, region[0].stop)
        is_end = (at < ends) | (at >= n - ends)
        made[is_end] = seen[is_end]
        return made if self.scale.is_usual else self.scale.from_zero(made, self._brain[region])

    def half_width(
        self, slices: np.ndarray, spread: np.ndarray, calibration: Calibration
    ) -> np.ndarray:
        """Return how uncertain what a network made of (S, A, R) is, in the scan's intensities."""
        found = half_width(self.array, slices.clip(0, 1), spread, calibration, self.harmonization)
        ends, n = self.runner.config.end_slices, len(self.array)
        found[:ends] = found[n - ends :] = 0  # left as in the scan
        found[~self._brain] = 0
        return found

    @cached_property
    def _brain(self) -> np.ndarray:
        """The brain without holes, (S, A, R)."""
        return fill_brain(self.source.array).T


def _harmonization(array: np.ndarray, model: Model) -> Harmonization:
    """Return the map to the model's intensities: its histogram, or any tones on a linear scale."""
    expected = model.card.preprocessing
    if expected.get("tones") == ANY_TONES:
        return scale_linearly(array)
    return harmonize(array, np.asarray(expected["intensity_quantiles"]))


def check_end_slices(name: str, n_slices: int, config: SynthesisConfig) -> None:
    """Refuse end slices that leave nothing to synthesise.

    Parameters
    ----------
    name : str
        Of the volume.
    n_slices : int
        Axial, of the grid on which the network works.
    config : SynthesisConfig

    Raises
    ------
    VolumeError
        If they leave no slice.
    """
    if 2 * config.end_slices >= n_slices:
        raise VolumeError(
            f"{name}: {config.end_slices} end slices on either side leave none of the "
            f"{n_slices} slices to synthesise: choose fewer",
            argument="end_slices",
        )


def _check(source: Volume, config: SynthesisConfig) -> None:
    check_end_slices(source.name, source.shape[2], config)
    if not (source.array > background_of(source.array)).any():
        raise VolumeError(f"{source.name}: no voxel is above the background: nothing to synthesise")


def on_any_device(
    compute: Callable[[], np.ndarray], runner: Runner, shape: tuple[int, ...], notes: list[str]
) -> np.ndarray:
    """Compute, and again with less memory, on the CPU, or in float32 where that is needed.

    Parameters
    ----------
    compute : callable
        Runs the network as `runner` says; returns its output.
    runner : Runner
        Changed where that is needed.
    shape : tuple of int
        Of the volume, (S, A, R).
    notes : list of str
        What was done is appended.

    Raises
    ------
    DeviceError
        If the memory does not hold a single slice.
    VolumeError
        If the output is not finite.
    """
    while True:
        try:
            slices = compute()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            notes.append(_with_less_memory(runner, shape, error))
            continue
        if np.isfinite(slices).all():
            return slices
        if runner.precision == torch.float32:
            raise VolumeError("the network's output is not finite; check the model")
        notes.append(f"{precision_name(runner.precision)} overflowed: recomputed in float32")
        runner.precision = torch.float32


def _with_less_memory(runner: Runner, shape: tuple[int, ...], error: Exception) -> str:
    """Take fewer slabs at once, then leave the GPU; return what was done."""
    on_cpu = runner.device.type == "cpu"
    if on_cpu and not runner.one_lane and runner.n_lanes(*shape[1:]) > 1:
        runner.one_lane = True
        return "cpu ran out of memory: continued with one batch at a time, on all cores"
    if runner.batch != 1:
        runner.batch = 1 if runner.batch or on_cpu else 8
        return f"{runner.device} ran out of memory: continued with batches of {runner.batch}"
    if on_cpu:
        raise DeviceError(
            "out of memory on the CPU with one slice at a time: close other programs or use a "
            "machine with more memory"
        ) from error
    note = f"{runner.device} ran out of memory with one slice: continued on the CPU"
    runner.device, runner.batch = torch.device("cpu"), 0
    runner.precision = resolve_precision(runner.config.precision, runner.device)
    return note
