"""Presets hold the report's numbers; settings are checked before a training starts."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from napari_mri7t.engine.networks.wavelets import WaveletTransform
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training.config import (
    PRESETS,
    TrainConfig,
    find_preset,
    from_dict,
    network_settings,
    settings_of,
    with_settings,
)
from napari_mri7t.engine.training.losses import (
    adversarial_loss,
    discriminator_loss,
    pixel_loss,
    ssim_loss,
    synthesis_loss,
)


def test_report_decays_over_ten_optimiser_steps_as_its_code_had_it():
    rates = [PRESETS["report"].learning_rate_at(step) for step in (0, 5, 10, 119)]
    assert rates == pytest.approx([1e-3, 5.5e-4, 1e-4, 1e-4])


def test_report_text_decays_over_ten_epochs():
    rates = [PRESETS["report-text"].learning_rate_at(step) for step in (0, 60, 120)]
    assert rates == pytest.approx([1e-3, 5.5e-4, 1e-4])


def test_step_schedule_multiplies_and_cosine_ends_at_the_final_rate():
    stepwise = TrainConfig(schedule="step", decay_steps=10, warmup_steps=0, learning_rate=1.0)
    assert [stepwise.learning_rate_at(s) for s in (9, 10, 20)] == pytest.approx([1, 0.8, 0.64])
    cosine = TrainConfig(n_steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.0)
    assert [cosine.learning_rate_at(s) for s in (0, 50, 100)] == pytest.approx([0.1, 0.5, 0])


def test_warm_up_of_a_short_training_takes_a_third_of_it():
    short = TrainConfig(n_steps=12, warmup_steps=50, learning_rate=1.0, final_learning_rate=1.0)
    rates = [short.learning_rate_at(step) for step in (0, 3, 4, 11)]
    assert rates == pytest.approx([0.25, 1, 1, 1])
    assert TrainConfig(n_steps=1, learning_rate=1.0).learning_rate_at(0) == 1


def test_settings_are_read_from_text():
    config = with_settings(
        find_preset("best"),
        {"n_steps": "50", "learning_rate": "2e-4", "flips": "no", "planes": "axial,coronal"}
        | {"inference.step": "3", "inference.planes": "sagittal", "inference.flips": "yes"},
    )
    assert config.inference == SynthesisConfig(step=3, planes=("sagittal",), flips=True)
    assert (config.n_steps, config.learning_rate) == (50, 2e-4)
    assert (config.flips, config.planes) == (False, ("axial", "coronal"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": "5"}, "'steps' is unknown; choose one of start, n_steps"),
        ({"n_steps": "many"}, "n_steps: 'many' is not a whole number"),
        ({"n_steps": "0"}, "n_steps must be at least 1, got 0"),
        ({"patch_size": "60"}, "multiple of 8, got 60"),
        ({"schedule": "quick"}, "schedule must be one of linear"),
        ({"planes": "oblique"}, "planes must be some of axial"),
        ({"average_decay": "1"}, "average_decay must be in"),
        ({"scales": "2"}, "scales must lie in"),
        ({"variance": "-1"}, "variance must be at least 0"),
        ({"weight_decay": "0,01"}, "weight_decay: '0,01' is not a number, such as 0.5"),
        ({"flips": "perhaps"}, "flips: 'perhaps' is not true or false"),
        ({"gradient_clip": "inf"}, "gradient_clip must be a finite number, got inf"),
        ({"inference.step": "one"}, "inference.step: 'one' is not a whole number"),
        ({"inference.step": "0"}, "step must be at least 1, got 0"),
        ({"inference.device": "cpu"}, "'inference.device' is unknown; .* inference.step, "),
    ],
)
def test_setting_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        with_settings(find_preset("best"), settings)


def test_unknown_preset_is_answered_with_the_choices():
    with pytest.raises(
        ValueError, match="choose one of report, report-text, qu2020, best, scan, gan"
    ):
        find_preset("good")


@pytest.mark.parametrize(
    ("text", "seed"), [("9007199254740993", 2**53 + 1), ("1e4", 10_000), ("3.0", 3)]
)
def test_whole_number_is_read_exactly(text, seed):
    assert with_settings(TrainConfig(), {"seed": text}).seed == seed


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_settings_survive_json(name):
    import json
    from dataclasses import asdict

    assert from_dict(json.loads(json.dumps(asdict(PRESETS[name])))) == PRESETS[name]


def test_unknown_key_in_json_is_refused():
    for values in ({"colour": 1}, {"inference": {"colour": 1}}):
        with pytest.raises(ValueError, match="unknown settings colour"):
            from_dict(values)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_settings_survive_text(name):
    texts = {
        key: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for key, value in settings_of(PRESETS[name]).items()
    }
    assert with_settings(TrainConfig(), texts) == PRESETS[name]


TARGET = torch.tensor([[[[0.0, 0.5], [1.0, 0.0]]]])
ESTIMATE = torch.tensor([[[[0.2, 0.4], [0.7, 0.4]]]])


@pytest.mark.parametrize(
    ("weight", "kind", "expected"),
    [
        (1.0, "mae", (0.2 + 0.1 + 0.3 + 0.4) / 4),
        (0.0, "mae", (0.1 + 0.3) / 2),  # the brain alone: the report's masked loss
        (0.5, "mae", (0.1 + 0.1 + 0.3 + 0.2) / 3),
        (0.0, "mse", (0.01 + 0.09) / 2),
    ],
)
def test_pixel_loss_weighs_the_background(weight, kind, expected):
    config = TrainConfig(background_weight=weight, pixel_loss=kind)
    assert pixel_loss(ESTIMATE, TARGET, config).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("weight", "squared"), [(1.0, 0.3 / 4), (0.0, 0.1 / 2)])
def test_psnr_loss_is_the_mean_psnr_of_the_patches(weight, squared):
    config = TrainConfig(background_weight=weight, pixel_loss="psnr")
    tenth = (TARGET - ESTIMATE) / 10  # a patch with a hundredth of the squared error: 20 dB more
    estimate, target = torch.cat([ESTIMATE, TARGET - tenth]), torch.cat([TARGET, TARGET])
    psnr = [-10 * math.log10(squared), 20 - 10 * math.log10(squared)]
    loss = pixel_loss(estimate, target, config).item()
    assert -10 * loss == pytest.approx(sum(psnr) / 2, abs=0.01)
    assert math.isfinite(pixel_loss(TARGET, TARGET, config).item()), "of a perfect patch, too"


def test_ssim_loss_is_that_of_scikit_image():
    generator = np.random.default_rng(0)
    target = gaussian_filter(generator.random((32, 32)), 2).astype(np.float32)
    estimate = (target + 0.02 * generator.standard_normal((32, 32))).astype(np.float32)
    _, image = structural_similarity(
        target,
        estimate,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    loss = ssim_loss(torch.from_numpy(estimate)[None, None], torch.from_numpy(target)[None, None])
    # 5e-3: torchmetrics leaves a wider border out of the mean, measured 0.8295 against 0.8271.
    assert loss.item() == pytest.approx(1 - image[5:-5, 5:-5].mean(), abs=5e-3)
    perfect = torch.from_numpy(target)[None, None]
    assert ssim_loss(perfect, perfect).item() == pytest.approx(0, abs=1e-6)


def test_terms_add_up():
    transform = WaveletTransform()
    plain = TrainConfig(pixel_loss="mae", background_weight=1.0)
    with_gradient = TrainConfig(pixel_loss="mae", background_weight=1.0, gradient_weight=2.0)
    with_wavelet = TrainConfig(pixel_loss="mae", background_weight=1.0, wavelet_weight=1.0)
    base = synthesis_loss(ESTIMATE, TARGET, plain, transform).item()
    # Errors by hand: [[.2, -.1], [-.3, .4]]; differences along width .3, .7; along height .5, .5.
    gradient = synthesis_loss(ESTIMATE, TARGET, with_gradient, transform).item() - base
    assert gradient == pytest.approx(2 * (0.5 + 0.5), abs=1e-6)
    # Haar details: (.2-.1+.3-.4)/2 = 0, (.2+.1-.3-.4)/2 = -.2, (.2+.1+.3+.4)/2 = .5.
    wavelet = synthesis_loss(ESTIMATE, TARGET, with_wavelet, transform).item() - base
    assert wavelet == pytest.approx((0 + 0.2 + 0.5) / 3, abs=1e-6)


def test_hinge_losses_by_hand():
    real, synthetic = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0])
    assert discriminator_loss(real, synthetic).item() == pytest.approx(0.25 + 0.5)
    assert adversarial_loss(synthetic).item() == pytest.approx(1.0)


def test_watnet_gives_the_central_slice_where_the_recipe_is_ours():
    assert network_settings("watnet", "best") == {"central_only": True}
    assert network_settings("watnet", "report") == {}
    assert network_settings("basic_cnn", "best") == {}


def test_a_use_of_the_weights_is_no_part_of_what_they_are_learnt_from():
    config = TrainConfig(inference=SynthesisConfig(step=3), checkpoint_steps=7)
    assert config.learnt_from() == TrainConfig().learnt_from()


def test_held_out_estimate_has_the_precision_of_the_training():
    config = TrainConfig(precision="float32", inference=SynthesisConfig(step=3))
    expected = SynthesisConfig(device="cpu", precision="float32", step=3, planes=("axial",))
    assert config.synthesis_config("cpu") == expected


@pytest.mark.parametrize(
    ("name", "value"), [("device", "cuda"), ("precision", "bfloat16"), ("memory_mb", 64)]
)
def test_what_a_study_does_not_set_is_refused_in_its_inference(name, value):
    with pytest.raises(ValueError, match=f"inference.{name} must stay "):
        TrainConfig(inference=SynthesisConfig(**{name: value}))


def test_without_planes_the_held_out_subject_is_estimated_in_axial_slices():
    assert TrainConfig().inference.planes == ("axial",)
    assert with_settings(TrainConfig(), {"inference.planes": ""}).inference.planes == ("axial",)
    both = ("axial", "sagittal")
    assert TrainConfig(inference=SynthesisConfig(planes=both)).inference.planes == both


def test_unknown_pseudo_3t_is_refused():
    with pytest.raises(ValueError, match="pseudo_3t must be one of report, realistic"):
        TrainConfig(pseudo_3t="real")
