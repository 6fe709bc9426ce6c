"""Any T1w scan to its 7T-like estimate, on the requested grid."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from napari_mri7t.engine.datasets.doubts import scan_doubts
from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.choice import model_for
from napari_mri7t.engine.preparation.domain import check_domain
from napari_mri7t.engine.preparation.optional import in_background
from napari_mri7t.engine.preparation.pair_grid import continued
from napari_mri7t.engine.preparation.prepare import (
    N_STEPS,
    PreparationConfig,
    PreparationPlan,
    plan_preparation,
    prepare,
)
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.quality import describe_distance, registration_warnings
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.synthesis.blending import blend
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import Synthesis, check_end_slices, estimate
from napari_mri7t.engine.synthesis.uncertainty import calibration_of
from napari_mri7t.engine.typed import check_kind
from napari_mri7t.engine.volumes.brain import fill_brain
from napari_mri7t.engine.volumes.grids import CUBIC, LINEAR, resample
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.template import MODEL_SHAPE, model_grid
from napari_mri7t.engine.volumes.volume import Volume, VolumeLike, as_volume, shares_grid

COVERED = 0.999  # of the interpolation's weight from within the field of view
MERGING = Progress(1, 1, "merging into the scan")
PREPARING, REUSING = 0.75, 0.1  # of the time that a raw scan takes in all; with all steps reused


def synthesize(  # noqa: PLR0913 - the verb of the package, all with defaults
    scan: VolumeLike,
    model: str | Path | Model | None = None,
    config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen, as the next two
    preparation: PreparationConfig | PreparationPlan = PreparationConfig(),  # noqa: B008
    output: OutputConfig = OutputConfig(),  # noqa: B008
    report: Report = ignore,
) -> Synthesis:
    """Synthesise a 7T-like image from any T1w scan of a head, prepared as needed.

    Parameters
    ----------
    scan : str, Path, nibabel image or Volume
        T1w, raw or prepared.
    model : str, Path, Model or None
        Name of a bundled model, folder, or a loaded model; None for the bundled one that the scan
        is for, as `model_for` says.
    config : SynthesisConfig
    preparation : PreparationConfig or PreparationPlan
        A plan for this scan is executed as it is.
    output : OutputConfig
    report : callable
        Called with the `Progress` of the preparation and the synthesis together; what it raises
        cancels.

    Returns
    -------
    Synthesis
        In the scan's own range of intensities.

    Raises
    ------
    VolumeError
        If the scan is too coarse, its brain implausible, or its registration fails.
    Mri7tError
        If a library of the extra `native` is needed and missing.
    DeviceError, ModelError
        As for `estimate`.
    ValueError
        If a plan is for another space than that of `output`.
    TypeError
        If settings are of another type.

    Examples
    --------
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> template = load_template()
    >>> slices = Volume(template.array[::4, ::4, 80:84], template.affine, name="slices")
    >>> result = synthesize(slices, "basic_cnn", SynthesisConfig(device="cpu", step=3))
    >>> result.volume.name, result.volume.shape == slices.shape
    ('slices_synthetic-7T', True)
    """
    check_kind(
        config=(config, SynthesisConfig),
        preparation=(preparation, (PreparationConfig, PreparationPlan)),
        output=(output, OutputConfig),
    )
    scan = as_volume(scan)
    resolve_device(config.device)  # as all that can fail before the preparation, which takes long
    check_ends(scan, config, output)
    model = load_model_for(scan, model, report)
    if config.uncertainty:
        calibration_of(model.card, config)
    share = PREPARING if getattr(preparation, "steps", True) else REUSING  # a config has none
    ready = prepare_scan(scan, preparation, output.space, part(report, 0, 1, share=share))
    done = 0.0 if ready.prepared is None else share
    rest = part(report, done, 1, share=1 - done)
    return synthesize_prepared(ready, model, config, output, rest)


@dataclass(frozen=True, eq=False)
class ReadyScan:
    """A scan that was checked, planned and prepared: all that a model needs.

    Attributes
    ----------
    scan : Volume
        As it was given.
    plan : PreparationPlan
    prepared : Prepared or None
        None where the scan goes to the model as is.
    """

    scan: Volume
    plan: PreparationPlan
    prepared: Prepared | None = None

    @property
    def model_input(self) -> Volume:
        """What goes through a network on the scan's own grid."""
        return self.scan if self.prepared is None else self.prepared.model_input


def prepare_scan(
    scan: VolumeLike,
    preparation: PreparationConfig | PreparationPlan = PreparationConfig(),  # noqa: B008 - frozen
    space: str = "native",
    report: Report = ignore,
) -> ReadyScan:
    """Check, plan and prepare a scan: the part of `synthesize` that needs no model.

    Parameters
    ----------
    scan, preparation, report
        As for `synthesize`.
    space : {"native", "mni"}
        Where the estimate goes.

    Raises
    ------
    VolumeError, Mri7tError, ValueError
        As `synthesize`.
    """
    scan = as_volume(scan)
    check_t1w(scan)
    report(Progress(0, N_STEPS, "inspecting the scan"))
    return prepare_planned(scan, _plan(scan, preparation, space), report)


def prepare_planned(scan: Volume, plan: PreparationPlan, report: Report = ignore) -> ReadyScan:
    """Prepare a scan that was checked and planned; as `prepare_scan`."""
    return ReadyScan(scan, plan, prepare(scan, plan, report=report) if plan.is_needed else None)


def synthesize_prepared(
    ready: ReadyScan,
    model: str | Path | Model | None = None,
    config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen, as the next
    output: OutputConfig = OutputConfig(),  # noqa: B008
    report: Report = ignore,
) -> Synthesis:
    """Run a prepared scan through a model: the rest of `synthesize`.

    Parameters
    ----------
    ready : ReadyScan
        From `prepare_scan`, for the space of `output`.
    model, config, output, report
        As for `synthesize`.

    Raises
    ------
    VolumeError, DeviceError, ModelError, ValueError
        As `synthesize`.

    Examples
    --------
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> template = load_template()
    >>> slices = Volume(template.array[::4, ::4, 80:84], template.affine, name="slices")
    >>> ready = prepare_scan(slices)
    >>> ready.prepared is None  # too little for a preparation
    True
    >>> quick = SynthesisConfig(device="cpu", step=3)
    >>> synthesize_prepared(ready, "basic_cnn", quick).volume.name
    'slices_synthetic-7T'
    """
    _check_space(ready.plan, output.space)
    prepared, model = ready.prepared, load_model_for(ready.scan, model, report)
    if prepared is None:
        made = estimate(ready.scan, model, config, report=report)
        note = f"without effect, since the scan goes to the model as it is: {output.chosen()}"
        notes = (note,) if output.chosen() else ()
        return replace(made, warnings=(*ready.plan.warnings, *notes, *made.warnings))
    distance = in_background(
        lambda: describe_distance(prepared, model.card),
        report,
        Progress(0, 1, "checking similarity to the training data"),
    )
    on_grid = _on_own_grid if output.is_on_own_grid else _via_mni
    made = on_grid(prepared, model, config, output, report)
    facts = prepared.facts | {"distance": list(distance), "threads": torch.get_num_threads()}
    return replace(
        made,
        volume=as_given(made.volume, prepared),
        source=ready.scan,
        prepared=prepared,
        settings=made.settings | {"preparation": facts, "output": asdict(output)},
        warnings=(*prepared.warnings, *registration_warnings(prepared), *made.warnings),
    )


def check_ends(scan: Volume, config: SynthesisConfig, output: OutputConfig) -> None:
    """Refuse end slices that leave nothing of a scan, before its preparation.

    Raises
    ------
    VolumeError
        If they leave no slice of the grid on which the network works.
    """
    n_slices = scan.shape[2]
    if not output.is_on_own_grid:  # where a preparation is needed: in MNI space
        n_slices = max(n_slices, MODEL_SHAPE[2])
    check_end_slices(scan.name, n_slices, config)


def load_model_for(
    scan: Volume, model: str | Path | Model | None = None, report: Report = ignore
) -> Model:
    """Load a model, or the one that a scan is for where none is named.

    Raises
    ------
    ModelError
        As `load_model`.
    """
    if isinstance(model, Model):
        return model
    report(Progress(0, 0, "loading the model"))
    return load_model(model or model_for(scan))


def as_given(estimate: Volume, prepared: Prepared) -> Volume:
    """Return an estimate on the scale of the scan as it was given."""
    scale = prepared.scale
    if scale.is_usual:
        return estimate
    is_there = shares_grid(estimate, prepared.scan)
    tissue = fill_brain(prepared.scan.array if is_there else estimate.array)
    tissue |= prepared.mask if is_there else False
    return estimate.with_array(scale.from_zero(estimate.array, tissue))


def _plan(
    scan: Volume, preparation: PreparationConfig | PreparationPlan, space: str
) -> PreparationPlan:
    if isinstance(preparation, PreparationConfig):
        plan = plan_preparation(scan, preparation, space)
    else:
        plan = preparation
        _check_space(plan, space)
        plan.check_is_for(scan)
    doubts = scan_doubts(scan)
    return replace(plan, warnings=(*doubts, *plan.warnings)) if doubts else plan


def _check_space(plan: PreparationPlan, space: str) -> None:
    if plan.space != space:
        raise ValueError(
            f"the preparation was planned for {plan.space} space, but the output is in "
            f"{space} space: plan it for that space"
        )


def _on_own_grid(
    prepared: Prepared, model: Model, config: SynthesisConfig, output: OutputConfig, report: Report
) -> Synthesis:
    made = estimate(prepared.model_input, model, config, report=report)
    array = made.volume.array
    merged = in_background(
        lambda: blend(prepared.scan, array, prepared.region, output.background), report, MERGING
    )
    uncertainty = _within(prepared.mask, made.uncertainty)
    return replace(made, volume=made.volume.with_array(merged), uncertainty=uncertainty)


def _within(mask: np.ndarray, uncertainty: Volume | None) -> Volume | None:
    """Return an uncertainty that is 0 outside a mask."""
    if uncertainty is None:
        return None
    return uncertainty.with_array(np.where(mask, uncertainty.array, np.float32(0)))


def _via_mni(
    prepared: Prepared, model: Model, config: SynthesisConfig, output: OutputConfig, report: Report
) -> Synthesis:
    now = Progress(0, 1, "resampling to MNI space")
    brain, mask, around = in_background(lambda: to_mni(prepared), report, now)
    made = estimate(brain, model, config, report=report)
    array = made.volume.array
    if output.space == "mni":
        background = background_in_mni(prepared, output)
        region = mask | prepared.is_brain_only
        merged = in_background(lambda: blend(around, array, region, background), report, MERGING)
        volume = brain.with_array(merged, name=made.volume.name)
        uncertainty = _within(mask, made.uncertainty)
    else:
        merged = in_background(
            lambda: blend(
                prepared.scan,
                from_mni(_with_surroundings(array, mask, around, prepared), prepared),
                prepared.mask,
                output.background,
            ),
            report,
            MERGING,
        )
        volume = prepared.scan.with_array(merged, name=made.volume.name)
        uncertainty = _uncertainty_from_mni(made.uncertainty, prepared)
    notes = (*check_domain(prepared.brain, model.card), *made.warnings)
    warnings = tuple(dict.fromkeys(notes))
    return replace(made, volume=volume, uncertainty=uncertainty, warnings=warnings)


def _with_surroundings(
    estimate: np.ndarray, mask: np.ndarray, around: Volume, prepared: Prepared
) -> Volume:
    """Return an estimate of the brain with what interpolation at its rim needs around it."""
    outside = around.array if _shows_more(prepared) else 0
    return continued(around.with_array(np.where(mask, estimate, outside)), mask)


def _uncertainty_from_mni(uncertainty: Volume | None, prepared: Prepared) -> Volume | None:
    """Resample an uncertainty to the scan's own grid: linearly, since splines overshoot."""
    if uncertainty is None:
        return None
    from_mm = np.linalg.inv(prepared.to_mni)
    there = resample(uncertainty, prepared.scan, from_mm, order=LINEAR)
    return _within(prepared.mask, prepared.scan.with_array(there, name=uncertainty.name))


def background_in_mni(prepared: Prepared, output: OutputConfig) -> str:
    """Return what a result in MNI space shows outside the brain, as `OutputConfig.background`.

    Around an extracted brain, resampling leaves traces, which are no scan to blend into.
    """
    return output.background if _shows_more(prepared) else "zero"


def _shows_more(prepared: Prepared) -> bool:
    """Return whether a scan shows something beside the brain."""
    return bool(((prepared.scan.array != 0) & ~prepared.region).any())


def to_mni(prepared: Prepared) -> tuple[Volume, np.ndarray, Volume]:
    """Resample a prepared scan to the models' space.

    Returns
    -------
    brain : Volume
        0 outside the brain; without a file's geometry.
    mask : ndarray of bool
    scan : Volume
        The scan with everything outside the brain.
    """
    grid = model_grid()
    mask_volume = prepared.scan.with_array(prepared.mask)
    mask = resample(mask_volume, grid, prepared.to_mni, order=LINEAR) > 0.5
    beyond = continued(prepared.corrected, prepared.mask)
    whole = resample(beyond, grid, prepared.to_mni, order=CUBIC)
    name = prepared.scan.name
    brain = Volume(np.where(mask, whole, 0), grid.affine, name)
    scan = resample(prepared.scan, grid, prepared.to_mni, order=CUBIC)
    return brain, mask, Volume(scan, grid.affine, name)


def from_mni(estimate: Volume, prepared: Prepared) -> np.ndarray:
    """Resample an estimate in the models' space to the scan's own grid, by cubic splines.

    Parameters
    ----------
    estimate : Volume
        In MNI space, with the scan outside the brain: splines overshoot at hard edges.
    prepared : Prepared

    Returns
    -------
    ndarray of float32, shape of the scan
        The corrected scan where it lies beyond the models' field of view.
    """
    from_mm = np.linalg.inv(prepared.to_mni)
    found = resample(estimate, prepared.scan, from_mm, order=CUBIC)
    everywhere = estimate.with_array(np.ones(estimate.shape))
    covered = resample(everywhere, prepared.scan, from_mm, order=LINEAR) > COVERED
    return np.where(covered, found, prepared.corrected.array)
