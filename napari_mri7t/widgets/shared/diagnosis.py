"""Facts for a bug report on Qt, OpenGL and napari's plugins; no window is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from npe2 import PluginManager

PLUGIN = "napari-mri7t"
LIBRARIES = (
    "napari", "npe2", "magicgui", "superqt", "qtpy", "PyQt6", "PySide6", "PyQt5", "vispy",
    "pyqtgraph",
)  # fmt: skip
SECONDS_FOR_OPENGL = 30
Facts = list[tuple[str, str]]


def opengl_facts() -> Facts:
    """Return facts on Qt and OpenGL, from a subprocess: without a screen, Qt aborts the process."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return [("OpenGL", "not checked: no DISPLAY, so no window can be opened")]
    program = "from napari_mri7t.widgets.shared.diagnosis import print_opengl; print_opengl()"
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=SECONDS_FOR_OPENGL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [("OpenGL", f"no answer: {type(error).__name__}")]
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        return [
            ("OpenGL", f"Qt could not start, exit code {ran.returncode}: is a screen available?")
        ]
    return [(name, value) for name, value in json.loads(lines[-1]).items()]


def print_opengl() -> None:
    """Make an off-screen OpenGL context and print its facts as JSON."""
    from OpenGL import GL
    from qtpy import API_NAME, QT_VERSION
    from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

    application = QGuiApplication([])
    facts = {"Qt": f"{QT_VERSION} through {API_NAME}, platform {application.platformName()}"}
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if context.create() and context.makeCurrent(surface):
        names = (GL.GL_VERSION, GL.GL_RENDERER)
        facts["OpenGL"] = ", ".join(GL.glGetString(name).decode() for name in names)
        facts["Largest texture"] = str(GL.glGetIntegerv(GL.GL_MAX_TEXTURE_SIZE))
        facts["Largest 3-D texture"] = str(GL.glGetIntegerv(GL.GL_MAX_3D_TEXTURE_SIZE))
        context.doneCurrent()
    else:
        facts["OpenGL"] = "no context could be created: napari's canvas stays empty"
    sys.stdout.write(json.dumps(facts) + "\n")


def nifti_plugin_facts() -> Facts:
    """Return which plugins claim NIfTI files, and which one napari uses."""
    manager = PluginManager.instance()
    manager.discover()
    facts = []
    for extension in ("nii", "nii.gz"):
        claims = manager.iter_compatible_readers([f"brain.{extension}"])
        names = sorted({str(reader.plugin_name) for reader in claims})
        facts.append((f"Readers of .{extension}", ", ".join(names) or "none"))
    return [*facts, ("napari opens NIfTI with", _preferred())]


def _preferred() -> str:
    from napari.settings import get_settings

    chosen = get_settings().plugins.extension2reader
    # Only these two: any other pattern may be the path of somebody's folder.
    found = {pattern: chosen[pattern] for pattern in ("*.nii", "*.nii.gz") if pattern in chosen}
    if not found:
        return f"no preference: its own reader fails on them, see `napari --plugin {PLUGIN}`"
    return ", ".join(f"{pattern}: {name}" for pattern, name in sorted(found.items()))
