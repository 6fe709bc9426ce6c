"""The plots of the widgets: what they draw of odd numbers."""

import pytest

from napari_mri7t.widgets.shared.plots import LossPlot, ProfilePlot

pytestmark = pytest.mark.gui


@pytest.fixture
def plot(qtbot):
    plot = LossPlot()
    qtbot.addWidget(plot)
    return plot


def test_losses_below_zero_are_drawn_as_they_are(plot):
    """The PSNR as the loss is negative; drawn logarithmically it was a flat line at 0."""
    plot.show_curve([(1, -1.5, 1e-3), (2, -2.0, 5e-4), (3, -2.5, 0.0)])
    assert list(plot.loss.getData()[1]) == [-1.5, -2.0, -2.5]
    assert list(plot.rate.getData()[1]) == [-1.5, -2.0, -2.5], "between the least and the largest"


def test_losses_that_have_fallen_far_are_drawn_logarithmically(plot):
    plot.show_curve([(1, 1.0, 1e-3), (2, 0.1, 5e-4), (3, 0.001, 1e-4)])
    assert list(plot.loss.getData()[1]) == pytest.approx([0, -1, -3])
    plot.show_curve([(1, 0.3, 1e-3), (2, 0.2, 5e-4)])
    assert list(plot.loss.getData()[1]) == [0.3, 0.2]


def test_no_loss_yet_and_a_perfect_one_are_no_error(plot):
    plot.show_curve([])
    plot.show_curve([(1, 0.0, 0.0)])
    plot.show_curve([(1, 1.0, 1e-3), (2, 0.0, 0.0)])


def test_an_empty_plot_takes_the_background_of_another_theme(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.add_dock_widget(plot := ProfilePlot())
    for theme in ("dark", "light", "dark"):
        viewer.theme = theme
        wanted = plot.viewport().palette().base().color().name
        qtbot.waitUntil(
            lambda name=wanted: plot.grab().toImage().pixelColor(3, 3).name() == name(),
            timeout=3000,
        )
