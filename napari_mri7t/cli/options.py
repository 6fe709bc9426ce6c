"""Options that several commands share; a default stands once, in the engine's settings.

Options shared by the commands that can run on more than one machine.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.engine.errors import Mri7tError

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.cluster import Place

Model = Annotated[
    str | None,
    typer.Option(
        help="Name or folder; `mri7t models` lists names.",
        show_default="the one that `mri7t models` marks",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Step = Annotated[
    int,
    typer.Option(
        help="Slices from one slab to the next: 1 averages a slice's estimates, 3 is fast; "
        "never more than the model gives at once (watnet: 1)."
    ),
]
Index = Annotated[int | None, typer.Option(help="Which volume of a 4-D file, from 0.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Reference = Annotated[
    Path | None,
    typer.Option(help="Volume whose histogram all get.", show_default="TARGET's own"),
]
Preset = Annotated[str, typer.Option(help="report, report-text, qu2020, best, gan.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a number of the preset."),
]
Scheduler = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="Of a running Dask scheduler, tls://..."),
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
    typer.Option("--dry-run", help="Show the SLURM script, submit nothing."),
]


def find_place(scheduler: str, cluster: str, device: str) -> "Place | None":
    """Say where the work runs; None for this process."""
    if not scheduler and not cluster:
        return None
    from napari_mri7t.engine.workflows.cluster import Place

    return Place(scheduler, cluster, device)


def show_script(place: "Place | None") -> None:
    """Print the job that would be submitted, and end."""
    if place is None or not place.cluster.startswith("slurm"):
        raise Mri7tError("--dry-run shows what goes to SLURM: give --cluster slurm:...")
    from napari_mri7t.engine.workflows.cluster import slurm_script

    typer.echo(slurm_script(place))
    raise typer.Exit
