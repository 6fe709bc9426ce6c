"""A model put through noise, shift and lesions on a brain that it has not seen."""

from collections.abc import Generator
from dataclasses import asdict

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.evaluation.results import fingerprint
from napari_mri7t.engine.evaluation.stress import StressCase
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import Synthesis, estimate
from napari_mri7t.engine.training.config import synthesis_config
from napari_mri7t.engine.volumes.provenance import voxel_digest
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.engine.workflows.studies import Studies


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

    def through_model(source: Volume) -> Generator[object, None, Volume]:
        result: Synthesis = yield from estimate(source, model, config)
        return result.volume

    settings = {k: v for k, v in asdict(config).items() if k not in ("device", "memory_mb")}
    digests = [None if v is None else voxel_digest(v) for v in (target, reference)]
    mark = fingerprint(model.card.sha256, *digests, sorted(settings.items()))
    return StressCase(mark, target, through_model, reference)


def stress_case(outcome: Studies, method: str, device: str = "auto") -> StressCase:
    """Take the first done fold's model, and the subject that it has not seen.

    Parameters
    ----------
    outcome : Studies
    method : str
    device : str
        As `SynthesisConfig.device`.

    Raises
    ------
    StateError
        If no fold is done yet.
    """
    study, done = outcome.studies[method], outcome.folds_done(method)
    if not done:
        raise StateError(f"{study.folder}: no fold is done yet; go on with `mri7t train`")
    subject, model = study.subjects[done[0]], load_model(study.fold_folder(done[0]))
    config = synthesis_config(study.settings.config, device)
    volumes = load_volume(subject.target), load_volume(study.reference.target)
    return case_of_model(model, *volumes, config)
