"""The button with an arrow."""

import pytest

from napari_mri7t.widgets.shared.menu_button import MenuButton

pytestmark = pytest.mark.gui


def test_button_does_one_thing_and_its_arrow_offers_the_others(qtbot):
    done = []
    button = MenuButton("Show", {"this": lambda: done.append(1), "that": lambda: done.append(2)})
    qtbot.addWidget(button)
    with qtbot.waitSignal(button.clicked):
        button.click()
    assert [action.text() for action in button.menu().actions()] == ["this", "that"]
    button.menu().actions()[1].trigger()
    assert done == [2]


def test_arrow_opens_the_menu_and_has_a_name(qtbot):
    button = MenuButton("Show", {"this": lambda: None})
    qtbot.addWidget(button)
    button.show()
    button.arrow.click()
    assert button.menu().isVisible()
    button.menu().hide()
    assert button.arrow.accessibleName() == "Show: more"


def test_disabled_button_does_nothing(qtbot):
    button = MenuButton("Show", {"this": lambda: None})
    qtbot.addWidget(button)
    button.setEnabled(False)
    with qtbot.assertNotEmitted(button.clicked):
        button.click()
