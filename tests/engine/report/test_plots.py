"""Plots: every subject is there, the lines lie where arithmetic puts them, files are the same."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from napari_mri7t.engine.evaluation.results import StudyResults, SubjectResult
from napari_mri7t.engine.report import plots, style

RNG_SEED = 0


@pytest.fixture
def samples() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    reference = np.random.default_rng(RNG_SEED).random(5000)
    return {"good": (reference, reference + 0.1), "bad": (reference, reference[::-1])}


@pytest.fixture
def results() -> StudyResults:
    made = [
        SubjectResult(f"sub-{i}", method, {"brain_psnr": 20 + i + gain, "brain_mae": 0.1 - gain})
        for i in range(4)
        for method, gain in (("source", 0), ("gaussian", 0.01), ("watnet", 0.02))
    ]
    return StudyResults(tuple(made))


def test_bland_altman_lines_are_mean_and_limits_of_agreement(samples):
    figure = plots.bland_altman_figure(samples)
    levels = [line.get_ydata()[0] for line in figure.axes[0].lines]
    assert levels == pytest.approx([0.1, 0.1, 0.1])  # no spread
    reference, estimate = samples["bad"]
    spread = 1.96 * (estimate - reference).std()
    levels = [line.get_ydata()[0] for line in figure.axes[1].lines]
    assert levels == pytest.approx([0, -spread, spread], abs=1e-9)


def test_joint_histogram_counts_voxels(samples):
    figure = plots.joint_histogram_figure({"bad": samples["bad"]})
    shares = figure.axes[0].images[0].get_array()
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("n_panels", [1, 2, 3, 5])
def test_any_number_of_panels_finds_its_place(samples, n_panels):
    many = {str(index): samples["good"] for index in range(n_panels)}
    figure = plots.joint_histogram_figure(many)
    assert sum(bool(axes.images) for axes in figure.axes) == n_panels


def test_box_plot_has_a_dot_for_every_subject_and_method(results):
    figure = plots.box_figure(results, ["brain_psnr"])
    dots = np.concatenate([c.get_offsets() for c in figure.axes[0].collections])
    assert sorted(dots[:, 0]) == sorted(r.metrics["brain_psnr"] for r in results)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        "3T as is",
        "Gaussian smoothing",
        "WATNet",
    ]


def test_box_plot_leaves_out_what_is_not_finite():
    odd = [SubjectResult("a", "source", {"brain_psnr": np.inf}), SubjectResult("b", "source", {})]
    assert plots.box_figure(StudyResults(tuple(odd)), ["brain_psnr", "brain_ssim", "brain_mae"])


def test_loss_curves_are_running_means_on_a_logarithmic_axis():
    steps, losses = np.arange(1.0, 101), np.resize([0.1, 0.3], 100)
    figure = plots.loss_figure(
        {"watnet": [("0", steps, losses)], "slice_unet": [("0", steps, losses)]}
    )
    panel = figure.axes[0]
    assert panel.get_yscale() == "log"
    raw, mean = panel.lines
    np.testing.assert_array_equal(raw.get_ydata(), losses)
    np.testing.assert_allclose(mean.get_ydata(), 0.2)  # window of 2 of 100
    assert mean.get_xdata()[0] == 1.5


def test_losses_below_zero_are_drawn_as_they_are():
    """The PSNR as the loss is negative: a logarithmic axis would show nothing of it."""
    steps = np.arange(1.0, 101)
    losses = {"slice_unet": np.linspace(-1.5, -2.7, 100), "watnet": np.full(100, 0.1)}
    figure = plots.loss_figure({name: [("0", steps, each)] for name, each in losses.items()})
    first, second = figure.axes[:2]
    assert (first.get_yscale(), second.get_yscale()) == ("linear", "log")
    low, high = first.get_ylim()
    assert -3 < low < -2.7
    assert -1.5 < high < -1


@pytest.mark.parametrize("largest", [0.3, 0.8, 1.0, 3.0, 1e4])
@pytest.mark.parametrize("least", [0.02, 0.05, 0.09])
def test_labels_of_a_loss_axis_do_not_run_into_each_other(largest, least):
    """They did where the losses of a network that learnt nothing spanned five decades."""
    losses = np.geomspace(largest, least, 200)
    figure = plots.loss_figure({"watnet": [("0", np.arange(1.0, 201), losses)]})
    figure.draw_without_rendering()
    (axis,) = (panel.yaxis for panel in figure.axes)
    low, high = figure.axes[0].get_ylim()
    labels = [
        tick.label1.get_window_extent()
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        if tick.label1.get_text() and low <= tick.get_loc() <= high
    ]
    assert len(labels) >= 2
    assert not any(a.overlaps(b) for n, a in enumerate(labels) for b in labels[:n])


def test_titles_of_many_panels_do_not_run_into_each_other():
    """They did: seven long names in one row."""
    curve = [("0", np.arange(1.0, 11), np.full(10, 0.1))]
    names = [f"slice_unet (another study of mine, the {n}th)" for n in range(7)]
    figure = plots.loss_figure(dict.fromkeys(names, curve))
    assert len({axes.get_subplotspec().rowspan.start for axes in figure.axes}) == 2
    figure.draw_without_rendering()
    boxes = [panel.title.get_window_extent() for panel in figure.axes[:7]]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])


def test_no_loss_at_all_is_drawn_empty():
    assert plots.loss_figure({})
    assert plots.loss_figure({"watnet": [("0", np.array([1.0]), np.array([0.0]))]})


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_figure_gives_the_same_file(results, form):
    first, second = (
        style.figure_bytes(plots.box_figure(results, ["brain_psnr"]), form) for _ in "ab"
    )
    assert first == second


def test_svg_is_xml_without_anything_remote(results):
    text = style.figure_bytes(plots.box_figure(results, ["brain_psnr"]), "svg").decode()
    root = ElementTree.fromstring(text[text.index("<svg") :])
    links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith(("#", "data:")) for link in links)


def test_another_format_is_refused(results):
    with pytest.raises(ValueError, match="png or svg"):
        style.figure_bytes(plots.box_figure(results, ["brain_psnr"]), "gif")


def test_nothing_of_the_style_stays_behind(results):
    before = dict(mpl.rcParams)
    plots.box_figure(results, ["brain_psnr"])
    assert dict(mpl.rcParams) == before


def test_networks_differ_in_colour_marker_and_lightness():
    networks = ["basic_cnn", "watnet", "slice_unet"]
    looks = [style.look_of(name, networks) for name in networks]
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 3
    assert style.look_of("source", networks) != style.look_of("median", networks)
    assert all(len(to_rgb(colour)) == 3 for colour, _ in looks)
