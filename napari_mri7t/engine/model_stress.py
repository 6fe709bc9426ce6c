"""A model put through noise, shift and lesions on a brain that it has not seen."""

from collections.abc import Generator
from dataclasses import asdict

from napari_mri7t.engine.evaluation.results import fingerprint
from napari_mri7t.engine.evaluation.stress import StressCase
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.provenance import voxel_digest
from napari_mri7t.engine.synthesis import Synthesis, synthesize
from napari_mri7t.engine.synthesis_config import SynthesisConfig
from napari_mri7t.engine.volume import Volume


def case_of_model(
    model: Model, target: Volume, reference: Volume | None, config: SynthesisConfig
) -> StressCase:
    """Make a stress case of a model and a 7T brain.

    Parameters
    ----------
    model : Model
    target : Volume
        A 7T brain that was not among the model's training subjects.
    reference : Volume or None
        Whose histogram source and target get; the target's own by default.
    config : SynthesisConfig
        Everything but device and memory is part of the result's fingerprint.

    Returns
    -------
    StressCase
    """

    def estimate(source: Volume) -> Generator[object, None, Volume]:
        result: Synthesis = yield from synthesize(source, model, config)
        return result.volume

    settings = {k: v for k, v in asdict(config).items() if k not in ("device", "memory_mb")}
    digests = [None if v is None else voxel_digest(v) for v in (target, reference)]
    mark = fingerprint(model.card.sha256, *digests, sorted(settings.items()))
    return StressCase(mark, target, estimate, reference)
