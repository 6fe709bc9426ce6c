"""Names of methods."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.evaluation.results import PUBLISHED, label_of
from napari_mri7t.engine.networks import NETWORKS


@pytest.mark.parametrize(
    ("method", "label"),
    [
        ("source", "3T as is"),
        ("watnet", "WATNet"),
        ("watnet (report)", "WATNet (report)"),
        ("mine", "mine"),
    ],
)
def test_labels(method, label):
    assert label_of(method) == label


def test_every_network_of_the_package_has_a_label():
    assert [name for name in NETWORKS if label_of(name) == name] == []


def test_published_figures_are_those_of_the_report():
    assert PUBLISHED["source"]["whole_psnr"] == (28.7586, 2.8865)
    assert PUBLISHED["basic_cnn"]["whole_mae"] == (0.013583, 0.004005)
    assert PUBLISHED["watnet"]["whole_ssim"] == (0.94868, 0.01783)
