"""A model tested under degraded input and with lesions, on a brain that it has not seen."""

from napari_mri7t.engine.evaluation.results import fingerprint
from napari_mri7t.engine.evaluation.stress import StressCase
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.progress import Report
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.training.study import Study
from napari_mri7t.engine.volumes.digests import voxel_digest
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.provenance import refuse_made
from napari_mri7t.engine.volumes.volume import Volume, load_volume


def case_of_model(
    model: Model, target: Volume, reference: Volume | None, config: SynthesisConfig
) -> StressCase:
    """Return the stress case of a model and a 7T brain.

    Parameters
    ----------
    model : Model
    target : Volume
        A 7T brain that was not among the model's training subjects.
    reference : Volume or None
        Volume to whose histogram source and target are matched; the target itself by default.
    config : SynthesisConfig
        All settings that decide the voxels are part of the case's fingerprint.

    Raises
    ------
    VolumeError
        If the target is no scan, as `refuse_made` and `check_t1w`.
    """
    refuse_made(target, "7T")
    check_t1w(target)

    def through_model(source: Volume, report: Report) -> Volume:
        return estimate(source, model, config, report=report).volume

    digests = [None if v is None else voxel_digest(v) for v in (target, reference)]
    settings = config.of_model(model.card).decisive()
    mark = fingerprint(model.card.sha256, *digests, sorted(settings.items()))
    return StressCase(mark, target, through_model, reference)


def case_of_study(study: Study, k: int, device: str = "auto") -> StressCase:
    """Return the stress case of a done fold's model and its held-out subject.

    Parameters
    ----------
    study : Study
    k : int
        Fold.
    device : str
        As `SynthesisConfig.device`.
    """
    model = load_model(study.fold_folder(k))
    target, reference = (load_volume(s.target) for s in (study.subjects[k], study.reference))
    return case_of_model(model, target, reference, study.settings.config.synthesis_config(device))
