from dataclasses import replace

import numpy as np
import pytest

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.metrics.calibration import Calibration
from napari_mri7t.engine.models.card import ModelCard, find_model, read_card
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.uncertainty import (
    calibration_of,
    describe,
    half_width,
    why_uncalibrated,
)
from napari_mri7t.engine.volumes.intensity import Harmonization

FLAT = Calibration(0.9, (0.5,), (4.0,))
UNMAPPED = Harmonization(0.0)


@pytest.fixture
def card() -> ModelCard:
    return read_card(find_model("slice_unet"))


def test_half_width_follows_the_spread() -> None:
    spread = np.full((16, 16, 16), 0.01, np.float32)

    width = half_width(np.full_like(spread, 0.5), spread, FLAT, UNMAPPED)

    np.testing.assert_allclose(width, 0.04, rtol=1e-5)
    assert width.dtype == np.float32


def test_half_width_is_in_the_scan_s_intensities() -> None:
    spread = np.full((16, 16, 16), 0.01, np.float32)
    tones = Harmonization(100.0, np.array([100.0, 300.0, 1100.0]), np.array([0.0, 0.5, 1.0]))

    dark, bright = (
        half_width(np.full_like(spread, level), spread, FLAT, tones) for level in (0.25, 0.75)
    )

    np.testing.assert_allclose(dark, 0.04 * 400, rtol=1e-4)  # 200 of the scan over 0.5 of the model
    np.testing.assert_allclose(bright, 0.04 * 1600, rtol=1e-4)


def test_half_width_at_the_end_of_the_range_is_not_cut() -> None:
    spread = np.full((16, 16, 16), 0.01, np.float32)
    tones = Harmonization(0.0, np.array([0.0, 1000.0]), np.array([0.0, 1.0]))

    width = half_width(np.ones_like(spread), spread, FLAT, tones)

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
