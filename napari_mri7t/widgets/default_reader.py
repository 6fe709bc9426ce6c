"""One click that has napari open NIfTI files with this plugin, by the user's own will."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton

from napari_mri7t.widgets.preferences import open_nifti_by_default, opens_nifti_by_default


class DefaultReaderButton(QPushButton):
    """There only as long as napari's own reader, which claims NIfTI files and fails, is asked."""

    def __init__(self) -> None:
        super().__init__("Open NIfTI files with this plugin by default")
        self.setToolTip(
            "Sets napari's preference Plugins > extension2reader for *.nii and *.nii.gz,\n"
            "so that File > Open and dropped files come here without asking; undo it there."
        )
        self.clicked.connect(self._set)
        self.setVisible(not opens_nifti_by_default())

    def _set(self) -> None:
        open_nifti_by_default()
        self.setVisible(False)
