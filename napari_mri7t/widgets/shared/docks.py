"""Where a widget stands in napari's window: in one place with the plugin's other widgets, as tabs.

napari reads `tabify` from no manifest, and would halve the height of each.
"""

from __future__ import annotations

import re

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabBar, QWidget

# Of a dock's title, as the code or napari's menu opens it: six tabs have no room for it
OF_PLUGIN = re.compile(r" \((?:napari-mri7t|Synthesize 7T)\)$")
#: On a tab, by the dock's name, which stands whole in its title bar: six tabs have room for these.
TAB_TITLES = {"Synthesize 7T": "Synthesize", "Simulate 3T": "Simulate", "Prepare pairs": "Pairs"}


def dock_of(widget: QWidget) -> QDockWidget | None:
    """Return the dock that holds a widget; None for a widget without one."""
    place = widget.parentWidget()
    while place is not None and not isinstance(place, QDockWidget):
        place = place.parentWidget()
    return place


def name_of(dock: QDockWidget) -> str:
    """Return the title of a dock without the plugin's name."""
    return OF_PLUGIN.sub("", dock.windowTitle())


def join_tabs(widget: QWidget, kind: type[QWidget]) -> None:
    """Stack a widget's dock with one in the same area that holds a widget of `kind`, on top.

    A dock of another plugin, and one that floats or was closed, is left alone.
    """
    dock = dock_of(widget)
    window = None if dock is None else dock.parentWidget()
    if dock is None or not isinstance(window, QMainWindow) or dock.isFloating():
        return
    _name_tab(dock)
    tabs = window.tabifiedDockWidgets(dock)
    for other in window.findChildren(QDockWidget):
        if other is dock or other in tabs or not other.findChildren(kind):
            continue
        is_open = other.toggleViewAction().isChecked() and not other.isFloating()
        if is_open and window.dockWidgetArea(other) == window.dockWidgetArea(dock):
            window.tabifyDockWidget(other, dock)
            dock.raise_()
            break
    for bar in window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
        bar.setElideMode(Qt.TextElideMode.ElideNone)  # whole titles; arrows show the others
        bar.setUsesScrollButtons(True)


def _name_tab(dock: QDockWidget) -> None:
    """Shorten the title of a dock's tab; in the menu of the window, the dock keeps its name."""
    name = name_of(dock)
    dock.setWindowTitle(TAB_TITLES.get(name, name))
    dock.toggleViewAction().setText(name)
