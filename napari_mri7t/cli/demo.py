"""`mri7t demo`: the MNI152 template, its pseudo-3T and its synthetic 7T."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import progress_bar, say, warn

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.demo import Demo

DEFAULT_FOLDER = Path("mri7t-demo")


def demo(
    no_gui: Annotated[
        bool, typer.Option("--no-gui", help="Write the files without opening a window.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder for the files.")] = DEFAULT_FOLDER,
) -> None:
    """Run the whole pipeline on the MNI152 template.

    It writes a pseudo-3T, its synthetic 7T, scores and a figure.
    """
    from napari_mri7t.cli.compare import scores_table
    from napari_mri7t.engine.models.card import REPORT_MODEL
    from napari_mri7t.engine.models.model import load_model
    from napari_mri7t.engine.synthesis.config import SynthesisConfig
    from napari_mri7t.engine.volumes.provenance import NOTICE
    from napari_mri7t.engine.workflows.demo import run_demo

    with progress_bar("synthetic 7T") as report:
        made = run_demo(output, load_model(REPORT_MODEL), SynthesisConfig(), report=report)
    warn(made.warnings)
    rows = {"source": "3T as is", "estimate": "synthetic 7T"}
    say("Inside the brain, against the 7T:")
    say(*scores_table({text: made.scores[key]["brain"] for key, text in rows.items()}))
    for path in made.files:
        say(path)
    say(NOTICE)
    if not no_gui:
        _show(made)


def _show(made: "Demo") -> None:
    """Open the result in napari, if possible."""
    if not _has_display():
        say("No display found: napari was not opened.")
        return
    try:
        from napari_mri7t.widgets.compare.demo import show_demo

        show_demo(made)
    except ImportError as error:
        warn([f"napari's window could not be opened: {error}: install napari-mri7t[all]"])


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
