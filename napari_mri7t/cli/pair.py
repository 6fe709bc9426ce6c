"""`mri7t pair`: raw 3T and 7T scans of the same people into a dataset to train on."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.batch import Labels
from napari_mri7t.cli.console import given, progress_bar, say, warn
from napari_mri7t.cli.options import (
    AllowOutOfDomain,
    Cluster,
    DryRun,
    Index,
    Keep,
    Prepare,
    Scheduler,
    SeriesNumber,
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_mri7t.engine.datasets.pair_files import FoundPairs
    from napari_mri7t.engine.report.pair_page import PairRecord
    from napari_mri7t.engine.workflows.cluster import Place
    from napari_mri7t.engine.workflows.pair_dataset import Run
    from napari_mri7t.engine.workflows.pairs import PairJob
    from napari_mri7t.engine.workflows.summary import BatchSummary


def pair(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Folder or BIDS dataset of 3T and 7T scans, or a table of paths.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="Dataset for `train`; run again to resume."),
    ],
    registration: Annotated[
        str | None,
        typer.Option(help="Registration of the 3T to the 7T: rigid; affine.", show_default="rigid"),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help="mni, 1 mm in MNI space; 7t, the grid of the 7T scan; or a voxel size in mm.",
            show_default="mni",
        ),
    ] = None,
    prepare: Prepare = None,
    keep: Keep = None,
    allow_out_of_domain: AllowOutOfDomain = False,
    index: Index = None,
    series: SeriesNumber = None,
    participant: Labels = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace pairs made from other scans, masks or settings."),
    ] = False,
    scheduler: Scheduler = "",
    cluster: Cluster = "",
    dry_run: DryRun = False,
) -> None:
    """Make a dataset to train on from raw 3T and 7T scans of the same people.

    Both heads are brain-extracted, corrected for their bias field, registered, and resampled once
    to one grid. OUTPUT gets a page, quality.html, that shows every pair. A pair that fails is
    reported, and the others are still made; `mri7t train` leaves out flagged pairs. The exit code
    is 0 if no pair failed.
    """
    place = find_place(scheduler, cluster, "cpu")
    if dry_run:
        show_script(place)

    from napari_mri7t.engine.preparation.pair import PairConfig
    from napari_mri7t.engine.workflows.pair_dataset import make_dataset
    from napari_mri7t.engine.workflows.pairs import PairJob, find_pairs

    config = given(
        PairConfig(allow_out_of_domain=allow_out_of_domain),
        registration=registration, grid=grid, prepare=prepare,
    )  # fmt: skip
    job = PairJob(output, config, overwrite, index, keep)
    found = find_pairs(dataset, tuple(participant or ()), series or "")
    _say_what_is_done(found, job)
    so_far = Collected()
    try:
        with progress_bar("pairs") as report:
            made = make_dataset(dataset, found, job, report, so_far.note, _run(place))
    except KeyboardInterrupt:
        with contextlib.suppress(typer.Exit):  # the signal decides on the exit code
            _print_summary(so_far.summary, (), output)
        raise
    _print_summary(made.summary, made.pairs, output)


def _say_what_is_done(found: "FoundPairs", job: "PairJob") -> None:
    from napari_mri7t.engine.preparation.pair_grid import grid_in_words
    from napari_mri7t.engine.workflows.pairs import plan_pairs

    for state in plan_pairs(found, job):
        say(f"{state.files.name}: {state.text}")
    registered = f"{job.config.registration} registration of the 3T to the 7T"
    say(f"Each pair: {registered}, {grid_in_words(job.config.grid)}.")


def _run(place: "Place | None") -> "Run":
    """Return what makes the pairs: this process, or a cluster."""
    if place is None:
        from napari_mri7t.engine.workflows.pairs import make_pairs

        return make_pairs

    from napari_mri7t.engine.workflows.pair_tasks import run_pairs

    return on_cluster(place, run_pairs)


def _print_summary(summary: "BatchSummary", records: "Sequence[PairRecord]", output: Path) -> None:
    """Print the outcome; exit with 1 if a pair failed."""
    from napari_mri7t.engine.datasets.bids import QUALITY_PAGE

    flags = {record.name: record.flags for record in records}
    warn(
        f"{name}: {text}"
        for name, texts in summary.warnings.items()
        for text in texts
        if text not in flags.get(name, ())
    )
    say_left_out(summary, pair)
    for record in records:
        for text in record.flags:
            say(f"flagged: {record.name}: {text}", err=True)
    say(f"{in_numbers(summary, 0)}")
    left_out = [record.name for record in records if not record.is_used]
    if left_out:
        say(f"left out of a training: {', '.join(left_out)}")
    say(f"{output / QUALITY_PAGE}: check it before you train")
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
