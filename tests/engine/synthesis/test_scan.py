"""Raw scans: the result lies where it was requested, and its quality can be checked."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from napari_mri7t.engine.errors import DeviceError, Mri7tError, VolumeError
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.preparation import checks, quality
from napari_mri7t.engine.preparation import prepare as prepare_module
from napari_mri7t.engine.preparation.domain import contrast_distance
from napari_mri7t.engine.preparation.prepare import (
    PreparationConfig,
    plan_preparation,
)
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.quality import registration_warnings
from napari_mri7t.engine.preparation.registration import save_transform
from napari_mri7t.engine.preparation.steps import EXTRACTION, REGISTRATION, STEPS, Decision
from napari_mri7t.engine.report import planes
from napari_mri7t.engine.report.quality_page import write_quality_page
from napari_mri7t.engine.synthesis import scan as module
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.scan import (
    ReadyScan,
    as_given,
    check_ends,
    from_mni,
    synthesize,
    synthesize_prepared,
    to_mni,
)
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.brain import foreground_mask
from napari_mri7t.engine.volumes.intensity import brain_quantiles
from napari_mri7t.engine.volumes.scale import Scale
from napari_mri7t.engine.volumes.volume import Volume, load_volume

HEAD_MM = 4.0  # as conftest draws it
CPU = SynthesisConfig(device="cpu", precision="float32")


class Same(nn.Module):
    """Returns the three slices it sees."""

    n_slices = 3
    n_outputs = 3

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x


class Wider(Same):
    """Returns what it sees with its neighbours: something beside a brain."""

    def forward(self, x):
        return nn.functional.avg_pool2d(x, 3, stride=1, padding=1)


def model_of(volume):
    card = ModelCard(
        name="same",
        title="",
        network="basic_cnn",
        n_parameters=0,
        preprocessing={
            "voxel_size_mm": [1, 1, 1],
            "brain_extracted": True,
            "intensity_quantiles": brain_quantiles(volume.array / volume.array.max()).tolist(),
        },
        training={},
        metrics={},
        intended_use="",
        sha256="",
    )
    return Model("same", Same().eval(), card)


@pytest.fixture(autouse=True)
def _on_template(monkeypatch, head_brain):
    for user in (checks, quality, planes):
        monkeypatch.setattr(user, "load_template", lambda: head_brain)


@pytest.fixture
def prepared(head, tmp_path):
    scan, mask = head
    decisions = dict.fromkeys(STEPS, Decision.COMPUTE)
    return Prepared(scan, scan, mask, np.eye(4), 0.7, decisions)


@pytest.mark.parametrize("via", ["scan", "mni"])
def test_result_lies_on_the_scan_in_its_own_range(head, mask_file, tmp_path, via):
    scan, mask = head
    scan = replace(scan, array=gaussian_filter(scan.array, 1))
    identity = tmp_path / "identity.txt"
    save_transform(np.eye(4), identity)
    preparation = PreparationConfig(
        prepare="none", mask=mask_file, transform=identity, allow_out_of_domain=True
    )
    made = synthesize(scan, model_of(scan), CPU, preparation, OutputConfig(via=via))
    result = made.volume
    np.testing.assert_array_equal(result.affine, scan.affine)
    np.testing.assert_array_equal(result.array[~mask], scan.array[~mask])
    # Same returns what it sees: what is left is the interpolation there and back
    inside = np.abs(result.array - scan.array)[mask]
    assert inside.mean() < 0.02 * scan.array.max()
    assert "outside the models' domain" in made.warnings[0]
    assert any(text.startswith("voxels are 4") for text in made.warnings)
    assert len(set(made.warnings)) == len(made.warnings)
    assert made.settings["preparation"]["mask"]["File"] == mask_file.name


class Apart(Same):
    """Returns the three slices it sees, apart from one another by 0.01."""

    def forward(self, x):
        return x + torch.tensor([-0.01, 0.0, 0.01]).view(1, 3, 1, 1)


@pytest.mark.parametrize("output", [OutputConfig(), OutputConfig(via="mni"), OutputConfig("mni")])
def test_uncertainty_lies_where_the_estimate_does_and_only_in_the_brain(
    head, mask_file, tmp_path, output
):
    scan, mask = head
    scan = replace(scan, array=gaussian_filter(scan.array, 1))
    save_transform(np.eye(4), tmp_path / "identity.txt")
    preparation = PreparationConfig(
        prepare="none",
        mask=mask_file,
        transform=tmp_path / "identity.txt",
        allow_out_of_domain=True,
    )
    settings = {"step": 1, "planes": ["axial"], "flips": False}
    factors = {"settings": settings, "interval": 0.9, "intensity": [0.5], "factor": [4.0]}
    card = replace(model_of(scan).card, uncertainty=factors)
    model = Model("apart", Apart().eval(), card)
    made = synthesize(scan, model, replace(CPU, step=1, uncertainty=True), preparation, output)
    width = made.uncertainty
    assert width.shape == made.volume.shape
    np.testing.assert_array_equal(width.affine, made.volume.affine)
    if output.space == "native":
        assert not width.array[~mask].any()
        assert width.array[20, 26, 20] > 0
    else:
        assert 0 < (width.array > 0).sum() < 1.3 * mask.sum() * 64  # voxels of 4 mm
        assert width.array[85, 104, 80] > 0  # at (-6, -22, 8) mm, where (20, 26, 20) lies


def test_result_in_mni_space_lies_where_the_transform_says(head, mask_file, tmp_path):
    """By hand: voxel (20, 26, 20) of 4 mm lies at (-6, -22, 8) mm, shifted at (-2, -30, 20)."""
    scan, _ = head
    scan = replace(scan, array=gaussian_filter(scan.array, 1))
    shift = np.eye(4)
    shift[:3, 3] = (4, -8, 12)
    save_transform(shift, tmp_path / "shift.txt")
    preparation = PreparationConfig(
        prepare="none",
        mask=mask_file,
        transform=tmp_path / "shift.txt",
        allow_out_of_domain=True,
    )
    made = synthesize(scan, model_of(scan), CPU, preparation, OutputConfig("mni"))
    result = made.volume
    assert result.shape == (182, 218, 182)
    np.testing.assert_array_equal(result.affine[:3, 3], (-91, -126, -72))
    np.testing.assert_array_equal(result.affine[:3, :3], np.eye(3))
    assert result.geometry is None
    # the spline meets its own knots; Same returns what it sees, mapped there and back
    assert result.array[89, 96, 92] == pytest.approx(scan.array[20, 26, 20], rel=0.02)
    skull = (41, 27, 20)  # outside the mask: mm (78, -18, 8), shifted (82, -26, 20)
    assert scan.array[skull] > 50
    assert result.array[173, 100, 92] == pytest.approx(scan.array[skull], rel=1e-3)
    assert made.settings["output"]["space"] == "mni"


def test_extracted_brain_in_mni_space_has_no_traces_of_the_resampling_around_it(
    head, mask_file, tmp_path
):
    scan, mask = head
    head_brain = replace(scan, array=np.where(mask, scan.array, 0).astype(np.float32))
    save_transform(np.eye(4), tmp_path / "same.txt")
    preparation = PreparationConfig(
        prepare="none",
        mask=mask_file,
        transform=tmp_path / "same.txt",
        allow_out_of_domain=True,
    )
    made = synthesize(head_brain, model_of(head_brain), CPU, preparation, OutputConfig("mni"))
    result = made.volume.array
    assert (result != 0).sum() == pytest.approx(mask.sum() * HEAD_MM**3, rel=0.02)


@pytest.mark.parametrize("background", ["scan", "zero"])
def test_preparation_of_a_scan_that_is_but_a_brain_takes_nothing_from_its_estimate(
    head_brain, background
):
    """Its rim where the scan is 0, and specks of noise beside it, as with no preparation at all."""
    scan = head_brain.with_array(head_brain.array.copy())
    scan.array[2, 2, 2] = scan.array[np.nonzero(scan.array[:, 26, 20])[0][0] - 2, 26, 20] = 50.0
    mask = foreground_mask(scan)
    decisions = dict.fromkeys(STEPS, Decision.COMPUTE) | {EXTRACTION: Decision.EXTRACTED}
    plan = plan_preparation(scan, PreparationConfig("none", allow_out_of_domain=True))
    ready = ReadyScan(scan, plan, Prepared(scan, scan, mask, np.eye(4), 0.7, decisions))
    model = replace(model_of(scan), network=Wider())
    made = synthesize_prepared(ready, model, CPU, OutputConfig(background=background))
    expected = estimate(scan, model, CPU).volume.array
    assert expected[~mask].any(), "the network must estimate the rim"
    np.testing.assert_array_equal(made.volume.array, expected)


def test_estimate_in_mni_space_of_a_scan_that_is_but_a_brain_keeps_its_rim(head_brain):
    mask = foreground_mask(head_brain)
    decisions = dict.fromkeys(STEPS, Decision.COMPUTE) | {EXTRACTION: Decision.EXTRACTED}
    config = PreparationConfig("none", allow_out_of_domain=True)
    plan = plan_preparation(head_brain, config, "mni")
    prepared = Prepared(head_brain, head_brain, mask, np.eye(4), 0.7, decisions)
    model = replace(model_of(head_brain), network=Wider())
    ready = ReadyScan(head_brain, plan, prepared)
    made = synthesize_prepared(ready, model, CPU, OutputConfig("mni"))
    brain, inside, _ = to_mni(prepared)
    expected = estimate(brain, model, CPU).volume.array
    assert expected[~inside].any(), "the network must estimate the rim"
    np.testing.assert_array_equal(made.volume.array, expected)


@pytest.mark.parametrize("n_slices", [20, 300])
def test_end_slices_count_in_the_space_where_most_slices_are(n_slices):
    """It is not yet known whether a scan goes to MNI space, which has 182 slices."""
    scan = Volume(np.zeros((4, 4, n_slices)), np.eye(4))
    ends = min(90, n_slices) if n_slices < 182 else 140
    check_ends(scan, SynthesisConfig(end_slices=ends, crop=False), OutputConfig(via="mni"))


@pytest.mark.parametrize("decision", [Decision.EXTRACTED, Decision.GIVEN])
def test_interpolation_of_a_brain_alone_does_not_darken_its_rim(decision):
    """An even ball stays even on the way to MNI space and back, also with the user's own mask."""
    radius = np.linalg.norm(np.indices((50, 50, 50)) - 24.5, axis=0)
    place = np.eye(4)
    place[:3, 3] = (-20.3, -30.6, -10.4)
    even = Volume(np.where(radius < 20, 100.0, 0).astype(np.float32), place, name="ball")
    mask = even.array > 0
    decisions = dict.fromkeys(STEPS, Decision.COMPUTE) | {EXTRACTION: decision}
    prepared = Prepared(even, even, mask, np.eye(4), 0.7, decisions)
    brain, inside, _ = to_mni(prepared)
    assert brain.array[inside].min() > 99
    plan = plan_preparation(even, PreparationConfig("none", allow_out_of_domain=True))
    ready = ReadyScan(even, plan, prepared)
    made = synthesize_prepared(ready, model_of(even), CPU, OutputConfig(via="mni")).volume
    assert made.array[mask].min() > 0.99 * np.median(made.array[mask])


def test_distance_from_the_training_data_is_in_the_settings(head, mask_file):
    scan, _ = head
    preparation = PreparationConfig(prepare="none", mask=mask_file, allow_out_of_domain=True)
    made = synthesize(scan, model_of(scan), CPU, preparation)
    words = " ".join(made.settings["preparation"]["distance"])
    assert "voxels 4 x 4 x 4 mm (the model is for 1 x 1 x 1)" in words
    assert "brain 1.25 litres" in words
    assert "not registered (good from 0.6, training data: 0.74 to 0.80)" in words
    quantiles = np.asarray(model_of(scan).card.preprocessing["intensity_quantiles"])
    expected = contrast_distance(made.prepared.brain.array, quantiles)
    assert f"histogram distance {expected:.3f}" in words


def test_doubtful_registration_warns_and_a_good_one_does_not(prepared):
    doubtful = replace(prepared, registration_score=0.57)
    (warning,) = registration_warnings(doubtful)
    assert "0.57" in warning
    assert "checkerboard" in warning
    assert registration_warnings(prepared) == ()
    not_asked = {**prepared.decisions, REGISTRATION: Decision.NOT_REQUESTED}
    assert registration_warnings(replace(doubtful, decisions=not_asked)) == ()


def test_result_is_saved_with_its_sidecar_and_never_over_another_file(phantom, tmp_path):
    made = synthesize(phantom, model_of(phantom), CPU)
    assert made.prepared is None
    path = made.save(tmp_path / "e.nii.gz")
    np.testing.assert_array_equal(load_volume(path).array, made.volume.array)
    facts = json.loads((tmp_path / "e.json").read_text())
    assert facts.pop("Image")["File"] == "e.nii.gz"
    assert facts == json.loads(json.dumps(made.sidecar()))
    assert facts["Model"]["Name"] == "same"
    with pytest.raises(Mri7tError) as caught:
        made.save(path)
    assert caught.value.argument == "overwrite"


def test_prepared_brain_is_saved_with_what_was_done(prepared, tmp_path):
    path = prepared.save(tmp_path / "brain.nii.gz")
    np.testing.assert_allclose(load_volume(path).array, prepared.brain.array, rtol=1e-6)
    facts = json.loads((tmp_path / "brain.json").read_text())
    assert facts["GeneratedBy"][0]["Description"] == "prepare"
    assert facts["Settings"]["brain_extraction"] == "deepbet"


def test_quality_volumes_lie_on_the_grid_of_the_result(prepared, head_brain):
    scan, mask = prepared.scan, prepared.mask
    found = quality.quality_volumes(prepared, scan.with_array(scan.array + 7.0))
    np.testing.assert_array_equal(found.mask.array, mask)
    np.testing.assert_allclose(found.difference.array, np.where(mask, 7, 0), atol=1e-3)
    assert found.limit == 10  # 7, to a round number
    np.testing.assert_array_equal(found.before.array, scan.array)
    assert (found.checkerboard.affine == scan.affine).all()
    moved = np.eye(4)
    moved[0, 3] = HEAD_MM  # one voxel to the right
    elsewhere = replace(scan, affine=moved @ scan.affine)
    there = quality.quality_volumes(replace(prepared, to_mni=moved), elsewhere)
    np.testing.assert_array_equal(there.mask.array, mask)


def test_checkerboard_shows_template_and_scan_in_turn(prepared, monkeypatch):
    """Squares of 24 mm are 6 voxels of the phantom; a template of 0 leaves every other one dark."""
    scan = prepared.scan
    monkeypatch.setattr(quality, "load_template", lambda: scan.with_array(np.zeros(scan.shape)))
    board = quality.checkerboard(prepared, scan, np.eye(4))
    inside = board[18:24, 24:30, 18:24], board[18:24, 24:30, 12:18]
    assert sorted(part.mean() > 0.2 for part in inside) == [False, True]


def test_quality_page_is_a_picture(prepared, head_brain, tmp_path):
    path = write_quality_page(
        prepared, prepared.scan, model_of(head_brain).card, tmp_path / "q.png"
    )
    assert path.read_bytes().startswith(b"\x89PNG")


def test_plan_is_executed_as_it_is(head, mask_file, monkeypatch):
    scan, _ = head
    config = PreparationConfig(prepare="none", mask=mask_file, allow_out_of_domain=True)
    plan = plan_preparation(scan, config)
    expected = synthesize(scan, model_of(scan), CPU, config)
    for user in (module, prepare_module):
        monkeypatch.setattr(user, "plan_preparation", lambda *_: pytest.fail("planned again"))
    made = synthesize(scan, model_of(scan), CPU, plan)
    np.testing.assert_array_equal(made.volume.array, expected.volume.array)
    assert made.settings == expected.settings


@pytest.mark.parametrize("via", ["scan", pytest.param("mni", marks=pytest.mark.slow)])
def test_progress_of_preparation_and_network_is_one_that_only_grows(head, mask_file, tmp_path, via):
    scan, _ = head
    identity = tmp_path / "identity.txt"
    save_transform(np.eye(4), identity)
    config = PreparationConfig(
        prepare="none", mask=mask_file, transform=identity, allow_out_of_domain=True
    )
    seen = []
    synthesize(scan, model_of(scan), CPU, config, OutputConfig(via=via), report=seen.append)
    shares = [now.done / now.total for now in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    prepared = next(n for n, now in enumerate(seen) if now.message == "preparation done")
    assert 0 < shares[prepared] < 1
    assert len(set(shares[prepared:])) > 2, "the network's part of the bar"


def test_choices_that_do_nothing_for_a_scan_as_it_is_are_told(phantom):
    as_it_is = PreparationConfig(prepare="none")
    output = OutputConfig(via="mni", background="zero")
    made = synthesize(phantom, "basic_cnn", SynthesisConfig(step=3), as_it_is, output)
    assert "without effect" in made.warnings[0]
    assert made.warnings[0].endswith(": via mni, background zero")
    usual = synthesize(phantom, "basic_cnn", SynthesisConfig(step=3), as_it_is)
    assert not any("without effect" in note for note in usual.warnings)


def test_plan_for_another_space_is_refused(head, mask_file):
    scan, _ = head
    config = PreparationConfig(prepare="none", mask=mask_file, allow_out_of_domain=True)
    plan = plan_preparation(scan, config)
    with pytest.raises(ValueError, match="planned for native space, but the output is in mni"):
        synthesize(scan, model_of(scan), CPU, plan, OutputConfig("mni"))


def test_unknown_precision_is_refused_at_once():
    with pytest.raises(ValueError, match="precision must be one of auto, float32, bfloat16"):
        SynthesisConfig(precision="float99")


@pytest.mark.parametrize(
    ("config", "output", "error"),
    [
        (SynthesisConfig(device="tpu"), OutputConfig(), DeviceError),
        (replace(CPU, end_slices=500), OutputConfig(), VolumeError),
        (replace(CPU, end_slices=500), OutputConfig(space="mni"), VolumeError),
        (replace(CPU, end_slices=500), OutputConfig(via="mni"), VolumeError),
    ],
)
def test_device_and_end_slices_are_refused_before_the_preparation(
    head, monkeypatch, config, output, error
):
    monkeypatch.setattr(module, "prepare", lambda *_, **__: pytest.fail("was prepared"))
    with pytest.raises(error, match=r"is not available|leave none"):
        synthesize(head[0], model_of(head[0]), config, output=output)


def test_scan_beyond_the_models_field_of_view_is_kept_there():
    scan = Volume(np.full((20, 8, 8), 7.0), np.eye(4))
    inside = np.ones(scan.shape, bool)
    there = Volume(np.full((10, 8, 8), 5.0), np.eye(4))
    found = from_mni(there, Prepared(scan, scan, inside, np.eye(4), 0.7))
    np.testing.assert_allclose(found[:10], 5)
    np.testing.assert_allclose(found[10:], 7)


def test_uncertainty_that_comes_back_from_mni_space_keeps_its_range(prepared):
    """Splines would overshoot at the edges of these blocks: too little beside much."""
    blocks = np.random.default_rng(0).integers(1, 3, (12, 15, 12))
    array = np.kron(blocks, np.ones((4, 4, 4))).astype(np.float32)
    array[0, 0, 0], array[-1, -1, -1] = 0, 9  # far from the brain: where splines are cut off
    affine = prepared.scan.affine.copy()
    affine[:3, 3] += 0.37 * HEAD_MM
    there = Volume(array, affine, "uncertainty")
    back = module._uncertainty_from_mni(there, prepared).array[prepared.mask]
    assert (back.min(), back.max()) == pytest.approx((1, 2), abs=1e-5)


def test_uncertainty_of_a_scan_that_is_but_a_brain_is_0_beside_it(head_brain):
    """Specks of noise go through the network, but nothing is known of their uncertainty."""
    scan = head_brain.with_array(head_brain.array.copy())
    scan.array[2:5, 2:5, 20] = 50.0
    mask = foreground_mask(scan)
    assert not mask[3, 3, 20]
    decisions = dict.fromkeys(STEPS, Decision.COMPUTE) | {EXTRACTION: Decision.EXTRACTED}
    plan = plan_preparation(scan, PreparationConfig("none", allow_out_of_domain=True))
    ready = ReadyScan(scan, plan, Prepared(scan, scan, mask, np.eye(4), 0.7, decisions))
    settings = {"step": 1, "planes": ["axial"], "flips": False}
    factors = {"settings": settings, "interval": 0.9, "intensity": [0.5], "factor": [4.0]}
    card = replace(model_of(scan).card, uncertainty=factors)
    config = replace(CPU, step=1, uncertainty=True)
    made = synthesize_prepared(ready, Model("apart", Apart().eval(), card), config)
    assert made.uncertainty.array[mask].any()
    assert not made.uncertainty.array[~mask].any()


def test_zeros_within_an_estimate_on_another_grid_are_tissue_and_no_background():
    """Of z-scores within the brain, whose background lies among the brain's intensities."""
    ramp = np.pad(np.linspace(0.2, 1, 512).reshape(8, 8, 8), 4)
    ramp[8, 8, 8] = 0
    prepared = SimpleNamespace(scale=Scale(0.0, -2.0), scan=Volume(np.ones((4, 4, 4)), np.eye(4)))
    made = as_given(Volume(ramp, np.diag([2, 2, 2, 1])), prepared).array
    assert made[8, 8, 8] == -2
    assert made[0, 0, 0] == 0
    np.testing.assert_allclose(made[4:12, 4:12, 4:8], ramp[4:12, 4:12, 4:8] - 2, atol=1e-6)


def test_dark_voxels_of_the_mask_are_tissue_also_at_the_surface():
    """Of z-scores within the brain: 0 there is the darkest tissue, and no background."""
    ramp = np.pad(np.linspace(0.2, 1, 512).reshape(8, 8, 8), 4)
    ramp[4, 8, 8] = 0
    scan = Volume(ramp, np.eye(4))
    mask = np.pad(np.ones((8, 8, 8), bool), 4)
    made = as_given(scan, SimpleNamespace(scale=Scale(0.0, -2.0), scan=scan, mask=mask)).array
    assert made[4, 8, 8] == -2
    assert not made[~mask].any()
