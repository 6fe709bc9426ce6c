"""The box of devices: what this machine cannot have is greyed, and says why."""

import pytest

from napari_mri7t.widgets.shared import fields
from napari_mri7t.widgets.shared.fields import DEVICES, DeviceBox


def offered(box):
    return [box.itemData(n) for n in range(box.count()) if box.model().item(n).isEnabled()]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a function that makes this another machine."""

    def be(system, driver):
        path = tmp_path / "driver"
        if driver:
            path.touch()
        monkeypatch.setattr(fields, "SYSTEM", system)
        monkeypatch.setattr(fields, "DRIVER_FILES", (str(path),))

    return be


@pytest.mark.parametrize(
    ("system", "driver", "expected"),
    [
        ("Linux", False, ["auto", "cpu"]),
        ("Linux", True, ["auto", "cpu", "cuda"]),
        ("Darwin", False, ["auto", "cpu", "mps"]),
    ],
)
def test_only_what_can_be_here_is_offered(qtbot, machine, system, driver, expected):
    machine(system, driver)
    box = DeviceBox("Where to compute.")
    qtbot.addWidget(box)
    assert offered(box) == expected
    assert [box.itemData(n) for n in range(box.count())] == list(DEVICES), "the rest is greyed"
    for device in set(DEVICES) - set(expected):
        assert box.model().item(box.findData(device)).toolTip()
        assert DEVICES[device] in box.toolTip()


def test_a_remembered_device_that_is_gone_becomes_automatic(qtbot, machine):
    machine("Linux", False)
    box = DeviceBox("Where to compute.")
    qtbot.addWidget(box)
    for device, taken in (("cpu", "cpu"), ("cuda", "auto"), ("cpu", "cpu"), (None, "auto")):
        box.choose(device)
        assert box.device == taken
