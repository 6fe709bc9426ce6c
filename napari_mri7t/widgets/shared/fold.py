"""A titled group of fields that its head folds away."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QToolButton, QVBoxLayout, QWidget

from napari_mri7t.widgets.shared.controls import set_tooltip


class FoldBox(QWidget):
    """Shows its `form` only while it is unfolded; a folded one takes a line.

    Parameters
    ----------
    title : str
    tooltip : str
        Of the head.
    """

    def __init__(self, title: str, tooltip: str = "") -> None:
        super().__init__()
        self.head = QToolButton()
        self.head.setText(title)
        self.head.setCheckable(True)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.toggled.connect(self._show)
        set_tooltip(self.head, tooltip)
        self.contents = QWidget()
        self.form = new_form(self.contents)
        self.form.setContentsMargins(8, 0, 8, 8)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.head, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.contents)
        self._show(False)

    @property
    def is_unfolded(self) -> bool:
        """Whether the fields are shown."""
        return self.head.isChecked()

    def unfold(self, is_unfolded: bool = True) -> None:
        """Show the fields, or only the head."""
        self.head.setChecked(is_unfolded)

    def _show(self, is_unfolded: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if is_unfolded else Qt.ArrowType.RightArrow
        self.head.setArrowType(arrow)
        self.contents.setVisible(is_unfolded)


def new_form(parent: QWidget) -> QFormLayout:
    """Return a form for 350 pixels: labels beside their fields, which take the rest."""
    form = QFormLayout(parent)
    form.setContentsMargins(8, 8, 8, 8)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    return form
