"""`mri7t demo`: a real brain, its pseudo-3T and its synthetic 7T."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    no_gui: Annotated[
        bool, typer.Option("--no-gui", help="Write the files, open no window.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("mri7t-demo"),
) -> None:
    """Show the whole way on the MNI152 template: pseudo-3T, synthetic 7T, figures, a picture."""
