"""`mri7t batch`: synthesise a folder or a BIDS dataset into a BIDS derivative."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import has_option, option_of, progress_bar, say, warn
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
    from napari_mri7t.engine.workflows.batch import BatchJob, BatchSummary, Note
    from napari_mri7t.engine.workflows.cluster import Place

EXIT_SOME_FAILED = 1
Labels = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="Only this label; may be repeated."),
]


def batch(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Folder of 3T volumes, or BIDS dataset.")
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="BIDS derivative; run again to resume."),
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
            help="Kind of image; may be repeated.",
            show_default="T1w",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace estimates made from another scan, model or settings."
        ),
    ] = False,
    scheduler: Scheduler = "",
    cluster: Cluster = "",
    dry_run: DryRun = False,
) -> None:
    """Synthesise every scan of INPUT into a BIDS derivative.

    A scan that fails is reported, and the batch continues. The exit code is 0 if every scan has
    its estimate.
    """
    place = find_place(scheduler, cluster, device)
    if dry_run:
        show_script(place)

    from napari_mri7t.engine.datasets.scans import ScanFilter
    from napari_mri7t.engine.models.card import DEFAULT_MODEL, find_model
    from napari_mri7t.engine.workflows.batch import BatchJob, BatchSummary, write_summary
    from napari_mri7t.engine.workflows.intake import begin_batch, plan_batch

    wanted = ScanFilter(tuple(participant or ()), tuple(session or ()), tuple(suffix or ()))
    found = plan_batch(source, output, wanted)
    config = SynthesisConfig(device=device, step=step)
    folder = find_model(model or DEFAULT_MODEL)
    job = BatchJob(output, str(folder), config, overwrite, index)
    begin_batch(source, output, found)
    left_out = BatchSummary(failed=found.failed, skipped=found.skipped)
    so_far = replace(left_out, stopped=True)

    def note(outcome: BatchSummary) -> None:
        nonlocal so_far
        so_far = so_far.with_other(outcome)

    try:
        summary = left_out.with_other(_run(found.scans, job, place, note))
    except KeyboardInterrupt:
        with contextlib.suppress(typer.Exit):  # the signal decides on the exit code
            _print_summary(so_far, write_summary(source, output, so_far))
        raise
    _print_summary(summary, write_summary(source, output, summary))


def _run(
    scans: "list[Scan]", job: "BatchJob", place: "Place | None", note: "Note"
) -> "BatchSummary":
    if place is None:
        from napari_mri7t.engine.workflows.batch import synthesize_batch

        with progress_bar("synthetic 7T") as report:
            return synthesize_batch(scans, job, report=report, note=note)

    from napari_mri7t.engine.workflows.cluster import open_client
    from napari_mri7t.engine.workflows.tasks import run_batch

    with open_client(place) as client, progress_bar("synthetic 7T") as report:
        return run_batch(scans, job, client, place, report=report, note=note)


def _print_summary(summary: "BatchSummary", path: Path) -> None:
    """Print the outcome of a batch; exit with 1 if a scan failed."""
    from napari_mri7t.engine.volumes.provenance import NOTICE

    warn(f"{name}: {text}" for name, texts in summary.warnings.items() for text in texts)
    for name, reason in summary.skipped.items():
        say(f"skipped: {name}: {reason}", err=True)
    for name, reason in summary.failed.items():
        argument = summary.arguments.get(name, "")
        hint = option_of(argument) if has_option(batch, argument) else ""
        say(f"failed: {name}: {reason}{hint}", err=True)
    made = "stopped: " * summary.stopped + f"{len(summary.written)} written"
    if summary.written and summary.seconds:
        made += f" ({summary.seconds / len(summary.written):.1f} s each)"
    say(f"{made}, {len(summary.known)} already done, {len(summary.failed)} failed: {path}")
    say(NOTICE)
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
