"""The recipe of the widget "Train folds": networks, preset, numbers and their meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_mri7t.engine.training.presets import PRESETS, TrainConfig
from napari_mri7t.widgets.train_fields import RecipeFields, describe_settings

pytestmark = pytest.mark.gui


@pytest.fixture
def recipe(qtbot):
    recipe = RecipeFields()
    qtbot.addWidget(recipe)
    return recipe


def test_every_number_is_explained_in_a_sentence():
    meanings = describe_settings()
    assert set(TrainConfig.__dataclass_fields__) <= set(meanings)
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
