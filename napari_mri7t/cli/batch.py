"""`mri7t batch`: synthesise a folder or a BIDS dataset into a BIDS derivative."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import given, progress_bar, say, warn
from napari_mri7t.cli.options import (
    AllowOutOfDomain,
    Background,
    Cluster,
    Device,
    DryRun,
    EndSlices,
    Index,
    Keep,
    Model,
    NoiseFactor,
    Planes,
    Prepare,
    Scheduler,
    SeriesNumber,
    Space,
    Step,
    Via,
    computation,
    find_place,
    show_script,
)
from napari_mri7t.cli.outcomes import (
    EXIT_SOME_FAILED,
    Collected,
    in_numbers,
    on_cluster,
    say_left_out,
)
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.cluster import Place
    from napari_mri7t.engine.workflows.folder import Run
    from napari_mri7t.engine.workflows.summary import BatchSummary

Labels = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="Only this label; may be repeated."),
]


def batch(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Folder of 3T scans, or BIDS dataset.")
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="BIDS derivative; run again to resume."),
    ],
    model: Model = None,
    device: Device = SynthesisConfig.device,
    step: Step = SynthesisConfig.step,
    planes: Planes = "",
    end_slices: EndSlices = SynthesisConfig.end_slices,
    noise_factor: NoiseFactor = SynthesisConfig.noise_factor,
    index: Index = None,
    series: SeriesNumber = None,
    prepare: Prepare = None,
    space: Space = OutputConfig.space,
    via: Via = OutputConfig.via,
    background: Background = OutputConfig.background,
    keep: Keep = None,
    derivatives: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="BIDS derivative, DIR or NAME=DIR, with masks and transforms to MNI space, which "
            "replace these steps; may be repeated.",
            show_default="those in INPUT/derivatives",
        ),
    ] = None,
    allow_out_of_domain: AllowOutOfDomain = False,
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
            "--overwrite", help="Replace estimates made from another scan, mask, model or settings."
        ),
    ] = False,
    scheduler: Scheduler = "",
    cluster: Cluster = "",
    dry_run: DryRun = False,
) -> None:
    """Synthesise every scan of INPUT into a BIDS derivative.

    Each scan is prepared as `mri7t synthesize` does it. OUTPUT gets a page, quality.html, that
    shows every scan. A scan that fails is reported, and the batch continues. The exit code is 0 if
    every scan has its estimate.
    """
    place = find_place(scheduler, cluster, device)
    if dry_run:
        show_script(place)

    from napari_mri7t.engine.datasets.derivatives import derivatives_of, named_derivatives
    from napari_mri7t.engine.datasets.scans import ScanFilter
    from napari_mri7t.engine.preparation.prepare import PreparationConfig
    from napari_mri7t.engine.workflows.folder import synthesize_folder
    from napari_mri7t.engine.workflows.job import BatchJob

    participants, sessions, suffixes = (tuple(e or ()) for e in (participant, session, suffix))
    wanted = ScanFilter(participants, sessions, suffixes, series or "")
    config = computation(
        planes, device=device, step=step, end_slices=end_slices, noise_factor=noise_factor
    )
    job = BatchJob(
        output,
        model,
        config,
        overwrite,
        index,
        given(
            PreparationConfig(allow_out_of_domain=allow_out_of_domain), prepare=prepare, keep=keep
        ),
        OutputConfig(space, via, background),
        derivatives_of(source) if derivatives is None else named_derivatives(derivatives),
    )
    if keep is not None and prepare == "none":
        warn([f"{keep}: nothing is kept, since no preparation was requested"])
    so_far = Collected()
    try:
        with progress_bar("synthetic 7T") as report:
            summary = synthesize_folder(source, job, wanted, report, so_far.note, _run(place))
    except KeyboardInterrupt:
        with contextlib.suppress(typer.Exit):  # the signal decides on the exit code
            _print_summary(so_far.summary, output)
        raise
    _print_summary(summary, output)


def _run(place: "Place | None") -> "Run":
    """Return what synthesises the scans: this process, or a cluster."""
    if place is None:
        from napari_mri7t.engine.workflows.batch import synthesize_batch

        return synthesize_batch

    from napari_mri7t.engine.workflows.tasks import run_batch

    return on_cluster(place, run_batch)


def _print_summary(summary: "BatchSummary", output: Path) -> None:
    """Print the outcome of a batch; exit with 1 if a scan failed."""
    from napari_mri7t.engine.datasets.bids import LOG_FOLDER, QUALITY_PAGE, SUMMARY_FILE
    from napari_mri7t.engine.volumes.provenance import NOTICE

    warn(f"{name}: {text}" for name, texts in summary.warnings.items() for text in texts)
    say_left_out(summary, batch)
    table = output / LOG_FOLDER / SUMMARY_FILE
    say(f"{in_numbers(summary, 1)}: {table}")
    say(f"{output / QUALITY_PAGE}: check it before you trust the results")
    say(NOTICE)
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
