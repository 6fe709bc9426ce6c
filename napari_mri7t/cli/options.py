"""Options that several commands share; defaults are those of the engine's settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mri7t.cli.console import say
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.synthesis.config import SynthesisConfig

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.cluster import Place

Model = Annotated[
    str | None,
    typer.Option(
        help="Name or folder of the model; `mri7t models` lists the names.",
        show_default="depends on the scan",
    ),
]
ReportModel = Annotated[
    str | None,
    typer.Option(
        help="Name or folder of the model; `mri7t models` lists the names.",
        show_default="slice_unet",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Step = Annotated[
    int,
    typer.Option(
        help="Step between slabs, in slices: 1 averages several estimates of a slice, 3 is "
        "fast; at most the number of slices that the model returns at once (scan_unet, watnet: 1)."
    ),
]
Planes = Annotated[
    str,
    typer.Option(
        metavar="PLANE,...",
        help="Planes whose estimates are averaged: axial, coronal, sagittal; axial alone is three "
        "times as fast as all.",
        show_default="those on the model's card",
    ),
]
EndSlices = Annotated[int, typer.Option(help="Slices at either end to leave unchanged.")]
NoiseFactor = Annotated[
    float,
    typer.Option(
        help="Noise to remove, as a multiple of the noise measured in the scan: 0 leaves it nearly "
        "as it is, 2 smooths more. For scan_unet and other models with a noise map.",
        show_default="1",
    ),
]
Index = Annotated[int | None, typer.Option(help="Index of the volume in a 4-D file, from 0.")]
SeriesNumber = Annotated[
    str | None,
    typer.Option(
        "--series",
        metavar="N",
        help="Number of the DICOM series to use.",
        show_default="the only T1w",
    ),
]
Prepare = Annotated[
    str | None,
    typer.Option(
        help="auto: brain extraction, bias field correction and registration as needed; none: "
        "use a scan as it is; full: every step.",
        show_default="auto",
    ),
]
Keep = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder for the results of the preparation (mask, bias field, transform); the next "
        "run reuses them.",
    ),
]
AllowOutOfDomain = Annotated[
    bool,
    typer.Option("--allow-out-of-domain", help="Process a scan even if its voxels are too coarse."),
]
Space = Annotated[
    str,
    typer.Option(help="Grid of the synthetic 7T: native, the scan's own; mni, 1 mm in MNI space."),
]
Via = Annotated[
    str,
    typer.Option(
        help="Grid of the network for a native synthetic 7T: scan, the scan's own; mni, 1 mm."
    ),
]
Background = Annotated[str, typer.Option(help="Outside the brain: scan, as in the scan; zero, 0.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Reference = Annotated[
    Path | None,
    typer.Option(
        help="Volume to whose histogram intensities are matched.", show_default="TARGET's own"
    ),
]
Preset = Annotated[
    str, typer.Option(help="Recipe: report, report-text, qu2020, best, scan or gan.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the preset."),
]
Scheduler = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="Address of a running Dask scheduler, tls://..."),
]
Cluster = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="local:N for N processes here, or slurm:jobs=8,queue=gpu,memory=32GB,...",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the SLURM script and submit nothing."),
]


def computation(planes: str, **settings: Any) -> SynthesisConfig:
    """Return the settings of a synthesis; `planes` is a list with commas."""
    chosen = tuple(part.strip() for part in planes.split(",") if part.strip())
    return SynthesisConfig(planes=chosen, **settings)


def find_place(scheduler: str, cluster: str, device: str) -> "Place | None":
    """Return where the work runs; None for this process."""
    if not scheduler and not cluster:
        return None
    from napari_mri7t.engine.workflows.cluster import Place

    return Place(scheduler, cluster, device)


def show_script(place: "Place | None") -> None:
    """Print the job that would be submitted, and exit."""
    if place is None or not place.cluster.startswith("slurm"):
        raise Mri7tError("--dry-run prints a SLURM script: add --cluster slurm:...")
    from napari_mri7t.engine.workflows.cluster import slurm_script

    say(*slurm_script(place).split("\n"))
    raise typer.Exit
