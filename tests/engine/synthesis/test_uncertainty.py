import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.metrics.calibration import Calibration
from napari_mri7t.engine.models.card import ModelCard, find_model, read_card
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.synthesis.uncertainty import (
    calibration_of,
    describe,
    half_width,
    why_uncalibrated,
)
from napari_mri7t.engine.volumes.intensity import Harmonization, brain_quantiles
from napari_mri7t.engine.volumes.volume import Volume, load_volume

FLAT = Calibration(0.9, (0.5,), (4.0,))
UNMAPPED = Harmonization(0.0)


@pytest.fixture
def card() -> ModelCard:
    return read_card(find_model("slice_unet"))


def test_half_width_follows_the_spread() -> None:
    spread = np.full((16, 16, 16), 0.01, np.float32)

    width = half_width(*2 * (np.full_like(spread, 0.5),), spread, FLAT, UNMAPPED)

    np.testing.assert_allclose(width, 0.04, rtol=1e-5)
    assert width.dtype == np.float32


def test_half_width_is_in_the_scan_s_intensities() -> None:
    spread = np.full((16, 16, 16), 0.01, np.float32)
    tones = Harmonization(100.0, np.array([100.0, 300.0, 1100.0]), np.array([0.0, 0.5, 1.0]))

    dark, bright = (
        half_width(*2 * (np.full_like(spread, level),), spread, FLAT, tones)
        for level in (0.25, 0.75)
    )

    np.testing.assert_allclose(dark, 0.04 * 400, rtol=1e-4)  # 200 of the scan over 0.5 of the model
    np.testing.assert_allclose(bright, 0.04 * 1600, rtol=1e-4)


def test_half_width_at_the_end_of_the_range_is_not_cut() -> None:
    spread = np.full((16, 16, 16), 0.01, np.float32)
    tones = Harmonization(0.0, np.array([0.0, 1000.0]), np.array([0.0, 1.0]))

    width = half_width(*2 * (np.ones_like(spread),), spread, FLAT, tones)

    np.testing.assert_allclose(width, 40, rtol=1e-4)


def test_the_default_of_a_calibrated_model_is_accepted(card: ModelCard) -> None:
    assert why_uncalibrated(card, SynthesisConfig(uncertainty=True)) is None
    assert calibration_of(card, SynthesisConfig()).interval == 0.9


@pytest.mark.parametrize(
    "changes", [{"step": 3}, {"planes": ("axial", "coronal")}, {"flips": True}]
)
def test_settings_that_change_the_spread_are_refused(
    card: ModelCard, changes: dict[str, object]
) -> None:
    with pytest.raises(ModelError, match="calibrated with step 1, planes axial, flips False"):
        calibration_of(card, SynthesisConfig(**changes))  # type: ignore[arg-type]


def test_a_model_without_calibration_says_so_and_names_one_that_has_it(card: ModelCard) -> None:
    own = replace(card, name="own", uncertainty={})

    with pytest.raises(ModelError, match=r"own: .*never calibrated.*choose .*slice_unet"):
        calibration_of(own, SynthesisConfig())


def test_a_damaged_calibration_names_the_model(card: ModelCard) -> None:
    damaged = replace(card, uncertainty=card.uncertainty | {"factor": [1]})

    with pytest.raises(ModelError, match="slice_unet: its card has"):
        calibration_of(damaged, SynthesisConfig())


def test_a_sidecar_says_what_the_numbers_are(card: ModelCard) -> None:
    facts = describe(card)

    assert facts["Units"] == "arbitrary"
    assert "90 % interval" in facts["Description"]
    assert facts["Calibration"]["interval"] == 0.9
    assert 0.88 <= facts["Calibration"]["coverage"] <= 0.92


def test_the_card_s_intervals_hold_what_was_asked_of_them(card: ModelCard) -> None:
    held_out = card.uncertainty["held_out"]

    assert len(held_out) == 10
    assert all(0.85 <= part <= 0.95 for part in held_out.values())
    assert 0.88 <= np.mean(list(held_out.values())) <= 0.92


QUICK = SynthesisConfig(device="cpu", precision="float32", uncertainty=True)


class Apart(nn.Module):
    """Three estimates of a slice that differ by 0.01 from one to the next."""

    n_slices = 3
    n_outputs = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.tensor([-0.01, 0.0, 0.01]).view(1, 3, 1, 1)


class Mirrored(nn.Module):
    """One estimate, brighter from left to right: the mirror image's differs."""

    n_slices = 1
    n_outputs = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.02 * (torch.arange(x.shape[-1]) >= x.shape[-1] / 2)


def calibrated(network: nn.Module, volume: Volume, **settings: object) -> Model:
    """Return a model whose half-width is four times the spread, whatever the tone."""
    known = {"step": 1, "planes": ["axial"], "flips": False} | settings
    card = ModelCard(
        name="own",
        title="",
        network="basic_cnn",
        n_parameters=0,
        preprocessing={
            "voxel_size_mm": [1, 1, 1],
            "brain_extracted": True,
            "intensity_quantiles": brain_quantiles(volume.array).tolist(),
        },
        training={},
        metrics={},
        intended_use="",
        sha256="",
        uncertainty={"settings": known, "interval": 0.9, "intensity": [0.5], "factor": [4.0]},
    )
    return Model("own", network.eval(), card)


def test_uncertainty_is_the_spread_of_a_slice_s_predictions_times_the_factor(
    phantom: Volume,
) -> None:
    volume = phantom.with_array(phantom.array * 0.6)

    made = estimate(volume, calibrated(Apart(), volume), QUICK)

    assert made.uncertainty is not None
    i, j, k = (n // 2 for n in volume.shape)
    spread = 0.01 * np.sqrt(2 / 3)  # of -0.01, 0 and 0.01
    assert made.uncertainty.array[i, j, k] == pytest.approx(4 * spread, rel=0.02)
    assert not made.uncertainty.array[volume.array == 0].any()
    assert made.uncertainty.name == f"{volume.name}_uncertainty"


def test_the_estimate_is_the_same_with_and_without_uncertainty(phantom: Volume) -> None:
    volume = phantom.with_array(phantom.array * 0.6)
    model = calibrated(Apart(), volume)

    with_it, without = (
        estimate(volume, model, replace(QUICK, uncertainty=asked)) for asked in (True, False)
    )

    np.testing.assert_array_equal(with_it.volume.array, without.volume.array)
    assert without.uncertainty is None
    assert with_it.settings == without.settings


def test_mirror_images_serve_a_network_that_estimates_each_slice_once(phantom: Volume) -> None:
    volume = phantom.with_array(phantom.array * 0.6)
    model = calibrated(Mirrored(), volume, flips=True)

    made = estimate(volume, model, replace(QUICK, flips=True, crop=False))

    assert made.uncertainty is not None
    inside = made.uncertainty.array[volume.array > 0]
    np.testing.assert_allclose(np.median(inside), 4 * 0.01, rtol=0.02)


def test_end_slices_that_stay_as_in_the_scan_have_no_uncertainty(phantom: Volume) -> None:
    volume = phantom.with_array(phantom.array * 0.6)

    made = estimate(volume, calibrated(Apart(), volume), replace(QUICK, end_slices=9))

    assert made.uncertainty is not None
    assert not made.uncertainty.array[..., :9].any()
    assert not made.uncertainty.array[..., -9:].any()
    assert made.uncertainty.array[..., 9:-9].any()


def test_uncertainty_grows_with_the_scan_s_scale(phantom: Volume) -> None:
    volume = phantom.with_array(phantom.array * 0.6)
    model = calibrated(Apart(), volume)

    plain, scaled = (
        estimate(volume.with_array(volume.array * scale), model, QUICK) for scale in (1, 500)
    )

    assert plain.uncertainty is not None
    assert scaled.uncertainty is not None
    inside = plain.uncertainty.array > 0.01
    ratio = scaled.uncertainty.array[inside] / plain.uncertainty.array[inside]
    assert np.median(ratio) == pytest.approx(500, rel=0.1)


def test_an_uncalibrated_model_is_refused_before_the_preparation(
    phantom: Volume, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("napari_mri7t.engine.synthesis.scan.prepare_scan")

    with pytest.raises(ModelError, match="never calibrated"):
        synthesize(phantom, load_model(tiny_model), QUICK)


def test_both_files_are_written_with_their_sidecars(phantom: Volume, tmp_path: Path) -> None:
    volume = phantom.with_array(phantom.array * 0.6)
    made = estimate(volume, calibrated(Apart(), volume), QUICK)
    assert made.uncertainty is not None

    made.save(tmp_path / "brain.nii.gz", tmp_path / "map.nii.gz")

    np.testing.assert_array_equal(
        load_volume(tmp_path / "map.nii.gz").array, made.uncertainty.array
    )
    facts = json.loads((tmp_path / "map.json").read_text())
    assert facts["GeneratedBy"][0]["Description"] == "uncertainty"
    assert facts["Units"] == "arbitrary"
    assert "not for diagnosis" in facts["Notice"]
    assert "uncertainty" not in facts["Settings"]
    assert (tmp_path / "brain.json").exists()


def test_a_map_that_was_not_asked_for_cannot_be_saved(phantom: Volume, tmp_path: Path) -> None:
    volume = phantom.with_array(phantom.array * 0.6)
    made = estimate(volume, calibrated(Apart(), volume), replace(QUICK, uncertainty=False))

    with pytest.raises(ValueError, match="no uncertainty"):
        made.save(tmp_path / "brain.nii.gz", tmp_path / "map.nii.gz")
    assert not list(tmp_path.iterdir())
