"""`mri7t robustness`: at which degradation a model stops helping, and what it does to lesions."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from napari_mri7t.cli.console import progress_bar, say, warn
from napari_mri7t.cli.options import Device, Index, Reference, ReportModel
from napari_mri7t.engine.synthesis.config import SynthesisConfig


def robustness(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="7T brain that the model was not trained on.")
    ],
    model: ReportModel = None,
    reference: Reference = None,
    records: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for finished parts, from which a run resumes."),
    ] = None,
    device: Device = SynthesisConfig.device,
    index: Index = None,
) -> None:
    """Test a model under degraded input and with lesions.

    Noise, blur, bias field and lesions; prints JSON for the model card.
    """
    from napari_mri7t.engine.atomic import check_folder
    from napari_mri7t.engine.datasets.bids import load_scan
    from napari_mri7t.engine.evaluation.stress import stress, summarize_stress
    from napari_mri7t.engine.models.card import REPORT_MODEL
    from napari_mri7t.engine.models.model import load_model
    from napari_mri7t.engine.preparation.domain import check_domain
    from napari_mri7t.engine.texts import to_json
    from napari_mri7t.engine.training.data import ImageDigests, SubjectDigests
    from napari_mri7t.engine.training.seen import was_trained_on
    from napari_mri7t.engine.volumes.digests import content_digest
    from napari_mri7t.engine.volumes.fingerprint import around_brain, fingerprint
    from napari_mri7t.engine.workflows.stress import case_of_model

    if records is not None:
        check_folder(records)
    trained = load_model(model or REPORT_MODEL)
    brain = load_scan(target, index)
    warn(check_domain(brain, trained.card))
    other = None if reference is None else load_scan(reference, index)
    voxels = content_digest(around_brain(brain))
    digests = SubjectDigests(ImageDigests("", voxels, fingerprint(brain)))
    is_seen = was_trained_on(trained.card, brain.name, digests)
    if is_seen:
        warn([f"{trained.name} was trained on {brain.name}: these scores are too optimistic"])
    case = case_of_model(trained, brain, other, SynthesisConfig(device=device))
    with (
        TemporaryDirectory(prefix="mri7t-") as temporary,
        progress_bar(f"robustness of {trained.name}") as report,
    ):
        found = stress(case, Path(temporary) if records is None else records, report=report)
    stressed = {
        "brain": brain.name,
        "model": trained.name,
        "held_out": trained.card.training.get("held_out"),
        "sha256": trained.card.sha256,
        "trained_on_it": is_seen,
    }
    say(*to_json({"stressed": stressed} | summarize_stress(found)).split("\n"))
