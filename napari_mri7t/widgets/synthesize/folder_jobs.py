"""Background work on a folder of scans: what is there, what each scan needs, the batch itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mri7t.engine.datasets.bids import Scan, load_scan
from napari_mri7t.engine.datasets.derivatives import derivatives_of
from napari_mri7t.engine.datasets.scans import Found, ScanFilter
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.preparation.checks import sizes_in_words
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.thumbnails import thumbnail
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.engine.workflows.intake import plan_batch
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.widgets.io.reader import made_by
from napari_mri7t.widgets.synthesize.jobs import load_libraries, wait_for_cancelled_work

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.summary import BatchSummary

MODULES = {  # of a batch, in the order in which they are needed
    "napari_mri7t.engine.workflows.folder": "torch",
    "napari_mri7t.engine.report.batch_page": "what draws the quality page",
}


@dataclass(frozen=True)
class FolderRequest:
    """What the user asks for a folder; two that are equal ask for the same."""

    source: Path
    output: Path
    model: Path | None
    config: SynthesisConfig
    preparation: PreparationConfig
    grid: OutputConfig
    overwrite: bool = False
    wanted: ScanFilter = ScanFilter()  # noqa: RUF009 - frozen
    index: int | None = None

    def job(self) -> BatchJob:
        """Return the settings of the batch."""
        return BatchJob(
            self.output,
            None if self.model is None else str(self.model),
            self.config,
            overwrite=self.overwrite,
            index=self.index,
            preparation=self.preparation,
            grid=self.grid,
            derivatives=derivatives_of(self.source),
        )


@dataclass(frozen=True, eq=False)
class Listed(Progress):
    """The scans of a folder are known; nothing but headers has been read.

    `sizes`: in words; `n_voxels`: both by the scan's name, where its header can be read.
    """

    found: Found
    sizes: dict[str, str]
    n_voxels: dict[str, int]


@dataclass(frozen=True, eq=False)
class Looked(Progress):
    """One scan has been read and its preparation planned.

    `argument`: of the engine, that would allow what `error` refuses.
    """

    name: str
    is_made: bool = False
    steps: tuple[str, ...] = ()
    plan: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    argument: str = ""
    picture: np.ndarray | None = None


def look_through(request: FolderRequest, report: Report) -> None:
    """Report the scans of a folder as `Listed`, then each as `Looked`; nothing is written."""
    report(Progress(0, 0, "listing the scans"))
    found = plan_batch(request.source, request.output, request.wanted)
    sizes, n_voxels = {}, {}
    for scan in found.scans:
        with contextlib.suppress(Mri7tError, OSError):  # the look at it says which, and why
            header = read_header(scan.path)[0]
            shape = " × ".join(str(n) for n in header.geometry.shape)
            sizes[scan.name] = f"{shape}, {sizes_in_words(header.geometry.zooms)} mm"
            n_voxels[scan.name] = header.n_voxels
    total = len(found.scans)
    report(Listed(0, total, "scans listed", found, sizes, n_voxels))
    job = request.job()
    for n, scan in enumerate(found.scans):
        report(replace(_look(scan, job), done=n + 1, total=total))


def _look(scan: Scan, job: BatchJob) -> Looked:
    from napari_mri7t.engine.workflows.outlook import look_at

    seen = look_at(scan, job)
    plan = seen.plan
    return Looked(
        0,
        0,
        f"{scan.name} was read",
        scan.name,
        is_made=seen.is_made,
        steps=() if plan is None else plan.steps,
        plan="" if plan is None else plan.describe(),
        warnings=seen.warnings,
        error=seen.error,
        argument=seen.argument,
        picture=None if seen.volume is None else thumbnail(seen.volume),
    )


def synthesize_folder(
    request: FolderRequest, note: Callable[[BatchSummary], object], report: Report
) -> BatchSummary:
    """Prepare and synthesise the scans of a folder or a BIDS dataset into a BIDS derivative."""
    wait_for_cancelled_work(report)
    load_libraries(report, MODULES)
    from napari_mri7t.engine.workflows import folder

    return folder.synthesize_folder(
        request.source, request.job(), request.wanted, report=report, note=note
    )


@dataclass(frozen=True, eq=False)
class OpenedScan:
    """A scan of the folder and its estimate, if there is one, with what made it."""

    scan: Volume
    estimate: Volume | None
    provenance: dict[str, Any] | None


def open_scan(scan: Scan, job: BatchJob) -> OpenedScan:
    """Read a scan and its estimate."""
    volume, image = load_scan(scan, job.index), job.image_of(scan)
    if not image.is_file():
        return OpenedScan(volume, None, None)
    return OpenedScan(volume, load_volume(image), made_by(image))
