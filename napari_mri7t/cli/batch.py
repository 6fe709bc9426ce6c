"""`mri7t batch`: a folder or a BIDS dataset in, a BIDS derivative out."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import drive, warn
from napari_mri7t.cli.options import (
    Cluster,
    Device,
    DryRun,
    Index,
    Model,
    Scheduler,
    Step,
    find_place,
    show_script,
)
from napari_mri7t.engine.synthesis.config import SynthesisConfig

if TYPE_CHECKING:
    from napari_mri7t.engine.datasets.bids import Scan
    from napari_mri7t.engine.workflows.batch import BatchSummary
    from napari_mri7t.engine.workflows.cluster import Place
    from napari_mri7t.engine.workflows.tasks import ClusterBatch

EXIT_SOME_FAILED = 1
Labels = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="Only this one; may be given more than once."),
]


def batch(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Folder of 3T volumes, or BIDS dataset.")
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="BIDS derivative; run again, it goes on from where it was."
        ),
    ],
    model: Model = None,
    device: Device = SynthesisConfig.device,
    step: Step = SynthesisConfig.step,
    index: Index = None,
    participant: Labels = None,
    session: Labels = None,
    suffix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SUFFIX",
            help="Kind of image, may be given more than once.",
            show_default="T1w of a BIDS dataset, every volume of a folder",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Make again what another scan, model or setting made."),
    ] = False,
    scheduler: Scheduler = "",
    cluster: Cluster = "",
    dry_run: DryRun = False,
) -> None:
    """Synthesise every scan of INPUT; a bad one is reported, and the others go on.

    Exit code 0 says that every scan has its estimate.
    """
    place = find_place(scheduler, cluster, device)
    if dry_run:
        show_script(place)

    from napari_mri7t.engine.datasets.bids import ScanFilter, find_scans
    from napari_mri7t.engine.models.card import DEFAULT_MODEL, find_model

    wanted = ScanFilter(tuple(participant or ()), tuple(session or ()), tuple(suffix or ()))
    scans = find_scans(source, wanted)

    from napari_mri7t.engine.datasets.bids import start_derivative
    from napari_mri7t.engine.workflows.batch import write_summary
    from napari_mri7t.engine.workflows.tasks import ClusterBatch

    config = SynthesisConfig(device=device, step=step)
    folder = find_model(model or DEFAULT_MODEL).resolve()
    job = ClusterBatch(str(output.resolve()), str(folder), asdict(config), overwrite, index)
    start_derivative(output, source)
    summary = _run(scans, job, place)
    _tell(summary, write_summary(output, summary))


def _run(scans: "list[Scan]", job: "ClusterBatch", place: "Place | None") -> "BatchSummary":
    from napari_mri7t.engine.workflows.batch import synthesize_batch
    from napari_mri7t.engine.workflows.tasks import load_job, run_batch

    if place is None:
        return drive(synthesize_batch(scans, load_job(job)), "synthetic 7T")

    from napari_mri7t.engine.workflows.cluster import open_client

    with open_client(place) as client:
        return drive(run_batch(scans, job, client, place.resources), "synthetic 7T")


def _tell(summary: "BatchSummary", path: Path) -> None:
    """Print what became of the batch; fail if a scan did."""
    from napari_mri7t.engine.volumes.provenance import NOTICE

    warn(f"{name}: {text}" for name, texts in summary.warnings.items() for text in texts)
    for name, reason in summary.failed.items():
        typer.echo(f"failed: {name}: {reason}", err=True)
    made = f"{len(summary.written)} written" + (
        f" ({summary.seconds / len(summary.written):.1f} s each)" if summary.written else ""
    )
    typer.echo(f"{made}, {len(summary.known)} done before, {len(summary.failed)} failed: {path}")
    typer.echo(NOTICE)
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
