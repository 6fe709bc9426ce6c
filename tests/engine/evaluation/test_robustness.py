"""Degradations are as specified and scored against the original target; where help ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.evaluation import robustness
from napari_mri7t.engine.evaluation.robustness import Condition, RobustnessPoint
from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.progress import Progress


def as_is(volume, report):
    report(Progress(0, 1, "one step"))
    return volume


def smooth(volume, report):
    return volume.with_array(gaussian_filter(volume.array, 0.6))


def test_noise_has_the_variance_that_was_asked_for(target):
    noisy = robustness.degrade_input(target.array, Condition("noise", 0.01))
    assert np.var(noisy - target.array) == pytest.approx(0.01, rel=0.02)  # 70,000 voxels


def test_blur_is_in_millimetres(target):
    noise = robustness.degrade_input(np.zeros(target.shape, np.float32), Condition("blur", 0.0))
    blurred = robustness.degrade_input(
        target.array, Condition("blur", 3.0), voxel_size=(2.0, 1.0, 3.0)
    )
    expected = gaussian_filter(target.array, (1.5, 3.0, 1.0))
    np.testing.assert_allclose(blurred - noise, expected, atol=1e-6)


def test_bias_field_multiplies_by_no_more_than_its_amplitude(target):
    shape = robustness.bias_shape(target.shape, seed=3)
    assert (shape.min(), shape.max()) == (-1, 1)
    assert np.abs(np.diff(shape, axis=0)).max() < 0.2  # smooth
    noise = robustness.degrade_input(
        np.zeros(target.shape, np.float32), Condition("bias", 0.3), seed=3
    )
    assert noise.std() == pytest.approx(robustness.REPORT_VARIANCE**0.5, rel=0.05)
    shaded = robustness.degrade_input(target.array, Condition("bias", 0.3), seed=3)
    np.testing.assert_allclose(shaded - noise, target.array * (1 + 0.3 * shape), atol=1e-6)


@pytest.mark.parametrize(
    ("condition", "message"),
    [(Condition("fog", 1), "noise, blur, bias"), (Condition("noise", -1), "not be negative")],
)
def test_what_cannot_be_done_is_refused(target, condition, message):
    with pytest.raises(ValueError, match=message):
        robustness.degrade_input(target.array, condition)


def test_points_are_scored_against_the_original_target(brain):
    conditions = [Condition("noise", 0.0), Condition("noise", 0.003)]
    clean, noisy = robustness.measure_robustness(brain, as_is, conditions=conditions)
    assert clean.source["brain_mae"] == pytest.approx(0, abs=1e-7)
    assert noisy.estimate == noisy.source
    assert (noisy.kind, noisy.level) == ("noise", 0.003)
    assert 15 < noisy.source["brain_psnr"] < 30


def test_a_reference_gives_its_histogram_to_the_target(brain):
    reference = brain.with_array(brain.array**2)
    square = brain.with_array((brain.array / brain.array.max()) ** 2)
    (point,) = robustness.measure_robustness(
        brain,
        lambda volume, report: square,
        reference=reference,
        conditions=[Condition("noise", 0.003)],
    )
    assert point.estimate["brain_psnr"] > 60  # float32: the matched target is the square


def test_smoothing_helps_more_the_more_noise_there_is(brain):
    conditions = [Condition("noise", level) for level in (0.001, 0.01)]
    low, high = robustness.measure_robustness(brain, smooth, conditions=conditions)
    gains = [point.estimate["brain_psnr"] - point.source["brain_psnr"] for point in (low, high)]
    assert gains[1] > gains[0]


def test_the_steps_of_the_method_are_passed_on(brain):
    records = []
    robustness.measure_robustness(
        brain, as_is, conditions=[Condition("blur", 0.0)], report=records.append
    )
    assert len(records) == 2
    assert {record.total for record in records} == {1}
    assert records[0].message == "blur sigma, mm 0"


def point(level: float, gain: float) -> RobustnessPoint:
    return RobustnessPoint("noise", level, {"brain_psnr": 20.0}, {"brain_psnr": 20.0 + gain})


def test_turning_points_by_hand():
    points = [point(3, -1), point(1, 3), point(2, 1)]  # 1 to -1 between 2 and 3: zero at 2.5
    assert robustness.turning_points(points, "noise") == [(1, True), (2.5, False)]
    assert robustness.turning_points(points[1:], "noise") == [(1, True)]
    back = [point(1, -1), point(2, 3)]  # a network trained on noise may hurt a clean volume
    assert robustness.turning_points(back, "noise") == [(1, False), (1.25, True)]
    assert robustness.turning_points(points, "blur") == []


def test_the_conditions_are_those_of_the_protocol():
    noise = [c.level for c in robustness.CONDITIONS if c.kind == "noise"]
    assert (min(noise), max(noise)) == (0.001, 0.01)
    assert {c.kind for c in robustness.CONDITIONS} == set(robustness.KINDS)


def test_the_source_is_the_noisy_brain_and_its_background_is_put_back_to_zero(brain):
    (made,) = robustness.measure_robustness(brain, as_is, conditions=[Condition("noise", 0.003)])
    scaled = brain.array / brain.array.max()
    noisy = robustness.degrade_input(scaled, Condition("noise", 0.003))
    assert made.source["whole_psnr"] > psnr(scaled, noisy, data_range=1)
    inside = psnr(scaled, noisy, data_range=1, mask=scaled > 0)
    assert made.source["brain_psnr"] == pytest.approx(inside, abs=1.5)  # matching moves it
