"""What the widget "Synthesize 7T" has done away from Qt's thread, torch's import included.

The part of a synthesis that prepares a raw scan: what is asked for, and how it is timed.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from napari_mri7t.engine.datasets.bids import find_scans
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.preparation.checks import check_domain, check_resolution
from napari_mri7t.engine.preparation.optional import THREAD_NAME, PreparationProgress, in_background
from napari_mri7t.engine.preparation.prepare import PreparationConfig, plan_preparation
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.layers.layers import LayerData, data_to_volume
from napari_mri7t.widgets.layers.masks import mask_on
from napari_mri7t.widgets.shared.worker import Step

if TYPE_CHECKING:
    from napari_mri7t.engine.models.model import Model
    from napari_mri7t.engine.synthesis.config import SynthesisConfig
    from napari_mri7t.engine.synthesis.scan import RawSynthesis
    from napari_mri7t.engine.workflows.batch import BatchSummary

MODULES = {
    "nilearn.datasets": "the template",
    "SimpleITK": "SimpleITK",
    "deepbet.bet": "deepbet",
}
WAIT_S = 0.1


@dataclass(frozen=True, eq=False)
class Source:
    """A layer to synthesise, as it was when the user started."""

    layer: Layer
    data: LayerData
    index: int | None


@dataclass(frozen=True, eq=False)
class Asked:
    """What the user asked for, as it was at the start; a layer's data are read in the thread."""

    config: PreparationConfig
    mask_layer: LayerData | None = None

    @property
    def asks_for_nothing(self) -> bool:
        """Whether the scan goes to the model untouched, and its estimate to the scan."""
        return self.config.asks_for_nothing and self.mask_layer is None

    def config_for(self, scan: Volume, shown: LayerData) -> PreparationConfig:
        """Put it into the engine's words for one scan, shown as it is in its layer."""
        if self.mask_layer is None:
            return self.config
        return replace(self.config, mask=mask_on(scan, shown, self.mask_layer))


@dataclass(frozen=True)
class Foreseen:
    """What will happen to one scan, or why it cannot."""

    steps: tuple[str, ...] = ()
    sentence: str = ""
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    is_too_coarse: bool = False


def foresee_layers(sources: Sequence[Source], card: ModelCard, asked: Asked) -> list[Foreseen]:
    """Look at scans before anything runs."""
    return [
        _foresee(source, card, asked, f"{source.layer.name}: " if len(sources) > 1 else "")
        for source in sources
    ]


def _foresee(source: Source, card: ModelCard, asked: Asked, several: str) -> Foreseen:
    is_too_coarse = False
    try:
        scan = data_to_volume(*source.data, source.index)
        is_too_coarse = bool(check_resolution(scan, allowed=True))
        outlook = plan_preparation(scan, asked.config_for(scan, source.data))
    except (Mri7tError, OSError) as error:
        return Foreseen(refusal=str(error), is_too_coarse=is_too_coarse)
    if outlook.is_prepared:
        return Foreseen(outlook.steps, f"{several}{outlook.sentence}")
    warnings = tuple(f"{several}{text}" for text in check_domain(scan, card))
    return Foreseen((), f"{several}{outlook.sentence}", warnings)


def foresee_folder(folder: Path) -> tuple[int, int]:
    """Count the scans of a folder, and the voxels of those whose header can be read."""
    scans = find_scans(folder)
    n_voxels = 0
    for scan in scans:
        with contextlib.suppress(Mri7tError, OSError):  # the batch will say which, and why
            n_voxels += read_header(scan.path)[0].n_voxels
    return len(scans), n_voxels


def leftovers() -> list[threading.Thread]:
    """List work of a cancelled preparation that cannot be broken off and has not ended yet."""
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def waiting_steps() -> Generator[Step, None, None]:
    """Let such work end first: two brain extractions at once may be more than the memory holds."""
    while leftovers():
        yield Step(0, 0, "Waiting for the end of a step that could not be broken off")
        time.sleep(WAIT_S)


def loading_steps() -> Generator[Step, None, None]:
    """Import what a preparation needs beside us: an import must not be broken off half-way."""
    for module, name in MODULES.items():
        if find_spec(module.partition(".")[0]) is not None:
            now = Step(0, 0, f"Loading {name}")
            yield from with_records(
                in_background(lambda m=module: importlib.import_module(m)), lambda _, n=now: n
            )


@dataclass
class Clock:
    """Says which step of a preparation is being done and since when, and keeps the times.

    Parameters
    ----------
    title : str
        Before every message.
    seconds : dict
        Name of a finished step to its time.
    """

    title: str
    seconds: dict[str, float] = field(default_factory=dict)
    _now: str = ""
    _since: float = 0.0

    def record(self, now: Any) -> Step:
        """Turn a record of the engine into one of ours."""
        time_now = time.monotonic()
        name = now.message if isinstance(now, PreparationProgress) else ""
        if name != self._now:
            if self._now:
                self.seconds[self._now] = time_now - self._since
            self._now, self._since = name, time_now
        if not name:
            return Step(now.done, now.total, f"{self.title}{now.message}")
        step = min(now.done + 1, now.total)
        text = f"{self.title}step {step} of {now.total}, {name}: {time_now - self._since:.0f} s"
        return Step(now.done, now.total, text, is_even=False)


@dataclass(frozen=True, eq=False)
class Finished:
    """One layer is done; a record of progress that carries its result.

    `seconds`: of each step of its preparation.
    """

    done: int
    total: int
    message: str
    source: Source
    run: RawSynthesis
    provenance: dict[str, Any]
    seconds: dict[str, float]


def layer_steps(
    sources: Sequence[Source], model: Path, settings: dict[str, Any], asked: Asked
) -> Generator[Any, None, int]:
    """Prepare and synthesise layers one after the other; returns how many."""
    trained, config = yield from _model_steps(model, settings)
    yield from waiting_steps()
    if not asked.asks_for_nothing:
        yield from loading_steps()
    from napari_mri7t.engine.progress import with_records
    from napari_mri7t.engine.synthesis.scan import synthesize
    from napari_mri7t.engine.synthesis.synthesize import synthesis_sidecar

    for n, source in enumerate(sources):
        name = source.layer.name
        which = f"{name} ({n + 1} of {len(sources)}): " if len(sources) > 1 else ""
        # A counted step may be broken off by a cancel: nothing is being imported any more.
        yield Step(0, 1, f"{which}reading the layer")
        volume = data_to_volume(*source.data, source.index)
        preparation = asked.config_for(volume, source.data)
        clock = Clock(which)
        run: RawSynthesis = yield from with_records(
            synthesize(volume, trained, config, preparation), clock.record
        )
        yield Step(0, 0, f"{which}noting what made it")
        facts = synthesis_sidecar(volume, trained, run.synthesis)
        done = f"{name} is done"
        yield Finished(n + 1, len(sources), done, source, run, facts, clock.seconds)
    return len(sources)


def folder_steps(
    folder: Path, output: Path, model: Path, settings: dict[str, Any]
) -> Generator[Any, None, BatchSummary]:
    """Synthesise the scans of a folder or a BIDS dataset into a BIDS derivative."""
    from napari_mri7t.engine.datasets.bids import find_scans, start_derivative

    scans = find_scans(folder)
    start_derivative(output, folder)
    trained, config = yield from _model_steps(model, settings)
    from napari_mri7t.engine.workflows.batch import BatchJob, synthesize_batch, write_summary

    summary = yield from synthesize_batch(scans, BatchJob(output, trained, config))
    yield Step(0, 0, "noting what became of each scan")
    write_summary(output, summary)
    return summary


def _model_steps(
    model: Path, settings: dict[str, Any]
) -> Generator[Step, None, tuple[Model, SynthesisConfig]]:
    yield Step(0, 0, "Loading torch")
    from napari_mri7t.engine.models.model import load_model
    from napari_mri7t.engine.synthesis.config import SynthesisConfig

    yield Step(0, 0, "Loading the model")
    return load_model(model), SynthesisConfig(**settings)
