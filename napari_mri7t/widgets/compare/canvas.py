"""The canvas of a viewer, as Qt and the graphics driver see it."""

from __future__ import annotations

import napari
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget


def canvas_of(viewer: napari.Viewer) -> QWidget | None:
    """Return the widget that the canvas is drawn in; None once the window is gone."""
    menu = viewer.window.main_menu  # the public way to the window
    if not isalive(menu):
        return None
    parts = menu.window().centralWidget().findChildren(QWidget)
    # PyQt5 and PyQt6 have their QOpenGLWidget in two modules
    return next((part for part in parts if hasattr(part, "makeCurrent")), None)


def make_current(viewer: napari.Viewer) -> None:
    """Make the OpenGL context of the canvas the current one; nothing happens before it is shown.

    When a layer is removed, napari deletes at once what the layer has on the graphics card, in
    whichever context is current. If that is the one of Qt's window, the driver goes on to use what
    is deleted, and after a change of the grid the next picture ends in a segmentation fault.
    """
    canvas = canvas_of(viewer)
    if canvas is not None:
        canvas.makeCurrent()
