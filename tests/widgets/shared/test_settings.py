"""The plugin's preferences, and the one click that makes it the reader of NIfTI files."""

from __future__ import annotations

import numpy as np
import pytest
from napari.settings import get_plugin_settings, get_settings
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QListWidget,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.widgets.layers.layers import KEY
from napari_mri7t.widgets.shared import fields
from napari_mri7t.widgets.shared.settings import (
    DefaultReaderButton,
    Memory,
    opens_nifti_by_default,
    preference,
    preferred,
)
from napari_mri7t.widgets.synthesize.computation import DEFAULTS

pytestmark = pytest.mark.gui


def test_manifest_gives_the_preferences_their_defaults(make_napari_viewer):
    make_napari_viewer()
    assert preference("synthesis", "device", "none") == "auto"
    assert preference("synthesis", "memory_mb", 0) == 1024
    assert preference("display", "convention", "none") == "neurological"
    assert preference("display", "no such", 7) == 7


def test_device_of_the_preferences_is_the_widget_s_first_choice(make_napari_viewer, monkeypatch):
    viewer = make_napari_viewer()
    monkeypatch.setattr(get_plugin_settings("napari-mri7t").synthesis, "device", "cpu")
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    assert widget.computation.values()["device"] == "cpu"


def test_preference_changed_since_wins_over_what_is_remembered(make_napari_viewer, monkeypatch):
    monkeypatch.setattr(fields, "why_absent", lambda device: None)
    viewer = make_napari_viewer()
    choices = {"device": "cpu", "step": 3, "prepare": "none"}
    Memory().keep("synthesis", choices | preferred(**DEFAULTS))
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    values = widget.choices.values()
    assert {name: values[name] for name in choices} == choices
    settings = get_plugin_settings("napari-mri7t").synthesis
    for name, value in {"device": "cuda", "prepare": "full"}.items():
        monkeypatch.setattr(settings, name, value)
    dock.destroyOnClose()
    widget.deleteLater()
    _, again = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    values = again.choices.values()
    assert {name: values[name] for name in choices} == {
        "device": "cuda",
        "step": 3,
        "prepare": "full",
    }


INPUTS = (QComboBox, QAbstractSpinBox, QLineEdit, QAbstractButton, QListWidget, QTableWidget)


@pytest.mark.parametrize("name", ["Synthesize 7T", "Compare", "Simulate 3T", "Train", "Evaluate"])
def test_every_field_says_what_it_is_for(make_napari_viewer, name):
    _, widget = make_napari_viewer().window.add_plugin_dock_widget("napari-mri7t", name)
    for kind in INPUTS:
        for field in widget.findChildren(kind):
            is_part = isinstance(field.parent(), QAbstractSpinBox | QComboBox | QAbstractItemView)
            if not is_part and not field.objectName().startswith("qt_"):
                text = getattr(field, "text", lambda: "")()
                assert field.toolTip(), (kind.__name__, text, field.parent())


def test_radiological_preference_turns_the_camera(make_napari_viewer, monkeypatch, phantom_file):
    viewer = make_napari_viewer()
    monkeypatch.setattr(get_plugin_settings("napari-mri7t").display, "convention", "radiological")
    viewer.open(phantom_file, plugin="napari-mri7t")
    assert [str(side) for side in viewer.scene.camera.orientation] == ["away", "up", "left"]


def test_one_click_has_napari_open_nifti_files_here(make_napari_viewer, qtbot, phantom_file):
    viewer = make_napari_viewer()
    get_settings().plugins.extension2reader = {"*.tif": "other"}
    button = DefaultReaderButton()
    qtbot.addWidget(button)
    place = QWidget()
    qtbot.addWidget(place)
    QVBoxLayout(place).addWidget(button)
    place.show()
    assert not button.isHidden()
    assert not opens_nifti_by_default()
    button.click()
    assert button.isHidden()
    assert opens_nifti_by_default()
    assert get_settings().plugins.extension2reader["*.tif"] == "other"
    viewer.window._qt_viewer._qt_open([str(phantom_file)], stack=False)
    assert KEY in viewer.layers["phantom"].metadata
    assert viewer.layers["phantom"].data.dtype == np.float32
    second = DefaultReaderButton()
    qtbot.addWidget(second)
    assert second.isHidden()
