"""The canvas of a viewer, as the graphics driver sees it."""

from __future__ import annotations

import napari
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget


def make_current(viewer: napari.Viewer) -> None:
    """Make the OpenGL context of the canvas the current one; nothing happens before it is shown.

    When a layer is removed, napari deletes at once what the layer has on the graphics card, in
    whichever context is current. If that is the one of Qt's window, the driver goes on to use what
    is deleted, and after a change of the grid the next picture ends in a segmentation fault.
    """
    menu = viewer.window.main_menu  # the public way to the window
    if not isalive(menu):
        return
    for part in menu.window().centralWidget().findChildren(QWidget):
        if hasattr(part, "makeCurrent"):  # PyQt5 and PyQt6 have their QOpenGLWidget in two modules
            part.makeCurrent()
