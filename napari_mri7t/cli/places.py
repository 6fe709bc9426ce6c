"""Options shared by the commands that can run on more than one machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.engine.errors import Mri7tError

if TYPE_CHECKING:
    from napari_mri7t.engine.cluster import Place

PANEL = "More than one process"

Scheduler = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Of a running Dask scheduler, tls://...", rich_help_panel=PANEL
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="local:N for N processes here, or slurm:jobs=8,queue=gpu,memory=32GB,...",
        rich_help_panel=PANEL,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show the SLURM script, submit nothing.", rich_help_panel=PANEL),
]


def find_place(scheduler: str, cluster: str, device: str) -> "Place | None":
    """Say where the work runs; None for this process."""
    if not scheduler and not cluster:
        return None
    from napari_mri7t.engine.cluster import Place

    return Place(scheduler, cluster, device)


def show_script(place: "Place | None") -> None:
    """Print the job that would be submitted, and end."""
    if place is None or not place.cluster.startswith("slurm"):
        raise Mri7tError("--dry-run shows what goes to SLURM: give --cluster slurm:...")
    from napari_mri7t.engine.cluster import slurm_script

    typer.echo(slurm_script(place))
    raise typer.Exit
