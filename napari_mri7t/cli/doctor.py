"""`mri7t doctor`: what a bug report needs, without a word about who writes it."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_mri7t.engine.diagnosis import Facts


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print versions, devices, memory, Qt, OpenGL and who claims .nii: paste it into a bug report.

    Neither user, host nor folder is named. No window is opened.
    """
    from napari_mri7t.engine import diagnosis

    sections: dict[str, Facts] = {
        "System": diagnosis.system_facts(),
        "Libraries": diagnosis.library_versions(),
        "Devices": diagnosis.device_facts(),
        "Models": diagnosis.model_facts(),
        "napari": _window_facts(),
    }
    if as_json:
        typer.echo(json.dumps({name: dict(facts) for name, facts in sections.items()}, indent=2))
        return
    width = max(len(name) for facts in sections.values() for name, _ in facts)
    for title, facts in sections.items():
        typer.echo(title)
        for name, value in facts:
            typer.echo(f"  {name:<{width}}  {value}")


def _window_facts() -> "Facts":
    """Ask napari's side, if it is there at all: the command line works without."""
    from napari_mri7t.engine.diagnosis import library_versions

    try:
        from napari_mri7t.widgets import diagnosis
    except ImportError as error:
        reason = str(error).split(" (")[0]  # what stands in parentheses is a path
        return [("napari", f"cannot be imported: {reason}")]
    facts = library_versions(diagnosis.LIBRARIES)
    return [*facts, *diagnosis.nifti_plugin_facts(), *diagnosis.opengl_facts()]
