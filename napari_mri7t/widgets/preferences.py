"""The plugin's page in napari's Preferences (manifest: `configurations`), read in one place."""

from __future__ import annotations

from typing import Any

import napari
from napari.settings import get_plugin_settings, get_settings

from napari_mri7t.widgets.layers import orient_camera

PLUGIN = "napari-mri7t"
SECTION, PREFERRED = "synthesis", "preferred"  # of the manifest; of the memory
NIFTI_PATTERNS = ("*.nii", "*.nii.gz")


def preference(section: str, name: str, default: Any) -> Any:
    """Give a setting as the user left it; `default` if the plugin is not registered with npe2."""
    try:
        settings = get_plugin_settings(PLUGIN)
    except KeyError:
        return default
    return getattr(getattr(settings, section, None), name, default)


def last_choice(remembered: dict[str, Any], name: str, default: Any) -> Any:
    """Give the last choice made in a widget, unless the user has changed the preference since."""
    now = preference(SECTION, name, default)
    then = remembered.get(PREFERRED)
    before = then.get(name, default) if isinstance(then, dict) else default
    return remembered.get(name, now) if before == now else now


def preferred(**defaults: Any) -> dict[str, Any]:
    """Give what `last_choice` needs to be kept beside the choices: the preferences of today."""
    return {PREFERRED: {name: preference(SECTION, name, defaults[name]) for name in defaults}}


def opens_nifti_by_default() -> bool:
    """Whether napari gives NIfTI files to this plugin without asking."""
    chosen = get_settings().plugins.extension2reader
    return all(chosen.get(pattern) == PLUGIN for pattern in NIFTI_PATTERNS)


def open_nifti_by_default() -> None:
    """Have napari give NIfTI files to this plugin: its own reader claims them and fails."""
    plugins = get_settings().plugins
    plugins.extension2reader = {
        **plugins.extension2reader,
        **dict.fromkeys(NIFTI_PATTERNS, PLUGIN),
    }


def orient_empty_viewer() -> None:
    """Turn the camera of a viewer that shows nothing yet: anterior up, right as preferred."""
    viewer = napari.current_viewer()
    if viewer is not None and not viewer.layers:
        orient_camera(viewer, preference("display", "convention", "neurological"))
