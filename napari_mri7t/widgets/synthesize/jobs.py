"""Background work of the widget "Synthesize 7T", including the import of torch."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from napari_mri7t.engine.datasets.doubts import scan_doubts
from napari_mri7t.engine.errors import Mri7tError, in_words
from napari_mri7t.engine.models.card import ModelCard, find_model, read_card
from napari_mri7t.engine.preparation.choice import model_for
from napari_mri7t.engine.preparation.domain import check_ahead
from napari_mri7t.engine.preparation.optional import NATIVE, in_background, unfinished_work
from napari_mri7t.engine.preparation.prepare import (
    PreparationConfig,
    PreparationPlan,
    plan_preparation,
)
from napari_mri7t.engine.preparation.steps import STEPS, PreparationProgress
from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.uncertainty import UNCERTAINTY
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.layers.layers import LayerData, data_to_volume
from napari_mri7t.widgets.layers.masks import mask_on
from napari_mri7t.widgets.shared.worker import Uneven

if TYPE_CHECKING:
    from napari_mri7t.engine.synthesis.synthesize import Synthesis

MODULES = {"nilearn.datasets": "the template"} | NATIVE  # of a preparation
WAIT_S = 0.1


@dataclass(frozen=True, eq=False)
class Source:
    """A layer to synthesise, as it was when the user started."""

    layer: Layer
    data: LayerData
    index: int | None

    @property
    def title(self) -> str:
        """The layer's name, and which of its volumes is taken, from 0 as napari's slider."""
        return self.layer.name if self.index is None else f"{self.layer.name} volume {self.index}"


@dataclass(frozen=True, eq=False)
class Asked:
    """The user's request at the start; a layer's data are read in the thread."""

    preparation: PreparationConfig
    output: OutputConfig
    mask_layer: LayerData | None = None

    def preparation_of(self, scan: Volume, shown: LayerData) -> PreparationConfig:
        """Return the settings for one scan, shown as it is in its layer."""
        if self.mask_layer is None:
            return self.preparation
        return replace(self.preparation, mask=mask_on(scan, shown, self.mask_layer))


@dataclass(frozen=True, eq=False)
class ScanCheck:
    """The engine's plan for one scan, or its error.

    `title`: before every sentence, where there are several scans. `can_be_allowed`: the user may
    have the scan processed despite the error. `model`: the name of the one that the scan is for.
    """

    title: str
    plan: PreparationPlan | None = None
    warnings: tuple[str, ...] = ()
    error: str = ""
    can_be_allowed: bool = False
    model: str = ""


def check_layers(
    sources: Sequence[Source], card: ModelCard | None, asked: Asked
) -> list[ScanCheck]:
    """Plan the preparation of every scan before anything runs.

    `card`: of the chosen model; None for the one that each scan is for.
    """
    return [
        _check(source, card, asked, f"{source.layer.name}: " if len(sources) > 1 else "")
        for source in sources
    ]


def _check(source: Source, card: ModelCard | None, asked: Asked, title: str) -> ScanCheck:
    try:
        scan = data_to_volume(*source.data, source.index)
        check_t1w(scan)
        plan = plan_preparation(scan, asked.preparation_of(scan, source.data), asked.output.space)
    except Mri7tError as error:
        can_be_allowed = error.argument == "allow_out_of_domain"
        return ScanCheck(title, error=str(error), can_be_allowed=can_be_allowed)
    except OSError as error:
        return ScanCheck(title, error=in_words(error))
    model = "" if card else model_for(scan)
    found = check_ahead(scan, card or read_card(find_model(model)), is_prepared=plan.is_needed)
    warnings = [*scan_doubts(scan), *plan.warnings, *found]
    return ScanCheck(title, plan, tuple(f"{title}{text}" for text in warnings), model=model)


@dataclass(frozen=True, eq=False)
class Finished(Progress):
    """One layer is done.

    `seconds`: of each step of its preparation. `uncertainty_facts`: the provenance of the
    uncertainty, if that was asked for.
    """

    source: Source
    synthesis: Synthesis
    provenance: dict[str, Any]
    seconds: dict[str, float]
    uncertainty_facts: dict[str, Any] | None = None

    @property
    def on_and_in(self) -> str:
        """The device, and the seconds, as the end of a sentence."""
        made, before = self.synthesis, sum(self.seconds.values())
        after = "" if made.prepared is None else f", after {before:.0f} s of preparation"
        return f"on {made.device} ({made.precision}) in {made.seconds:.0f} s{after}"


@dataclass(frozen=True, eq=False)
class Planned(Progress):
    """The preparation of one layer begins, as `plan` says.

    `title`: before the plan, where there are several layers.
    """

    title: str
    plan: PreparationPlan


def synthesize_layers(
    sources: Sequence[Source],
    model: Path | None,
    config: SynthesisConfig,
    asked: Asked,
    report: Report,
) -> None:
    """Prepare and synthesise layers one after the other.

    `model`: None for the one that each scan is for. Each is reported as `Planned` when it begins,
    as `Finished` when it is done.
    """
    report(Progress(0, 0, "loading torch"))
    from napari_mri7t.engine.models.model import load_model
    from napari_mri7t.engine.synthesis.scan import synthesize

    report(Progress(0, 0, "loading the model"))
    trained = None if model is None else load_model(model)
    wait_for_cancelled_work(report)
    for n, source in enumerate(sources):
        name = source.layer.name
        which = f"{name} ({n + 1} of {len(sources)}): " if len(sources) > 1 else ""
        volume, plan = _read_and_plan(source, asked, which, report)
        if plan.is_needed:
            load_libraries(report)
        seconds: dict[str, float] = {}
        clock = timed(report, which, seconds)
        made = synthesize(volume, trained, config, plan, asked.output, report=clock)
        report(Progress(0, 0, f"{which}writing provenance"))
        facts = made.sidecar()
        others = None if made.uncertainty is None else made.sidecar(UNCERTAINTY)
        done = Finished(
            n + 1, len(sources), f"{name} is done", source, made, facts, seconds, others
        )
        report(done)


def time_slices(
    key: str, model: Path, config: SynthesisConfig, shape: tuple[int, int, int], report: Report
) -> tuple[str, float]:
    """Return `key` and the seconds a voxel takes on this computer."""
    from napari_mri7t.engine.models.model import load_model
    from napari_mri7t.engine.synthesis.pace import seconds_to_synthesize

    report(Progress(0, 0, "timing a few slices"))
    trained = load_model(model)
    report(Progress(0, 0, "timing a few slices"))
    return key, seconds_to_synthesize(shape, trained, config, report) / math.prod(shape)


def _read_and_plan(
    source: Source, asked: Asked, which: str, report: Report
) -> tuple[Volume, PreparationPlan]:
    """Read a layer, which may be lazy and slow, and plan its preparation."""
    report(Progress(0, 1, f"{which}reading the layer"))  # a total: a cancel may interrupt it
    volume = data_to_volume(*source.data, source.index)
    preparation = asked.preparation_of(volume, source.data)
    report(Progress(0, 0, f"{which}planning the preparation"))  # no total: it imports nilearn
    plan = plan_preparation(volume, preparation, asked.output.space)
    title = f"{source.layer.name}: " if which else ""
    report(Planned(0, 0, f"{which}starting", title, plan))
    return volume, plan


def wait_for_cancelled_work(report: Report) -> None:
    """Wait for it to end: two brain extractions at once may exceed the memory."""
    while unfinished_work():
        report(Progress(0, 0, "waiting for a step of the cancelled run to finish"))
        time.sleep(WAIT_S)


def load_libraries(report: Report, modules: Mapping[str, str] = MODULES) -> None:
    """Import modules, by default those of a preparation, where a cancel does not wait for them."""
    for module, name in modules.items():
        if find_spec(module.partition(".")[0]) is not None:
            loading = Progress(0, 0, f"loading {name}")
            in_background(partial(importlib.import_module, module), report, loading)


def timed(report: Report, title: str, seconds: dict[str, float]) -> Report:
    """Show how long a preparation step has been running; record its time in `seconds`."""
    step, since = "", 0.0

    def report_step(progress: Progress) -> None:
        nonlocal step, since
        now = time.monotonic()
        name = progress.step if isinstance(progress, PreparationProgress) else ""
        if step and not name:  # what follows has a pace of its own
            progress = Uneven(progress.done, progress.total, progress.message)
        if name != step:
            if step:
                seconds[step] = now - since
            step, since = name, now
        if name:
            number = f"step {STEPS.index(name) + 1} of {len(STEPS)}"
            text = f"{number}, {name}: {now - since:.0f} s"
            progress = Uneven(progress.done, progress.total, text)
        report(replace(progress, message=f"{title}{progress.message}"))

    return report_step
