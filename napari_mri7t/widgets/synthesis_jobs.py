"""What the widget "Synthesize 7T" has done away from Qt's thread, torch's import included."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.widgets.layers import data_to_volume
from napari_mri7t.widgets.preparation_jobs import (
    Asked,
    Clock,
    Source,
    loading_steps,
    waiting_steps,
)
from napari_mri7t.widgets.worker import Step

if TYPE_CHECKING:
    from napari_mri7t.engine.batch_summary import BatchSummary
    from napari_mri7t.engine.networks.model import Model
    from napari_mri7t.engine.raw_synthesis import RawSynthesis
    from napari_mri7t.engine.synthesis_config import SynthesisConfig


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
    from napari_mri7t.engine.raw_synthesis import synthesize_scan
    from napari_mri7t.engine.synthesis_sidecar import synthesis_sidecar

    for n, source in enumerate(sources):
        name = source.layer.name
        which = f"{name} ({n + 1} of {len(sources)}): " if len(sources) > 1 else ""
        # A counted step may be broken off by a cancel: nothing is being imported any more.
        yield Step(0, 1, f"{which}reading the layer")
        volume = data_to_volume(*source.data, source.index)
        preparation = asked.config_for(volume, source.data)
        clock = Clock(which)
        run: RawSynthesis = yield from with_records(
            synthesize_scan(volume, trained, config, preparation), clock.record
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
    from napari_mri7t.engine.bids import start_derivative
    from napari_mri7t.engine.scans import find_scans

    scans = find_scans(folder)
    start_derivative(output, folder)
    trained, config = yield from _model_steps(model, settings)
    from napari_mri7t.engine.batch_summary import write_summary
    from napari_mri7t.engine.derivative import BatchJob, synthesize_scans

    summary = yield from synthesize_scans(scans, BatchJob(output, trained, config))
    yield Step(0, 0, "noting what became of each scan")
    write_summary(output, summary)
    return summary


def _model_steps(
    model: Path, settings: dict[str, Any]
) -> Generator[Step, None, tuple[Model, SynthesisConfig]]:
    yield Step(0, 0, "Loading torch")
    from napari_mri7t.engine.networks.model import load_model
    from napari_mri7t.engine.synthesis_config import SynthesisConfig

    yield Step(0, 0, "Loading the model")
    return load_model(model), SynthesisConfig(**settings)
