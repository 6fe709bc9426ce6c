"""What the widget "Synthesize 7T" has done away from Qt's thread, torch's import included."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from napari_mri7t.widgets.layers import LayerData, data_to_volume
from napari_mri7t.widgets.worker import Step

if TYPE_CHECKING:
    from napari_mri7t.engine.batch_summary import BatchSummary
    from napari_mri7t.engine.networks.model import Model
    from napari_mri7t.engine.synthesis import Synthesis
    from napari_mri7t.engine.synthesis_config import SynthesisConfig


@dataclass(frozen=True, eq=False)
class Source:
    """A layer to synthesise, as it was when the user started."""

    layer: Layer
    data: LayerData
    index: int | None


@dataclass(frozen=True, eq=False)
class Finished:
    """One layer is done; a record of progress that carries its result."""

    done: int
    total: int
    message: str
    source: Source
    synthesis: Synthesis
    provenance: dict[str, Any]


def layer_steps(
    sources: Sequence[Source], model: Path, settings: dict[str, Any]
) -> Generator[Any, None, int]:
    """Synthesise layers one after the other; returns how many."""
    trained, config = yield from _model_steps(model, settings)
    from napari_mri7t.engine.synthesis import synthesize
    from napari_mri7t.engine.synthesis_sidecar import synthesis_sidecar

    for n, source in enumerate(sources):
        name = source.layer.name
        which = f"{name} ({n + 1} of {len(sources)}): " if len(sources) > 1 else ""
        # A counted step may be broken off by a cancel: nothing is being imported any more.
        yield Step(0, 1, f"{which}matching intensities to the model's")
        volume = data_to_volume(*source.data, source.index)
        steps = synthesize(volume, trained, config)
        synthesis: Synthesis = yield from _titled(steps, which)
        yield Step(0, 0, f"{which}noting what made it")
        facts = synthesis_sidecar(volume, trained, synthesis)
        yield Finished(n + 1, len(sources), f"{name} is done", source, synthesis, facts)
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


def _titled(steps: Generator[Any, None, Synthesis], title: str) -> Generator[Step, None, Synthesis]:
    from napari_mri7t.engine.progress import with_records

    return (
        yield from with_records(
            steps, lambda now: Step(now.done, now.total, f"{title}{now.message}")
        )
    )
