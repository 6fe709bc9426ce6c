"""The whole set of figures: complete, consistent with `compare`, and known by its register."""

from __future__ import annotations

import math
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.metrics import basic, detail, scoring, tissue
from napari_mri7t.engine.volumes.volume import Volume, save_volume


def test_score_keeps_every_figure_of_compare(source, target):
    scores, plain = scoring.score(target, source), basic.compare(target, source)
    for region in ("whole", "brain"):
        assert plain[region].items() <= scores[region].items()


def test_every_figure_of_score_has_its_entry_and_the_reverse(source, target):
    flat = scoring.flatten(scoring.score(target, source))
    assert set(flat) == set(scoring.METRICS)
    assert all(math.isfinite(value) for value in flat.values())


def test_the_reference_decides_what_is_brain_and_which_tissue(source, target):
    """An estimate that is brain everywhere, and in other tones, changes neither."""
    brain = target.array > 0
    odd = target.with_array(np.where(brain, 1 - 0.5 * target.array, 0.3))
    found = scoring.score(target, odd)["brain"]
    assert found == scoring.score(target, odd, mask=target.with_array(brain))["brain"]
    assert found["nrmse"] == pytest.approx(basic.nrmse(target.array, odd.array, mask=brain))
    tissues = tissue.cluster_tissues(target.array, brain)
    assert (found["cnr"], found["cjv"]) == tissue.tissue_contrast(odd.array, tissues)


def test_a_mask_data_range_and_voxel_size_reach_every_figure_they_are_for(source, target):
    half = target.array > 0
    half[: half.shape[0] // 2] = False
    mask = target.with_array(half)
    large = replace(target, affine=np.diag([2, 2, 2, 1]) @ target.affine)
    given = scoring.score(target, source, mask=mask)["brain"]
    x, y = target.array, source.array
    whole = scoring.score(target, source)["brain"]
    assert not {key for key in given if given[key] == whole[key]}
    assert given["hfen"] == detail.hfen(x, y, mask=half)
    assert given["anatomy_correlation"] == tissue.error_anatomy_correlation(x, y, mask=half)
    wide = scoring.score(target, source, data_range=4.0)["brain"]
    assert wide["ssim_3d"] == detail.ssim_3d(x, y, data_range=4.0, mask=x > 0)
    assert wide["ssim_3d"] != whole["ssim_3d"]
    coarse = scoring.score(large, replace(source, affine=large.affine))["brain"]
    assert coarse["gradient_error"] == pytest.approx(whole["gradient_error"] / 2, rel=1e-4)


@pytest.mark.parametrize("shift", [0.1, -0.3])
def test_constant_error_follows_no_anatomy(target, shift):
    scores = scoring.score(target, target.with_array(target.array + np.float32(shift)))["brain"]
    assert (scores["anatomy_correlation"], scores["edge_correlation"]) == (0, 0)


def test_the_brain_leads():
    regions = [key.split("_")[0] for key in scoring.METRICS]
    assert regions == sorted(regions)


def test_figures_that_are_not_defined_are_nan():
    flat = Volume(np.full((12, 12, 3), 0.5, np.float32), np.eye(4), "flat")
    scores = scoring.score(flat, flat.with_array(flat.array + np.float32(0.1)))
    undefined = {name for name, value in scores["brain"].items() if math.isnan(value)}
    assert undefined == {"ssim_3d", "hfen", "cnr", "cjv"}


@pytest.mark.parametrize(
    ("better", "ours", "theirs", "gain"),
    [("higher", 3.0, 2.0, 1.0), ("lower", 3.0, 2.0, -1.0), ("zero", -0.1, 0.4, 0.3)],
)
def test_gain_is_positive_where_ours_is_better(better, ours, theirs, gain):
    metric = scoring.Metric("key", "label", better)
    assert metric.gain(np.array(ours), np.array(theirs)) == pytest.approx(gain)


def test_arrow_points_to_better():
    headings = [scoring.METRICS[k].heading for k in ("brain_psnr", "brain_mae")]
    assert headings == ["PSNR, brain, dB ↑", "MAE, brain ↓"]
    assert scoring.METRICS["brain_cjv"].best_places(np.array([0.5, math.nan, 0.2])) == [2]
    assert scoring.METRICS["brain_cjv"].best_places(np.array([math.nan])) == []


def test_path_image_and_volume_give_the_same_scores(source, target, tmp_path):
    paths = [save_volume(v, tmp_path / f"{n}.nii") for n, v in enumerate((target, source, target))]
    expected = scoring.score(target, source, mask=target)
    assert scoring.score(paths[0], paths[1], mask=paths[2]) == expected
    images = [nibabel.load(path) for path in paths]
    assert scoring.score(images[0], images[1], mask=images[2]) == expected


def test_progress_ends_at_its_total(source, target):
    records = []
    scoring.score(target, source, report=records.append)
    assert [record.done for record in records] == list(range(records[0].total + 1))


@pytest.mark.parametrize("value", [np.arange(16) < 2, np.arange(16) > 14], ids=["rim", "end"])
def test_error_about_the_arrays_names_the_volumes(value):
    rng = np.random.default_rng(0)
    reference = Volume(rng.random((16, 16, 16), np.float32), np.eye(4), "seven")
    mask = Volume(np.zeros_like(reference.array) + value[:, None, None], np.eye(4), "wrong mask")
    estimate = reference.with_array(reference.array, name="made")
    with pytest.raises(ValueError, match=r"^seven and made in wrong mask: "):
        scoring.score(reference, estimate, mask=mask)
    with pytest.raises(ValueError, match=r"^seven and made: data_range"):
        basic.compare(reference, estimate, data_range=0)
