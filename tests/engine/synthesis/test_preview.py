"""A slice or region of a preview is that of the full synthesis."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

import napari_mri7t
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.preparation.prepare import PreparationConfig, plan_preparation
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.steps import EXTRACTION, STEPS, Decision
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.synthesis import preview, slabs
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.preview import open_preview
from napari_mri7t.engine.synthesis.scan import ReadyScan, synthesize, synthesize_prepared
from napari_mri7t.engine.volumes.volume import Volume

CPU = {"device": "cpu", "precision": "float32"}
ROUNDING = 2e-6  # of the intensities' range: batches of another size


@pytest.fixture(scope="module")
def model() -> Model:
    """Untrained, deep enough to see beyond a window."""
    torch.manual_seed(0)
    network = SliceUNet(widths=(8, 8, 8), n_blocks=1)
    with torch.no_grad():
        network.output.weight.normal_(std=0.05)
    quantiles = np.linspace(0, 1, 257) ** 1.5
    card = ModelCard(
        name="deep",
        title="Untrained",
        network="slice_unet",
        network_config={},
        n_parameters=1,
        preprocessing={
            "voxel_size_mm": [1, 1, 1],
            "brain_extracted": True,
            "plane": "axial",
            "intensity_quantiles": quantiles.tolist(),
        },
        training={},
        metrics={},
        intended_use="Tests.",
        sha256="",
    )
    return Model(card.name, network.eval(), card)


@pytest.fixture
def scan(phantom) -> Volume:
    return phantom.with_array(phantom.array * 700)


def assert_parts_are_those_of(full: Volume, opened: preview.Preview) -> None:
    tolerance = ROUNDING * float(full.array.max() - full.array.min())
    for axis, n in enumerate(full.shape):
        for index in (0, n // 3, n // 2, n - 1):
            found = opened.slice(axis, index)
            np.testing.assert_allclose(found, full.array.take(index, axis), atol=tolerance, rtol=0)
    box = (slice(9, 23), slice(20, 33), slice(11, 18))
    np.testing.assert_allclose(opened.region(box), full.array[box], atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"step": 3},
        {"planes": ("coronal", "sagittal"), "flips": True},
        {"planes": ("axial", "coronal"), "step": 2},
        {"end_slices": 4},
        {"end_slices": 4, "crop": False},
    ],
    ids=str,
)
def test_slices_and_regions_are_those_of_the_full_run(scan, model, settings):
    config = SynthesisConfig(**CPU, **settings)
    full = synthesize(scan, model, config)
    assert not np.allclose(full.volume.array, scan.array, atol=20)
    assert_parts_are_those_of(full.volume, open_preview(scan, model, config))


def test_a_quick_slice_is_that_of_its_own_plane_alone(scan, model):
    config = SynthesisConfig(**CPU, planes=("axial", "coronal"))
    opened = open_preview(scan, model, config)
    tolerance = ROUNDING * float(scan.array.max())
    for axis, plane in ((2, "axial"), (1, "coronal")):
        assert opened.averages(axis)
        alone = synthesize(scan, model, replace(config, planes=(plane,))).volume.array
        found = opened.slice(axis, 15, quick=True)
        np.testing.assert_allclose(found, alone.take(15, axis), atol=tolerance, rtol=0)
        assert not np.allclose(found, opened.slice(axis, 15), atol=10 * tolerance)
    assert not opened.averages(0)
    np.testing.assert_array_equal(opened.slice(0, 15, quick=True), opened.slice(0, 15))


@pytest.mark.parametrize("background", ["scan", "zero"])
def test_preview_of_a_prepared_head_shows_the_scan_around_the_brain(scan, model, background):
    inside = scan.array > 0
    head = scan.with_array(np.where(inside, scan.array, 90 + scan.array[::-1]))
    mask = scan.with_array(inside)
    preparation = PreparationConfig(prepare="none", mask=mask)
    config, output = SynthesisConfig(**CPU), OutputConfig(background=background)
    full = synthesize(head, model, config, preparation, output)
    assert full.prepared is not None
    assert_parts_are_those_of(full.volume, open_preview(head, model, config, preparation, output))


def test_preview_keeps_the_scale_of_a_scan_whose_background_is_not_zero(scan, model):
    shifted = scan.with_array(np.where(scan.array > 0, scan.array / 300 - 1, -5))
    config = SynthesisConfig(**CPU)
    full = synthesize(shifted, model, config).volume
    assert full.array.min() < -1
    assert_parts_are_those_of(full, open_preview(shifted, model, config))


def test_preview_shows_tissue_beside_a_mask_on_the_scale_of_the_scan(scan, model):
    """Not as background, which lies elsewhere on that scale."""
    shifted = scan.with_array(np.where(scan.array > 0, scan.array / 300 - 1, -5))
    part = scan.array > 0
    part[: scan.shape[0] // 2] = False
    preparation = PreparationConfig(prepare="none", mask=scan.with_array(part))
    config = SynthesisConfig(**CPU)
    full = synthesize(shifted, model, config, preparation).volume
    assert_parts_are_those_of(full, open_preview(shifted, model, config, preparation))


def test_preview_of_a_scan_that_is_but_a_brain_counts_beside_its_mask(scan, model):
    config = SynthesisConfig(**CPU)
    plan = plan_preparation(scan, PreparationConfig("none", allow_out_of_domain=True))
    decisions = dict.fromkeys(STEPS, Decision.COMPUTE) | {EXTRACTION: Decision.EXTRACTED}
    mask = binary_erosion(scan.array > 0, iterations=3)
    ready = ReadyScan(scan, plan, Prepared(scan, scan, mask, np.eye(4), 0.7, decisions))
    full = synthesize_prepared(ready, model, config).volume
    assert_parts_are_those_of(full, preview.Preview(ready, model, config))


def count_slabs(monkeypatch) -> list[int]:
    seen: list[int] = []
    run = slabs.Runner.run

    def counted(runner, network, stack):
        seen.append(len(stack))
        return run(runner, network, stack)

    monkeypatch.setattr(slabs.Runner, "run", counted)
    return seen


def test_slice_needs_only_the_slabs_that_meet_it_and_shares_them_with_the_next(
    scan, model, monkeypatch
):
    opened = open_preview(scan, model, SynthesisConfig(**CPU))
    seen = count_slabs(monkeypatch)
    opened.slice(2, 15)
    assert sum(seen) == 3
    opened.slice(2, 16)
    assert sum(seen) == 4
    opened.slice(2, 13)
    assert sum(seen) == 7


def test_slices_across_the_plane_of_the_network_are_computed_eight_at_once(
    scan, model, monkeypatch
):
    opened = open_preview(scan, model, SynthesisConfig(**CPU))
    seen = count_slabs(monkeypatch)
    opened.slice(1, 24)
    once = sum(seen)
    assert once > 20
    for index in (25, 31, 28):
        opened.slice(1, index)
    assert sum(seen) == once
    opened.slice(1, 32)
    assert sum(seen) > once


def test_whole_volume_is_examined_once(scan, model, monkeypatch):
    plans = []
    plan_slabs = preview.plan_slabs

    def counted(*arguments):
        plans.append(arguments)
        return plan_slabs(*arguments)

    monkeypatch.setattr(preview, "plan_slabs", counted)
    opened = open_preview(scan, model, SynthesisConfig(**CPU))
    for index in (10, 11, 12):
        opened.slice(1, index)
    assert len(plans) == 1


@pytest.mark.parametrize("planes", [("axial",), ("axial", "coronal")], ids=str)
def test_bfloat16_that_overflows_is_computed_anew_in_float32(scan, model, monkeypatch, planes):
    run = slabs.Runner.run

    def overflowing(runner, network, stack):
        estimate = run(runner, network, stack)
        return estimate if runner.precision == torch.float32 else torch.full_like(estimate, np.inf)

    monkeypatch.setattr(slabs.Runner, "run", overflowing)
    settings = {"device": "cpu", "precision": "bfloat16", "planes": planes}
    opened = open_preview(scan, model, SynthesisConfig(**settings))
    for axis in (2, 1):
        assert np.isfinite(opened.slice(axis, 15, quick=True)).all()
        assert opened.computed_on == "cpu (float32)"
    assert sum("recomputed in float32" in note for note in opened.notes) == 1


@pytest.mark.parametrize(("axis", "index"), [(3, 0), (-1, 0), (2, 32), (2, -1)])
def test_slice_that_does_not_exist_is_refused(scan, model, axis, index):
    with pytest.raises(ValueError, match="has no slice"):
        open_preview(scan, model, SynthesisConfig(**CPU)).slice(axis, index)


@pytest.mark.parametrize("part", [slice(5, 5), slice(-3, 4), slice(30, 99)], ids=str)
def test_region_beyond_the_scan_is_refused(scan, model, part):
    with pytest.raises(ValueError, match="must lie in the scan"):
        open_preview(scan, model, SynthesisConfig(**CPU)).region((part, slice(0, 4), slice(0, 4)))


def test_report_cancels_a_slice(scan, model):
    def cancel(progress):
        raise Cancelled

    with pytest.raises(Cancelled):
        open_preview(scan, model, SynthesisConfig(**CPU)).slice(0, 20, report=cancel)


def test_preview_opens_from_the_package(scan, model):
    assert napari_mri7t.open_preview(scan, model, SynthesisConfig(**CPU)).shape == scan.shape
