"""The time of a simulation, measured by a part of a brain."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.simulation import pace
from napari_mri7t.engine.simulation.pace import seconds_per_voxel
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig


@pytest.mark.parametrize("preset", ["report", "realistic", "noise"])
def test_pace_is_of_the_preset_the_reference_and_the_files_that_are_asked_for(monkeypatch, preset):
    made, real = [], pace.simulate_3t

    def simulate(target, *, reference, config):
        made.append((target.array.size, reference is not None, config.preset))
        pair = real(target, reference=reference, config=config)
        monkeypatch.setattr(type(pair), "save", lambda self, *paths, overwrite: made.append(paths))
        return pair

    monkeypatch.setattr(pace, "simulate_3t", simulate)
    monkeypatch.setattr(pace, "SIDE", 32)
    config = SimulationConfig(preset=preset)
    assert seconds_per_voxel(config, has_reference=True) > 0
    assert made == [(32**3, True, preset)] * 2
    made.clear()
    assert seconds_per_voxel(config, saves=True) > 0
    assert [len(each) for each in made] == [3, 2, 3, 2]
    assert not made[1][0].parent.exists()
