"""Settings of the wrong type are refused by name, before any work."""

import math

import numpy as np
import pytest

import napari_mri7t as mri7t
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.training.config import TrainConfig


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SynthesisConfig(step=1.5), "step must be a whole number, got 1.5"),
        (lambda: SynthesisConfig(step=True), "step must be a whole number, got True"),
        (lambda: SynthesisConfig(end_slices="2"), "end_slices must be a whole number, got '2'"),
        (lambda: SynthesisConfig(planes="axial"), "planes must be a list of text, got 'axial'"),
        (lambda: SynthesisConfig(planes=([],)), "planes must be a list of text"),
        (lambda: SynthesisConfig(planes=("axial",) * 100_000), "planes must be different"),
        (lambda: SynthesisConfig(flips=1), "flips must be true or false, got 1"),
        (lambda: SynthesisConfig(device=None), "device must be text, got None"),
        (lambda: SynthesisConfig(memory_mb=2**40), "memory_mb must be 1 to"),
        (lambda: SimulationConfig(variance=math.nan), "variance must be a finite number, got nan"),
        (lambda: SynthesisConfig(noise_factor=10**400), "noise_factor must be a finite number"),
        (lambda: TrainConfig(n_steps=1.5), "n_steps must be a whole number, got 1.5"),
        (lambda: TrainConfig(n_steps=10**400), r"n_steps must be at most 1e\+18"),
        (lambda: TrainConfig(batch_size=True), "batch_size must be a whole number, got True"),
        (lambda: TrainConfig(flips="no"), "flips must be true or false, got 'no'"),
        (lambda: TrainConfig(scales=(True,)), "scales must be a list of a finite number"),
        (lambda: TrainConfig(learning_rate=10**400), "learning_rate must be a finite number"),
        (lambda: SimulationConfig(variance=1e18), "variance must be 0 to 1"),
        (lambda: SimulationConfig(seed=2**64), "seed must be 0 to"),
        (lambda: SimulationConfig(seed=0.5), "seed must be a whole number"),
        (lambda: OutputConfig(space=[]), r"space must be text, got \[\]"),
        (lambda: PreparationConfig(prepare={}), "prepare must be text"),
        (lambda: PreparationConfig(keep=7), "keep must be a path, got 7"),
        (lambda: PreparationConfig(allow_out_of_domain="no"), "must be true or false"),
    ],
)
def test_setting_of_another_type_or_beyond_its_bound_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert len(str(caught.value)) < 250


def test_numbers_of_numpy_are_numbers():
    assert SynthesisConfig(step=np.int64(3)).step == 3
    assert SimulationConfig(variance=np.float32(0.5), seed=np.uint8(1)).seed == 1
    assert SimulationConfig(variance=1).variance == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda scan: mri7t.synthesize(scan, "basic_cnn", {"step": 3}),
            "config: expected SynthesisConfig, got dict",
        ),
        (
            lambda scan: mri7t.synthesize(scan, "basic_cnn", preparation="none"),
            "preparation: expected PreparationConfig or PreparationPlan, got str",
        ),
        (lambda scan: mri7t.synthesize(scan, output="mni"), "output: expected OutputConfig"),
        (
            lambda _: mri7t.evaluate("run", baselines=["gaussian"]),
            "baselines: expected Mapping, got list",
        ),
        (lambda _: mri7t.train("a", "b", config={"n_steps": 3}), "config: expected TrainConfig"),
        (lambda scan: mri7t.prepare(scan, {}), "preparation: expected PreparationConfig or"),
        (lambda scan: mri7t.simulate_3t(scan, config={}), "config: expected SimulationConfig"),
        (lambda scan: mri7t.open_preview(scan, config={}), "config: expected SynthesisConfig"),
        (lambda _: mri7t.pair("a", "b", config={}), "config: expected PairConfig, got dict"),
        (lambda _: mri7t.repeat("a.json", sources={}), "sources: expected SourcePaths, got dict"),
        (lambda _: mri7t.export_model("a", "b", stress="c"), "stress: expected Mapping, got str"),
    ],
)
def test_argument_of_another_type_is_refused_by_its_name(phantom, call, words):
    with pytest.raises(TypeError, match=words):
        call(phantom)
