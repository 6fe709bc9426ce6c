"""What a screen reader says of a control, how the keyboard's focus shows, what the wheel does."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QScrollBar,
    QWidget,
)

from napari_mri7t.widgets.shared.controls import INFORMATION_COLOUR

CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
)
#: napari's themes draw no focus on most controls.
FOCUS_STYLE = (
    ", ".join(
        f"{kind}:focus"
        for kind in (
            "QPushButton",
            "QToolButton",
            "QCheckBox",
            "QComboBox",
            "QLineEdit",
            "QAbstractSpinBox",
            "QSlider",
            "QAbstractItemView",
        )
    )
    + f" {{ border: 1px solid {INFORMATION_COLOUR}; }}"
)


def name_controls(widget: QWidget) -> None:
    """Name every control that has no name or text of its own.

    A field of a form is named by its label; what is part of another control has that one's name
    before its own.
    """
    for form in widget.findChildren(QFormLayout):
        for row in range(form.rowCount()):
            _name_field(form, row)


class WheelGuard(QObject):
    """Leaves the mouse wheel to the scroll area, unless the field under it was clicked."""

    def guard(self, widget: QWidget) -> None:
        """Guard the fields of a widget that are not guarded yet."""
        for kind in (QComboBox, QAbstractSpinBox):
            for field in widget.findChildren(kind):
                if field.focusPolicy() == Qt.FocusPolicy.WheelFocus:  # as Qt makes it
                    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                    field.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Pass a turn of the wheel on to the parent."""
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)


def controls_in(widget: QWidget) -> list[QWidget]:
    """Return the controls a user reaches, without the parts Qt makes of its own."""
    found = [part for kind in CONTROLS for part in widget.findChildren(kind)]
    return [part for part in found if not _is_part_of_another(part, widget)]


def spoken_name(control: QWidget) -> str:
    """Return what a screen reader calls a control."""
    text = control.text() if isinstance(control, QAbstractButton) else ""
    return control.accessibleName() or text.replace("&", "")


def _is_part_of_another(part: QWidget, widget: QWidget) -> bool:
    """Return whether Qt made a control for another one: a scroll bar, the list of a combo box."""
    around = part.parentWidget()
    while around is not None and around is not widget and not isinstance(around, CONTROLS):
        around = around.parentWidget()
    return isinstance(part, QScrollBar) or isinstance(around, CONTROLS)


def _name_field(form: QFormLayout, row: int) -> None:
    label = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
    field = form.itemAt(row, QFormLayout.ItemRole.FieldRole)
    title = None if label is None else label.widget()
    control = None if field is None else field.widget()
    if not isinstance(title, QLabel) or control is None or not title.text():
        return
    if isinstance(control, QLabel) and control.text():  # which says itself what it is
        return
    words = " ".join(title.text().replace("&", "").split())
    if not control.accessibleName():
        control.setAccessibleName(words)
    for part in controls_in(control):
        own = spoken_name(part)
        if not own.startswith(words):
            part.setAccessibleName(f"{words}: {own}" if own else words)
