"""The background of a scan is found, whatever the linear scale of its intensities."""

import numpy as np
import pytest

from napari_mri7t import load_model
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.brain import is_brain_extracted
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.scale import find_scale, foreground_of, zeroed
from napari_mri7t.engine.volumes.volume import Volume


@pytest.fixture
def brain():
    steps = np.linspace(-1, 1, 24)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(steps, steps, steps)))
    texture = np.random.default_rng(0).integers(-20, 21, radius.shape)
    array = np.maximum((200 - 260 * radius + texture).round(), 1)  # the darkest is nearly 0
    return Volume(np.where(radius < 0.8, array, 0), np.eye(4))


def z_scored(array):
    inside = array > 0
    scores = (array - array[inside].mean()) / array[inside].std()
    return np.where(inside, scores, 0)


def white_matter_at_0(array):
    """As WhiteStripe leaves a brain whose air was set to 0 before."""
    inside = array > 0
    white = np.percentile(array[inside], 99.5)
    return np.where(inside, (array - white) / (0.05 * white), 0)


SCALES = {
    "offset": lambda x: x + 1000,
    "per cent and below 0": lambda x: x / 2.5 - 40,
    "whole volume z-scored": lambda x: (x - x.mean()) / x.std(),
    "brain z-scored": z_scored,
    "white matter at 0": white_matter_at_0,
    "padding": lambda x: np.where(x > 0, x, -1024),
}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_estimate_is_the_same_on_every_linear_scale(brain, scale):
    other, inside = brain.with_array(scale(brain.array)), brain.array > 0
    model, config = load_model("basic_cnn"), SynthesisConfig(device="cpu", step=3)
    expected, made = (estimate(each, model, config).volume.array for each in (brain, other))
    slope, offset = np.polyfit(brain.array[inside], other.array[inside], 1)
    span = np.ptp(brain.array)
    difference = np.abs((made - offset) / slope - expected)[inside]
    assert np.percentile(difference, 99) < 1e-3 * span
    assert np.array_equal(made[0], other.array[0])


def test_pseudo_3t_of_a_z_scored_brain_is_that_of_the_brain(brain):
    pairs = [simulate_3t(each, seed=0) for each in (brain, brain.with_array(z_scored(brain.array)))]
    np.testing.assert_allclose(pairs[0].target.array, pairs[1].target.array, atol=1e-4)


def test_a_usual_scan_is_left_as_it_is(brain):
    assert zeroed(brain) is brain


def test_a_few_voxels_below_the_background_stay_noise(brain):
    array = brain.array.copy()
    array[0, 0, :3] = -30
    assert find_scale(brain.with_array(array)).is_usual


def test_voxels_whose_integers_overflowed_are_a_warning(brain):
    array = brain.array.copy()
    brightest = array > np.percentile(array, 99.8)
    array[brightest] -= 65_536 * array.max() / 32_768
    scale = find_scale(brain.with_array(array))
    assert scale.is_usual
    (told,) = scale.warnings
    assert told.startswith(f"{brightest.sum()} voxels lie far below the background")
    assert not find_scale(brain).warnings
    assert not find_scale(brain.with_array(z_scored(brain.array))).n_far


@pytest.mark.parametrize("offset", [0, 300])
def test_inverted_intensities_are_refused(brain, offset):
    with pytest.raises(VolumeError, match="inverted"):
        find_scale(brain.with_array(offset - brain.array))


def test_a_few_slices_have_no_border_that_could_be_inverted():
    """The faces of a slab are mostly its outer slices, which may be brighter than the middle."""
    slab = np.random.default_rng(0).uniform(100, 110, (24, 24, 4))
    slab[..., [0, 3]] += 30
    found = find_scale(Volume(slab, np.eye(4)))
    assert found.background < 110, "the darkest, and no error"


@pytest.mark.parametrize("scale", [lambda x: x, *SCALES.values()], ids=["as it is", *SCALES])
def test_foreground_is_the_same_on_every_linear_scale(brain, scale):
    found = foreground_of(brain.with_array(scale(brain.array)))
    assert np.array_equal(found, brain.array > 0)


def test_a_zero_that_had_to_be_guessed_is_a_warning(brain):
    model, config = load_model("basic_cnn"), SynthesisConfig(device="cpu", step=3)
    guessed = "both sides of the background"
    made = [
        estimate(brain.with_array(array), model, config).warnings
        for array in (z_scored(brain.array), brain.array - 40)
    ]
    assert [any(guessed in warning for warning in warnings) for warnings in made] == [True, False]


def test_head_scaled_to_both_sides_of_0_is_not_extracted():
    air = np.random.default_rng(0).uniform(0, 0.1, (20, 20, 20))
    head = air + np.pad(np.ones((12, 12, 12)), 4)
    assert not is_brain_extracted(Volume(head - 0.6, np.eye(4)))
    assert is_brain_extracted(Volume(np.where(head > 1, head, 0) - 0.6, np.eye(4)))


def test_head_whose_air_is_one_value_is_not_extracted():
    axes = np.meshgrid(*(np.linspace(-1, 1, 60),) * 3, indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    brain = np.select([radius < 0.5, radius < 0.95], [1.0, 0.6], 0)
    head = np.select([radius < 0.7, radius < 0.85, radius < 0.95], [brain, 0.1, 0.9], 0)
    for array, is_brain in ((brain, True), (head, False)):
        for offset in (0, -0.5):
            volume = Volume(array + offset, np.diag([2.0, 2, 2, 1]))
            assert is_brain_extracted(volume) is is_brain
    large = Volume(brain, np.diag([4.0, 4, 4, 1]))
    assert not is_brain_extracted(large), "12 litres"


@pytest.fixture
def resampled(brain):
    """Moved by half a voxel in Fourier space: lobes of 10 % around the brain, no constant left."""
    from scipy import ndimage

    spectrum = ndimage.fourier_shift(np.fft.fftn(brain.array), 0.5)
    return brain.with_array(np.fft.ifftn(spectrum).real.astype(np.float32))


def test_lobes_of_resampling_are_no_background(resampled):
    assert resampled.array.min() < -5
    assert find_scale(resampled).is_usual
    assert zeroed(resampled).array.min() == 0
    assert find_scale(resampled.with_array(resampled.array + 1000)).zero == pytest.approx(
        1000, 0.01
    )


@pytest.mark.parametrize("offset", [-300, -5, 0, 5, 300])
def test_any_offset_of_noisy_air_is_found(brain, offset):
    noise = np.random.default_rng(0).normal(0, 3, (2, *brain.shape))
    head = np.hypot(brain.array + noise[0], noise[1]).round() + offset
    assert find_scale(brain.with_array(head)).zero == offset


def test_salt_and_pepper_air_begins_at_its_darkest(brain):
    array = brain.array / brain.array.max() - 0.5
    array[brain.array == 0] = np.random.default_rng(0).uniform(-0.5, 0.5, (brain.array == 0).sum())
    assert find_scale(brain.with_array(array)).zero == array.min()


def test_z_scores_in_whole_numbers_keep_every_voxel_of_the_brain(brain):
    scores = brain.with_array((10 * z_scored(brain.array)).round())
    assert (scores.array[brain.array > 0] == 0).any()
    assert np.array_equal(foreground_of(scores), brain.array > 0)


def test_holes_of_a_z_scored_brain_are_background_as_in_the_brain(brain):
    brain.array[[6, 9, 12, 12], [12, 9, 12, 13], 12] = 0
    scores = brain.with_array(z_scored(brain.array))
    assert np.array_equal(foreground_of(scores), brain.array > 0)


def test_holes_in_whole_z_scores_are_known_by_what_is_around_them_or_their_size(brain):
    array = brain.array.copy()
    array[5:10, 10:15, 10:15] = 2
    array[7, 12, 12] = 0  # where it is dark
    array[14:19, 10:15, 10:15] = 0
    found = foreground_of(brain.with_array((10 * z_scored(array)).round()))
    assert not found[array == 0].any()
    assert np.mean(found != (array > 0)) < 1e-3, "tissue beside the large hole"


def framed(array, *values):
    """Put layers of constant values around an array, the outermost first."""
    framed = array.copy()
    for depth, value in enumerate(values):
        inner = framed[(slice(depth + 1, -depth - 1),) * 3].copy()
        framed[(slice(depth, framed.shape[0] - depth),) * 3] = value
        framed[(slice(depth + 1, -depth - 1),) * 3] = inner
    return framed


def beyond(array, value):
    """Put a value into two corners, as turning a volume does."""
    place = sum(
        weight * axis for weight, axis in zip((1, 0.3, 0.2), np.indices(array.shape), strict=True)
    )
    return np.where((place < 5) | (place > 31), value, array)


OFFSETS = {
    "as it is": lambda x: x,
    "offset": lambda x: x + 500,
    "z-scored": SCALES["whole volume z-scored"],
}
PADDINGS = {
    "-1": lambda x: framed(x, -1),
    "0": lambda x: framed(x, 0),
    "two layers": lambda x: framed(x, -1000, -3),
    "turned": lambda x: beyond(x, -1),
    "turned, bright": lambda x: beyond(x, 3000),
}


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("scale", OFFSETS.values(), ids=OFFSETS)
def test_padding_around_a_scan_is_no_tissue(brain, scale, padding):
    plain = scale(brain.array)
    padded = padding(plain)
    found = find_scale(brain.with_array(padded))
    expected = np.maximum(plain - plain.min(), 0)
    expected[padded != plain] = 0
    np.testing.assert_allclose(found.to_zero(np.float32(padded)), expected, atol=1e-3)
    own = set(np.unique(padded[padded != plain]))
    assert set(found.padding) == set(np.float32(list(own)))
    for value in own:
        assert f"{np.float32(value):g}" in found.warnings[0]


def test_padding_that_a_scan_touches_is_known_by_what_else_it_surrounds(brain):
    cut = brain.array[:, :, brain.shape[2] // 3 :]
    rim = np.concatenate([face.ravel() for face in (cut[0], cut[-1], cut[:, 0], cut[:, -1])])
    touching = np.count_nonzero(cut[:, :, 0]) / (rim.size + 2 * cut[:, :, 0].size)
    assert 0.05 < touching < 0.4
    found = find_scale(Volume(framed(cut + 10, -1000), np.eye(4)))
    assert found.padding == (-1000,)
    assert found.background == 10


def test_grey_values_of_quiet_air_are_no_padding(brain):
    for part in (0.1, 0.3, 0.5):
        air = np.random.default_rng(0).random(brain.shape) < part
        head = np.where(brain.array > 0, brain.array, air)
        assert find_scale(brain.with_array(head)).is_usual


def test_background_below_all_intensities_is_no_warning(brain):
    scale = find_scale(brain.with_array(SCALES["padding"](brain.array)))
    assert scale.background < scale.zero
    assert scale.warnings == ()


def test_dark_tissue_of_a_z_scored_brain_is_no_overflow(brain):
    scored = z_scored(brain.array)
    dark = brain.with_array(np.where(scored < 0, 4 * scored, scored))
    assert dark.array.min() < -dark.array.max()
    (note,) = find_scale(dark).warnings
    assert "z-scores" in note


def test_inverted_intensities_of_any_size_reach_the_check_that_names_them(brain):
    large = np.kron(brain.array, np.ones((3, 3, 3)))
    for inverted in (-large, 1000 - large):
        volume = Volume(inverted.astype(np.float32), np.eye(4))
        check_t1w(volume)
        with pytest.raises(VolumeError, match="the intensities are inverted"):
            find_scale(volume)


def test_an_inverted_brain_in_a_background_of_0_is_refused(brain):
    with pytest.raises(VolumeError, match="the intensities are inverted: multiply them by -1"):
        find_scale(brain.with_array(-brain.array))
