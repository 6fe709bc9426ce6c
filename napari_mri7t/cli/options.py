"""Options that several commands share; a default stands once, in the engine's settings."""

from pathlib import Path
from typing import Annotated

import typer

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
