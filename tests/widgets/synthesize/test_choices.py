"""What is restored of the choices in the next session."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.models.card import bundled_folders

pytestmark = pytest.mark.gui


def test_a_model_of_the_package_does_not_replace_the_user_s_own_in_the_memory(widget, quick_model):
    widget.model_chooser.add(quick_model)
    assert widget.choices.values()["chosen_model"] == str(quick_model)
    for folder in (None, bundled_folders()[0]):
        box = widget.model_chooser.box
        box.setCurrentIndex([box.itemData(n) for n in range(box.count())].index(folder))
        assert "chosen_model" not in widget.choices.values()
