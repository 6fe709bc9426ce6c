"""What is no T1w image is known by its intensities."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter, shift, zoom

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

SHAPE = (40, 40, 40)
RANDOM = np.random.default_rng(0)
OTHERS = {
    "mask": (np.pad(np.ones((30, 30, 30)), 5), "mask"),
    "labels": (np.pad(np.arange(1, 4).repeat(9000).reshape(30, 30, 30), 5) + 1, "label map"),
    "labels as fractions": (
        np.pad((np.arange(27000) // 9000 + 1).reshape(30, 30, 30) / 3, 5),
        "label",
    ),
    "small mask in a whole volume": (np.pad(np.ones((5, 5, 5)), 50), "mask"),
    "small mask": (np.pad(np.ones((20, 20, 20)), 10), "mask"),
    "mask of a few voxels": (np.pad(np.ones((3, 3, 3)), 18), "mask"),
    "labels in a small image": (
        np.pad(np.arange(1, 13).repeat(144).reshape(12, 12, 12), 14),
        "label map",
    ),
    "labels far from 0": (np.pad(np.arange(3).repeat(9000).reshape(30, 30, 30) + 1.3, 5), "label"),
    "smooth probability map": (
        np.pad(RANDOM.beta(0.4, 0.6, (30, 30, 30)), 5),
        "probability map",
    ),
    "probability map in 8 bits": (
        np.pad((255 * RANDOM.beta(0.4, 0.6, (30, 30, 30))).round(), 5),
        "probability map",
    ),
    "phase within the brain": (
        np.pad(RANDOM.uniform(0, 2 * np.pi, (30, 30, 30)), 5),
        "phase",
    ),
    "probability map": (
        np.pad(RANDOM.uniform(0, 1.6, (30, 30, 30)).clip(0, 1), 5),
        "probability map",
    ),
    "phase in radians": (RANDOM.uniform(-np.pi, np.pi, SHAPE), "phase"),
    "phase in a scanner's units": (RANDOM.integers(0, 4096, SHAPE), "phase"),
    "smoothed probability map": (
        gaussian_filter(
            np.pad(RANDOM.random((6, 6, 6)) > 0.5, 2)
            .repeat(6, 0)
            .repeat(6, 1)
            .repeat(6, 2)
            .astype(float),
            1.5,
        ),
        "probability map",
    ),
    "real part": (
        np.pad(RANDOM.normal(0, 100, (20, 20, 20)), 10) + RANDOM.normal(0, 1, SHAPE),
        "real or imaginary",
    ),
}


@pytest.mark.parametrize(("array", "kind"), OTHERS.values(), ids=OTHERS)
def test_another_kind_of_image_is_refused_by_name(array, kind):
    with pytest.raises(VolumeError, match=f"x: looks like .*{kind}"):
        check_t1w(Volume(array, np.eye(4), name="x"))


@pytest.mark.parametrize("top", [1, 255, 4095])
def test_a_brain_is_no_other_kind(phantom, top):
    check_t1w(phantom.with_array(phantom.array / phantom.array.max() * top))


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (-0.5, 0.5), (-2048, 2047)])
def test_salt_and_pepper_air_of_mp2rage_is_no_phase(phantom, low, high):
    array = np.where(phantom.array > 0, phantom.array, RANDOM.random(phantom.shape))
    check_t1w(phantom.with_array(low + (high - low) * array))


@pytest.mark.parametrize("axes", [(0,), (0, 1, 2)])
def test_a_scan_enlarged_by_nearest_neighbour_is_no_label_map(phantom, axes):
    array = phantom.array * RANDOM.uniform(0.8, 1, phantom.shape)
    array = (array * 255).round()
    for axis in axes:
        array = array.repeat(4, axis)
    check_t1w(Volume(array, np.eye(4)))


def test_a_scan_with_white_matter_capped_is_no_probability_map(phantom):
    array = (phantom.array * RANDOM.uniform(0.8, 1, phantom.shape) * 200).round()
    check_t1w(phantom.with_array(np.minimum(array, np.percentile(array[array > 0], 65))))


def test_a_scan_of_whole_numbers_with_an_offset_is_no_label_map(phantom):
    array = phantom.array * RANDOM.uniform(0.8, 1, phantom.shape)
    check_t1w(phantom.with_array((array * 255).round() + 1000))


@pytest.fixture(scope="module")
def head():
    """A brain-like ball as large as a scan: dark at its rim, with texture; and a phase."""
    grid = np.indices((104, 104, 104), dtype=np.float32) / 51.5 - 1
    radius = np.sqrt((grid**2).sum(axis=0))
    folds = np.sin(40 * grid[0]) * np.sin(40 * grid[1]) * np.sin(40 * grid[2])
    texture = np.random.default_rng(1).normal(0, 0.1, radius.shape)
    tissue = np.clip(1 + folds + texture, 0.2, None) * np.clip((0.9 - radius) * 8, 0.1, 1)
    return tissue, radius < 0.9, 4 * grid[0] + 3 * grid[1] * grid[2]


def masked(head, array):
    return Volume(np.where(head[1], array, 0), np.eye(4), name="x")


@pytest.mark.parametrize("part", [np.cos, np.sin])
def test_real_and_imaginary_part_within_a_mask_are_refused_by_name(head, part):
    with pytest.raises(VolumeError, match="looks like a real or imaginary part"):
        check_t1w(masked(head, 100 * head[0] * part(head[2])))


def test_a_real_part_with_an_offset_is_refused_by_name():
    array = np.pad(RANDOM.normal(0, 100, (20, 20, 20)), 10) + RANDOM.normal(0, 1, SHAPE) + 500
    with pytest.raises(VolumeError, match="looks like a real or imaginary part"):
        check_t1w(Volume(array, np.eye(4)))


def test_a_phase_in_other_units_within_a_mask_is_refused_by_name(head):
    phase = 1000 * np.angle(np.exp(1j * (20 * head[2])))
    with pytest.raises(VolumeError, match="looks like a phase image"):
        check_t1w(masked(head, phase))


def test_a_map_of_statistics_within_a_mask_is_refused_by_name(head):
    scores = gaussian_filter(RANDOM.normal(0, 1, head[0].shape), 1.5)
    with pytest.raises(VolumeError, match=r"a map \(on both sides of 0, up to its rim\)"):
        check_t1w(masked(head, scores))


@pytest.mark.parametrize("full", [1000, 32767])
def test_a_probability_map_in_whole_numbers_is_refused_by_name(full):
    parts = np.pad(RANDOM.beta(0.4, 0.6, (30, 30, 30)), 5)
    with pytest.raises(VolumeError, match="looks like a probability map"):
        check_t1w(Volume((full * parts / parts.max()).round(), np.eye(4)))


@pytest.mark.parametrize("offset", [0, 300])
def test_a_field_map_within_a_mask_is_refused_by_name(head, offset):
    with pytest.raises(VolumeError, match="looks like a field map"):
        check_t1w(masked(head, 30 * head[2] + offset))


def test_a_brain_z_scored_within_its_mask_is_no_part(head):
    inside = head[0][head[1]]
    for array in (head[0], (head[0] - inside.mean()) / inside.std()):
        check_t1w(masked(head, array))


@pytest.mark.parametrize("n_empty", [0, 20])
def test_a_slab_of_a_brain_z_scored_within_its_mask_is_no_part(head, n_empty):
    """Where a slab ends, the brain goes on: its cut faces are no rim."""
    brain, mask = head[0], head[1]
    scored = masked(head, (brain - brain[mask].mean()) / brain[mask].std()).array
    check_t1w(
        Volume(np.pad(scored[:, :, 46:53], ((100, 100), (100, 100), (n_empty, n_empty))), np.eye(4))
    )


@pytest.mark.parametrize("top", [1, 255])
def test_a_brain_that_was_enlarged_and_scaled_is_no_probability_map(head, top):
    brain = zoom(np.where(head[1], head[0], 0)[20:84, 20:84, 20:84], 1.5, order=1)
    check_t1w(Volume(top * brain / brain.max(), np.eye(4)))


def test_a_brain_that_was_resampled_by_splines_is_no_part():
    """Splines leave waves in the air, on both sides of 0."""
    brain = load_template()
    moved = shift(brain.array, (0.4, 0.3, 0.2), order=3)
    assert 0.3 < (moved[brain.array == 0] < 0).mean() < 0.7
    check_t1w(brain.with_array(moved))


def test_a_slab_of_a_brain_with_its_median_at_0_is_no_part():
    """What is 0 within it is tissue all the same, and has no rim."""
    slab = load_template().array[:, :, 60:110]
    inside = slab > 0
    check_t1w(Volume(np.where(inside, slab - np.median(slab[inside]), 0), np.eye(4)))


@pytest.mark.parametrize("top", [1, 100, 255])
def test_a_brain_that_was_capped_and_smoothed_is_no_probability_map(top):
    """Its maximum is what stands for certain, and a faint rim lies around it."""
    brain = load_template()
    capped = np.minimum(brain.array, np.percentile(brain.array[brain.array > 0], 85))
    check_t1w(brain.with_array(top * gaussian_filter(capped / capped.max(), 1.5)))


@pytest.fixture(scope="module")
def tissues(head):
    """Three tissues in layers that fold."""
    layers = gaussian_filter(np.where(head[1], head[0], 0), 3)
    return np.digitize(layers, np.percentile(layers[head[1]], (20, 60))) * head[1] + head[1]


@pytest.mark.parametrize("factor", [0.93, 1.21])
def test_labels_that_were_resampled_linearly_are_refused_by_name(tissues, factor):
    moved = zoom(tissues.astype(np.float32), factor, order=1)
    with pytest.raises(VolumeError, match="looks like a mask or label map that was resampled"):
        check_t1w(Volume(moved, np.eye(4)))


@pytest.mark.parametrize("lowest", [-1, 0])
def test_a_mask_that_was_resampled_by_splines_is_refused_by_name(tissues, lowest):
    """The waves around it lie on both sides of 0, unless they were cut off there."""
    moved = shift((tissues > 0).astype(np.float32), (0.4, 0.3, 0.2), order=3).clip(lowest)
    with pytest.raises(VolumeError, match="looks like a mask that was resampled"):
        check_t1w(Volume(moved, np.eye(4)))


@pytest.mark.parametrize("power", [1, 0.4])
def test_a_capped_brain_that_was_resampled_by_splines_is_no_mask(power):
    """Half of it has one value."""
    brain = load_template()
    array = brain.array[::2, ::2, ::2]
    capped = np.minimum(array, np.percentile(array[array > 0], 55)) ** power
    check_t1w(Volume(shift(capped, (0.4, 0.3, 0.2), order=3), brain.affine))


def test_a_brain_of_few_grey_values_is_no_label_map():
    """As per cent in whole numbers, where a few vessels are twice as bright."""
    brain = load_template()
    check_t1w(brain.with_array((brain.array / brain.array.max() * 45).round()))


@pytest.mark.parametrize("step", [0, 3 / 65535])
def test_labels_of_tissue_with_their_mixtures_are_refused_by_name(head, step):
    """As CAT12's p0 and BrainSuite's pvc.frac: fluid 1, grey 2, white matter 3, and between."""
    layers = gaussian_filter(np.where(head[1], head[0], 0), 1.5)
    tissues = np.digitize(layers, np.percentile(layers[head[1]], (20, 60))) + 1.0
    mixed = np.where(head[1], gaussian_filter(tissues, 0.6), 0)
    stored = np.round(mixed / step) * step if step else mixed
    with pytest.raises(VolumeError, match="looks like a map of tissue labels and their mixtures"):
        check_t1w(Volume(stored, np.eye(4)))


def test_a_brain_whose_air_is_filled_far_below_it_is_no_probability_map(head):
    brain = load_template()
    check_t1w(brain.with_array(np.where(brain.array > 0, 255 * brain.array, -9999)))


def test_a_file_that_is_no_scan_is_named_by_its_path(tmp_path):
    path = save_volume(Volume(np.pad(np.ones((30, 30, 30)), 5), np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(VolumeError, match=f"^{path}: looks like a mask"):
        check_t1w(load_volume(path))


@pytest.mark.parametrize(("intent", "what"), [(1002, "labels"), (3, "a map of statistics")])
def test_what_the_header_calls_no_scan_is_refused_by_name(tmp_path, intent, what):
    image = nibabel.Nifti1Image(load_template().array, np.eye(4))
    image.header.set_intent(intent, allow_unknown=True)
    nibabel.save(image, tmp_path / "x.nii")
    with pytest.raises(VolumeError, match=rf"holds {what} by its header \(NIfTI intent {intent}\)"):
        check_t1w(load_volume(tmp_path / "x.nii"))


def test_a_head_whose_air_has_few_values_is_no_label_map(head):
    """As of scans in 8 bits, filtered or at a lower resolution."""
    air = np.digitize(gaussian_filter(head[2], 2), (-2, 0, 2)) + 1
    check_t1w(Volume(np.where(head[1], 60 * head[0] + 30, air).round(), np.eye(4)))


@pytest.mark.parametrize(("is_signed", "smoothing"), [(False, 0.0), (True, 0.0), (True, 1.0)])
def test_a_map_of_distances_is_refused_by_name(tissues, is_signed, smoothing):
    inside = tissues > 0
    apart = distance_transform_edt(~inside) - is_signed * distance_transform_edt(inside)
    with pytest.raises(VolumeError, match="looks like a map of distances"):
        check_t1w(Volume(gaussian_filter(apart, smoothing), np.eye(4)))


def test_a_whole_scan_with_white_matter_capped_is_no_label_map(head):
    array = np.where(head[1], 100 * head[0], 0).round()
    check_t1w(Volume(np.minimum(array, np.percentile(array[head[1]], 60)), np.eye(4)))


@pytest.mark.parametrize("offset", [0, 30_000, 1e6])
def test_scan_with_a_large_offset_is_no_probability_map(offset):
    brain = load_template()
    check_t1w(brain.with_array(brain.array * 4000 + offset))


def test_probability_map_with_an_offset_is_one():
    array, _ = OTHERS["smooth probability map"]
    with pytest.raises(VolumeError, match="probability map"):
        check_t1w(Volume((array * 255).round() + 300, np.eye(4), name="map"))


def test_labels_that_begin_half_a_step_above_the_background_are_labels():
    """Their step is that between them and the background, too."""
    i, j, k = np.indices((30, 30, 30))
    labels = np.pad((2 * i + 30 * j + 7 * k) // 20 + 0.5, 5)
    with pytest.raises(VolumeError, match="label map"):
        check_t1w(Volume(labels, np.eye(4), name="labels"))


def test_json_beside_the_source_of_a_computed_volume_says_nothing_of_it(tmp_path):
    brain = load_template()
    path = save_volume(brain, tmp_path / "scan.nii")
    (tmp_path / "scan.json").write_text(json.dumps({"ImageType": ["ORIGINAL", "PRIMARY", "P"]}))
    scan = load_volume(path)
    with pytest.raises(VolumeError, match="is no magnitude image"):
        check_t1w(scan)
    check_t1w(replace(scan, geometry=replace(scan.geometry, computed=True)))
