"""What an estimate is compared with: the scan without its bias field, merged as the estimate is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.preparation.steps import EXTRACTION, STEPS, Decision
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.corrected import corrected_scan
from napari_mri7t.engine.synthesis.scan import ReadyScan, prepare_scan, synthesize_prepared

CPU = SynthesisConfig(device="cpu", step=3)


@pytest.fixture
def ready(phantom, tmp_path) -> ReadyScan:
    """A head whose correction divided the brain by two."""
    inside = phantom.array > 0
    skull = np.random.default_rng(0).uniform(0, 60, phantom.shape)
    skull[0, 0, 0] = 0
    head = phantom.with_array(np.where(inside, 700 * phantom.array, skull))
    mask = phantom.with_array(inside)
    found = prepare_scan(head, PreparationConfig(prepare="none", mask=mask))
    object.__setattr__(found.prepared, "corrected", head.with_array(head.array / 2))
    return found


@pytest.mark.parametrize("background", ["scan", "zero"])
def test_brain_is_corrected_and_what_surrounds_it_is_as_in_the_result(
    ready, tiny_model, background
):
    output = OutputConfig(background=background)
    made = synthesize_prepared(ready, load_model(tiny_model), CPU, output)
    before, mask = corrected_scan(made), ready.prepared.mask
    assert before.name == f"{ready.scan.name} corrected"
    outside = ready.scan.array[~mask]
    np.testing.assert_array_equal(before.array[~mask], outside if background == "scan" else 0)
    np.testing.assert_array_equal(before.array[~mask], made.volume.array[~mask])
    deep = np.zeros_like(mask)
    deep[16:24, 20:28, 14:18] = mask[16:24, 20:28, 14:18]
    np.testing.assert_allclose(before.array[deep], ready.scan.array[deep] / 2, rtol=1e-5)


def test_scan_that_was_not_corrected_is_itself(phantom, tiny_model):
    inside = phantom.array > 0
    head = phantom.with_array(np.where(inside, phantom.array, 0.05))
    mask = phantom.with_array(inside)
    ready = prepare_scan(head, PreparationConfig(prepare="none", mask=mask))
    made = synthesize_prepared(ready, load_model(tiny_model), CPU)
    assert corrected_scan(made) is made.source


def test_nothing_is_around_an_uncorrected_brain_where_the_estimate_has_nothing(ready, tiny_model):
    scan, mask = ready.prepared.scan, ready.prepared.mask
    own = replace(ready, prepared=replace(ready.prepared, corrected=scan))
    output = OutputConfig(background="zero")
    made = synthesize_prepared(own, load_model(tiny_model), CPU, output)
    np.testing.assert_array_equal(corrected_scan(made).array, np.where(mask, scan.array, 0))


def test_scan_that_is_but_a_brain_is_corrected_beside_its_mask_too(ready, phantom, tiny_model):
    decisions = dict.fromkeys(STEPS, Decision.COMPUTE) | {EXTRACTION: Decision.EXTRACTED}
    corrected = phantom.with_array(phantom.array / 2)
    mask = binary_erosion(phantom.array > 0, iterations=3)
    prepared = replace(
        ready.prepared, scan=phantom, corrected=corrected, mask=mask, decisions=decisions
    )
    own = replace(ready, scan=phantom, prepared=prepared)
    made = synthesize_prepared(own, load_model(tiny_model), CPU)
    np.testing.assert_array_equal(corrected_scan(made).array, corrected.array)


def test_result_in_mni_space_is_compared_there(phantom, tiny_model):
    head = phantom.with_array(np.where(phantom.array > 0, phantom.array, 0.05))
    config = PreparationConfig(prepare="none", mask=phantom.with_array(phantom.array > 0))
    ready = prepare_scan(head, config, "mni")
    made = synthesize_prepared(ready, load_model(tiny_model), CPU, OutputConfig(space="mni"))
    before = corrected_scan(made)
    assert before.shape == made.volume.shape
    np.testing.assert_array_equal(before.affine, made.volume.affine)
    assert 0.1 < np.corrcoef(before.array.ravel(), made.volume.array.ravel())[0, 1] <= 1
