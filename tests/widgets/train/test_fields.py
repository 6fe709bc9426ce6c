"""The recipe of the widget "Train": networks, preset, settings and their meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_mri7t.engine.models.card import find_model
from napari_mri7t.engine.training.config import PRESETS, TrainConfig, settings_of
from napari_mri7t.widgets.train.fields import RecipeFields
from napari_mri7t.widgets.train.settings import describe_settings

pytestmark = pytest.mark.gui


@pytest.fixture
def recipe(qtbot):
    recipe = RecipeFields()
    qtbot.addWidget(recipe)
    return recipe


def test_every_setting_is_explained_in_a_sentence():
    meanings = describe_settings()
    assert set(settings_of(TrainConfig())) <= set(meanings)
    assert [name for name, text in meanings.items() if not text.endswith(".")] == []


def test_network_of_a_study_read_before_the_networks_are_listed_stays(recipe):
    recipe.choose_network("watnet")
    recipe.offer_networks(["basic_cnn", "slice_unet", "watnet"])
    assert recipe.network_box.currentText() == "watnet"
    assert recipe.network_box.count() == 3


def test_network_that_is_not_installed_is_not_taken_for_another(recipe):
    recipe.choose_network("of_a_package_that_is_gone")
    recipe.offer_networks(["basic_cnn", "slice_unet"])
    assert recipe.network_box.currentText() == "of_a_package_that_is_gone"


def test_number_of_many_digits_is_kept_in_full(recipe):
    config = replace(PRESETS["best"], learning_rate=0.00123456789, variance=1e-3)
    recipe.show_config(config)
    assert recipe.config() == config


def test_network_is_built_as_preset_and_model_say_and_as_the_user_does(recipe):
    recipe.choose_network("watnet")
    assert recipe.network_config() == {"central_only": True}
    recipe.preset_box.setCurrentText("report")
    assert recipe.network_config() == {}
    recipe.network_line.setText("wavelet=db2; widths=[16, 32];central_only=false")
    expected = {"wavelet": "db2", "widths": [16, 32], "central_only": False}
    assert recipe.network_config() == expected
    recipe.choose_network("basic_cnn")
    assert recipe.network_config() == {}, "another network, other arguments"
    recipe.show_network_config(expected)
    assert recipe.network_config() == expected
    recipe.network_line.setText("wide")
    assert recipe.why_not({}, {}) == "network: wide: expected key=value"


def test_weights_of_a_model_decide_how_its_network_is_built(recipe):
    assert recipe.start_chooser.add(find_model("watnet"))
    assert recipe.network_box.currentText() == "watnet"
    assert recipe.network_config() == {"central_only": True}
    assert not recipe.network_line.isEnabled()
