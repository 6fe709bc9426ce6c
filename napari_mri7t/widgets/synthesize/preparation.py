"""The fields of the widget "Synthesize 7T" for the preparation of a raw scan and its result."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QWidget

from napari_mri7t.engine.preparation.optional import INSTALL, NATIVE
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig
from napari_mri7t.widgets.layers.layers import is_single_volume
from napari_mri7t.widgets.shared.controls import (
    WARNING_COLOUR,
    FileField,
    FolderField,
    LayerChooser,
    Notices,
    choice,
    set_enabled,
)
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.settings import last_choice
from napari_mri7t.widgets.synthesize.computation import DEFAULTS
from napari_mri7t.widgets.synthesize.jobs import Asked

MODES = {
    "auto": "As needed (auto)",
    "none": "Nothing (none)",
    "full": "Every step (full)",
}
SPACES = {"native": "Scan's own grid", "mni": "MNI space, 1 mm"}
VIAS = {"scan": "Scan's own grid", "mni": "MNI space, 1 mm"}
OWN_IN_A_FOLDER = (
    "Your own masks and transforms: those in the dataset's derivatives are found by their BIDS "
    "names; a layer or a file serves a single scan."
)
BACKGROUNDS = {"scan": "As in the scan", "zero": "Zero"}


def missing_libraries() -> list[str]:
    """Return what of the extra `native` is not installed, without importing it."""
    return [library for library in NATIVE.values() if find_spec(library) is None]


class PreparationFields(QWidget):
    """How the scan is prepared, with which mask and transform, and where its estimate goes."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, remembered: dict[str, Any]) -> None:
        super().__init__()
        self._session_folder: Path | None = None
        self._is_folder = False
        self._build_choices()
        self._build_own(viewer)
        self.notices = Notices()
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        for label, field in (
            ("Prepare", self.mode_box),
            ("Result on", self.space_box),
            ("Computed in", self.via_box),
            ("Background", self.background_box),
            ("", self.more_box),
            ("Mask layer", self.mask_chooser),
            ("Mask file", self.mask_field),
            ("Transform", self.transform_field),
            ("Save intermediate\nfiles to", self.keep_field),
            ("", self.folder_label),
            ("", self.coarse_box),
        ):
            self._form.addRow(*([label] if label else []), field)
        self._form.addRow(self.notices)
        self._recall(remembered)
        self._refuse_missing()
        self._connect()
        self._refresh()

    def _build_choices(self) -> None:
        self.mode_box = choice(MODES)
        self.mode_box.setToolTip(
            "A raw scan needs its brain extracted, its shading (bias field) removed, and to be\n"
            "registered to MNI space. auto does what the scan needs, full does every step."
        )
        self.space_box = choice(SPACES)
        self.space_box.setToolTip(
            "Grid of the estimate: exactly the scan's voxels, or the models' grid,\n"
            "182 x 218 x 182 voxels of 1 mm in MNI152 space"
        )
        self.via_box = choice(VIAS)
        self.via_box.setToolTip(
            "Where the network works on a prepared scan: on the scan's own voxels, or in MNI\n"
            "space, from which the estimate is resampled to the scan"
        )
        self.background_box = choice(BACKGROUNDS)
        self.background_box.setToolTip("What the result of a prepared scan shows outside the brain")
        self.coarse_box = QCheckBox("Process anyway (voxels too coarse)")
        self.coarse_box.setToolTip(
            "Voxels above 2 mm, or more than twice as long as wide, are outside the models'\n"
            "domain; the sidecar records it"
        )

    def _build_own(self, viewer: napari.Viewer) -> None:
        self.more_box = QCheckBox("Use my own mask or transform")
        self.more_box.setToolTip(
            "Use results of FreeSurfer, FSL or ANTs, and save those of the preparation"
        )
        self.mask_chooser = LayerChooser(
            viewer,
            is_single_volume,
            "Your brain mask: a layer on the scan's grid, or painted on it; above 0 is brain",
            optional="extract the brain",
        )
        self.mask_field = FileField(
            "Your brain mask on the scan's grid; nonzero voxels are brain",
            "Volumes (*.nii *.nii.gz *.mgz *.mgh *.img *.hdr)",
        )
        self.transform_field = FileField(
            "Your transform to MNI space: ITK's .tfm, .txt, .mat,\n"
            "or a text file with a 4 x 4 matrix from RAS+ mm to RAS+ mm",
            "Transforms (*.tfm *.txt *.mat)",
        )
        self.keep_field = FolderField(
            "Folder for mask, bias field and transform, which later runs reuse.\n"
            "Empty: kept until this widget is closed"
        )
        self.keep_field.line.setPlaceholderText("this session only")
        self.folder_label = TextLabel(OWN_IN_A_FOLDER)
        self.folder_label.setWordWrap(True)

    def _connect(self) -> None:
        for box in (self.mode_box, self.space_box, self.via_box, self.background_box):
            box.currentIndexChanged.connect(self._refresh)
        for box in (self.more_box, self.coarse_box):
            box.toggled.connect(self._refresh)
        self.mask_chooser.layer_changed.connect(self._refresh)
        for field in (self.mask_field, self.transform_field, self.keep_field):
            field.changed.connect(self._refresh)

    def _recall(self, remembered: dict[str, Any]) -> None:
        """Restore the last choices; a mask and a transform belong to one scan and are forgotten."""
        mode = last_choice(remembered, "prepare", DEFAULTS["prepare"])
        for box, value in (
            (self.mode_box, mode),
            (self.space_box, remembered.get("space", OutputConfig.space)),
            (self.via_box, remembered.get("via", OutputConfig.via)),
            (self.background_box, remembered.get("background", OutputConfig.background)),
        ):
            box.setCurrentIndex(max(0, box.findData(value)))
        self.keep_field.folder = str(remembered.get("keep", ""))
        self.more_box.setChecked(bool(remembered.get("keep")))

    def _refuse_missing(self) -> None:
        missing = missing_libraries()
        if not missing:
            return
        why_not = f"auto and full need {' and '.join(missing)}: {INSTALL}"
        for name in ("auto", "full"):
            item = self.mode_box.model().item(self.mode_box.findData(name))
            item.setEnabled(False)
            item.setToolTip(why_not)
        self.mode_box.setCurrentIndex(self.mode_box.findData("none"))
        self.notices.add(f"{why_not[0].upper()}{why_not[1:]}", WARNING_COLOUR)

    def _refresh(self, value: object = None) -> None:
        self._form.setRowVisible(self.via_box, self.space_box.currentData() == "native")
        has_own = self._has_own
        for field in (self.mask_chooser, self.mask_field, self.transform_field):
            self._form.setRowVisible(field, has_own)
        self._form.setRowVisible(self.keep_field, has_own or self._is_folder)
        self._form.setRowVisible(self.more_box, not self._is_folder)
        self._form.setRowVisible(self.folder_label, self._is_folder)
        has_layer = self.mask_chooser.layer is not None
        why_not = "the mask is taken from a layer" if has_layer else None
        set_enabled(self.mask_field, why_not, self.mask_field.line.toolTip())
        self.changed.emit()

    def serve_folder(self, is_folder: bool) -> None:
        """Offer what applies to every scan of a folder, or also what belongs to a single scan."""
        if is_folder != self._is_folder:
            self._is_folder = is_folder
            self.keep_field.line.setPlaceholderText("" if is_folder else "this session only")
            self._refresh()

    @property
    def _has_own(self) -> bool:
        return self.more_box.isChecked() and not self._is_folder

    def offer_coarse(self, is_too_coarse: bool) -> None:
        """Show the box that allows a scan outside the domain only where it is needed."""
        self._form.setRowVisible(self.coarse_box, is_too_coarse or self.coarse_box.isChecked())

    def use_mask(self, layer: Layer) -> None:
        """Choose a layer as the user's own mask."""
        self.more_box.setChecked(True)
        self.mask_chooser.refresh()
        self.mask_chooser.layer = layer
        self.changed.emit()  # its voxels may be others than before

    def release(self) -> None:
        """Delete what was saved for the session."""
        if self._session_folder is not None:
            self._delete_session()
            self._session_folder = None

    def why_not(self, layers: list[Layer]) -> str | None:
        """Return what is missing before anything can start."""
        if not self._has_own:
            return None
        for field, what in ((self.mask_field, "mask"), (self.transform_field, "transform")):
            if field.isEnabled() and field.folder is not None and not field.folder.is_file():
                return f"The {what} file does not exist."
        if self.has_own_of_scan and len(layers) > 1:
            return "A mask or transform applies to one scan: choose one layer."
        if self.mask_chooser.layer is not None and self.mask_chooser.layer in layers:
            return "The mask is the scan itself: choose another layer."
        return None

    @property
    def has_own_of_scan(self) -> bool:
        """Whether a mask or a transform is chosen, which belongs to one scan."""
        return self._has_own and (self._mask() or self.transform_field.folder) is not None

    def _mask(self) -> Layer | Path | None:
        return self.mask_chooser.layer or self.mask_field.folder

    def asked(self) -> Asked:
        """Return the choices as they are now."""
        has_more = self._has_own
        layer = self.mask_layer
        config = PreparationConfig(
            prepare=self.mode_box.currentData(),
            mask=self.mask_field.folder if has_more and layer is None else None,
            transform=self.transform_field.folder if has_more else None,
            keep=self.keep or (None if self._is_folder else self._session_folder),
            allow_out_of_domain=self.coarse_box.isChecked(),
        )
        output = OutputConfig(**self._output_values())
        return Asked(config, output, None if layer is None else layer.as_layer_data_tuple())

    @property
    def mask_layer(self) -> Layer | None:
        """The layer that is the user's own mask."""
        return self.mask_chooser.layer if self._has_own else None

    @property
    def keep(self) -> Path | None:
        """The user's own folder for intermediate files."""
        return self.keep_field.folder if self._has_own or self._is_folder else None

    def _output_values(self) -> dict[str, str]:
        boxes = {"space": self.space_box, "via": self.via_box, "background": self.background_box}
        return {name: box.currentData() for name, box in boxes.items()}

    def begin_session(self) -> None:
        """Make the folder for intermediate files.

        It is deleted with the widget, also where napari ends without a word to it.
        """
        if self._session_folder is None:
            folder = tempfile.mkdtemp(prefix="napari-mri7t-")
            self._session_folder = Path(folder)
            self._delete_session = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def values(self) -> dict[str, Any]:
        """Return the choices to restore in the next session."""
        keep = self.keep
        return self._output_values() | {
            "prepare": self.mode_box.currentData(),
            "keep": "" if keep is None else str(keep),
        }
