"""A default stands once, in the engine: commands, manifest and widgets agree with it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import typer
import yaml

from napari_mri7t.cli.commands import app
from napari_mri7t.cli.options import computation
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.widgets.shared.fields import DEVICES
from napari_mri7t.widgets.synthesize.computation import STEPS, ComputationFields

COMMANDS = typer.main.get_command(app).commands
# What a command sets, and in which settings it stands.
CONFIGS = {
    "synthesize": (SynthesisConfig, PreparationConfig, OutputConfig),
    "batch": (SynthesisConfig,),
    "robustness": (SynthesisConfig,),
    "simulate": (SimulationConfig,),
    "train": (SynthesisConfig,),
    "evaluate": (SynthesisConfig,),
}
CASES = [
    (command, parameter, config)
    for command, configs in CONFIGS.items()
    for parameter in COMMANDS[command].params
    for config in configs
    if parameter.name in {field.name for field in fields(config)}
]
MANIFEST = yaml.safe_load((Path(__file__).parents[2] / "napari.yaml").read_text())


def test_every_command_shares_a_setting_with_the_engine():
    assert {command for command, *_ in CASES} == set(CONFIGS)
    assert len(CASES) >= 15


@pytest.mark.parametrize(
    ("command", "parameter", "config"), CASES, ids=[f"{c}-{p.name}" for c, p, _ in CASES]
)
def test_help_of_a_command_tells_the_default_of_the_engine(command, parameter, config):
    default = getattr(config(), parameter.name)
    if parameter.name == "planes":  # a list with commas
        assert computation(parameter.default).planes == default
    elif parameter.default is not None:
        assert parameter.default == default
    # The variance is told as "the report's"; an uncertainty is asked for by naming its file.
    elif default is not None and parameter.name not in ("variance", "uncertainty"):
        assert parameter.show_default == str(default)


@pytest.mark.parametrize("name", ["device", "memory_mb"])
def test_preferences_in_the_manifest_have_the_default_of_the_engine(name):
    entry = MANIFEST["contributions"]["configurations"]["synthesis"]["properties"][name]
    assert entry["default"] == getattr(SynthesisConfig(), name)


def test_preferences_in_the_manifest_offer_the_devices_of_the_widget():
    entry = MANIFEST["contributions"]["configurations"]["synthesis"]["properties"]["device"]
    assert entry["enum"] == list(DEVICES)


@pytest.mark.gui
def test_widget_begins_with_the_defaults_of_the_engine(qtbot):
    found = ComputationFields({})
    qtbot.addWidget(found)
    config = SynthesisConfig()
    assert found.values() == {name: getattr(config, name) for name in found.values()}
    assert config.step in STEPS
