import numpy as np
import pytest

from napari_mri7t.engine.metrics.calibration import (
    LEAST_SPREAD,
    Calibration,
    HeldOut,
    calibrate,
    calibration_from,
    coverage,
    leave_one_out,
    local_spread,
)


def held_out(name: str, scale: float, seed: int, n_voxels: int = 40_000) -> HeldOut:
    """Make a brain whose errors are Gaussian, three times the spread in dark tones, else twice."""
    rng = np.random.default_rng(seed)
    estimate = rng.uniform(0, 1, n_voxels)
    spread = scale * rng.uniform(0.5, 1.5, n_voxels)
    error = np.where(estimate < 0.5, 3.0, 2.0) * spread * rng.standard_normal(n_voxels)
    return HeldOut(name, estimate + error, estimate, spread)


def test_factors_are_quantiles_of_the_error_over_the_spread() -> None:
    found = calibrate([held_out("a", 0.01, 0), held_out("b", 0.04, 1)])

    gaussian = 1.6449  # of which 90 % lie within, two-sided (a table of the normal distribution)
    expected = np.where(np.array(found.intensity) < 0.5, 3, 2) * gaussian
    np.testing.assert_allclose(found.factor, expected, rtol=0.03)


def test_no_brain_is_calibrated_on_itself() -> None:
    ordinary = [held_out(name, 0.02, seed) for seed, name in enumerate("abc")]
    odd = held_out("odd", 0.02, 9)
    odd = HeldOut("odd", odd.estimate + 4 * (odd.target - odd.estimate), odd.estimate, odd.spread)

    found = leave_one_out([*ordinary, odd])

    assert found["odd"] < 0.4  # within itself it would be 0.9; erf(1.645 / 4 / sqrt(2)) = 0.32
    assert coverage(odd, calibrate([odd])) == pytest.approx(0.9, abs=0.01)


def test_a_noisier_brain_is_covered_as_well_as_the_others() -> None:
    brains = [held_out(str(n), scale, n) for n, scale in enumerate((0.01, 0.02, 0.05))]

    assert list(leave_one_out(brains).values()) == pytest.approx([0.9] * 3, abs=0.01)


@pytest.mark.parametrize("interval", [0.5, 0.8, 0.95])
def test_other_intervals_hold_their_part(interval: float) -> None:
    brains = [held_out(str(n), 0.02, n) for n in range(3)]

    assert np.mean(list(leave_one_out(brains, interval).values())) == pytest.approx(
        interval, abs=0.01
    )


def test_every_brain_counts_the_same_whatever_its_size() -> None:
    small, large = held_out("small", 0.02, 0, 10_000), held_out("large", 0.02, 1, 90_000)
    doubled = HeldOut(
        "large", large.estimate + 2 * (large.target - large.estimate), large.estimate, large.spread
    )

    even = calibrate([small, HeldOut("cut", *(x[:10_000] for x in _voxels(doubled)))])

    np.testing.assert_allclose(calibrate([small, doubled]).factor, even.factor, rtol=0.08)


def _voxels(brain: HeldOut) -> tuple[np.ndarray, ...]:
    return brain.target, brain.estimate, brain.spread


def test_one_tone_gets_one_factor() -> None:
    rng = np.random.default_rng(0)
    flat = HeldOut("flat", rng.normal(0.5, 0.1, 1000), np.full(1000, 0.5), np.full(1000, 0.1))

    found = calibrate([flat])

    assert found.intensity == (0.5,)
    assert found.factor[0] == pytest.approx(1.645, rel=0.1)


def test_half_width_is_the_spread_times_the_factor_of_the_tone() -> None:
    found = Calibration(0.9, (0.2, 0.6), (4.0, 2.0)).half_width(
        np.array([0.0, 0.4, 1.0]), np.array([0.01, 0.02, 0.03])
    )

    np.testing.assert_allclose(found, [0.04, 0.06, 0.06])


def test_no_interval_is_narrower_than_rounding() -> None:
    width = Calibration(0.9, (0.5,), (3.0,)).half_width(np.array([0.5]), np.array([0.0]))

    assert width[0] == pytest.approx(3 * LEAST_SPREAD)


def test_local_spread_is_a_root_mean_square() -> None:
    none = np.zeros((31, 31, 31))
    assert local_spread(np.full_like(none, 0.3), none)[10, 10, 10] == pytest.approx(0.3)
    single = none.copy()
    single[15, 15, 15] = 1.0
    assert np.square(local_spread(single, none)).sum() == pytest.approx(1.0, rel=1e-3)


def test_local_spread_grows_with_the_root_of_what_is_changed_more_than_around() -> None:
    spread, change = np.full((41, 41, 41), 0.1), np.full((41, 41, 41), 0.05)
    assert local_spread(spread, change)[20, 20, 20] == pytest.approx(0.1)
    change[16:25, 16:25, 16:25] = 0.1  # twice as much; the wider Gaussian sees some of it

    found = local_spread(spread, change)

    assert 0.1 * 1.1 < found[20, 20, 20] < 0.1 * np.sqrt(2)
    assert found[0, 0, 0] == pytest.approx(0.1, rel=1e-3)


def test_calibration_survives_a_card() -> None:
    made = calibrate([held_out("a", 0.02, 0)])

    read = calibration_from(made.as_dict())

    assert read.interval == made.interval
    np.testing.assert_allclose(read.factor, made.factor, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interval": 1.0}, "interval must lie between 0 and 1"),
        ({"intensity": [0.6, 0.2]}, "intensity must rise"),
        ({"factor": [1.0]}, "one factor each"),
        ({"factor": [1.0, -0.1]}, "none below 0"),
        ({"factor": [1.0, float("nan")]}, "none below 0"),
        ({"factor": None}, "no interval, intensity and factor"),
        ({"intensity": [], "factor": []}, "one factor each"),
    ],
)
def test_a_damaged_calibration_is_refused(changes: dict[str, object], message: str) -> None:
    values = {"interval": 0.9, "intensity": [0.2, 0.6], "factor": [2.0, 3.0]}

    with pytest.raises(ValueError, match=message):
        calibration_from(values | changes)


def test_a_calibration_needs_a_brain_and_leave_one_out_two() -> None:
    with pytest.raises(ValueError, match="at least one"):
        calibrate([])
    with pytest.raises(ValueError, match="two or more brains, got 1"):
        leave_one_out([held_out("a", 0.01, 0)])
