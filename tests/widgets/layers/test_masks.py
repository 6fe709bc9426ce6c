"""Masks painted in napari: on an oblique scan, which is shown straight, as on any other."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat

from napari_mri7t.engine.errors import GridError, VolumeError
from napari_mri7t.engine.metrics import basic, inspection
from napari_mri7t.engine.metrics.scoring import flatten, score
from napari_mri7t.engine.progress import ignore
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.compare.jobs import plane_scores, volume_scores
from napari_mri7t.widgets.evaluate.jobs import LayersToScore, evaluate_layers
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.layers.masks import brain_of


@pytest.fixture
def scan(phantom) -> Volume:
    """The phantom, turned by 12 degrees."""
    affine = from_matvec(euler2mat(x=np.deg2rad(12)) @ np.diag([1.0, 1.2, 1.5]), [-20, 5, 9])
    return Volume(phantom.array, affine, name="7T")


@pytest.fixture
def estimate(scan) -> Volume:
    noise = np.random.default_rng(0).normal(0, 0.05, scan.shape).astype(np.float32)
    return scan.with_array(scan.array + noise, name="estimate")


def image(volume: Volume) -> Image:
    data, meta, _ = volume_to_layer(volume)
    return Image(data, **meta)


def painted(volume: Volume, **settings) -> Labels:
    """Paint the white matter as napari's own new Labels layer: where the scan is shown."""
    shown = image(volume)
    place = {"scale": shown.scale, "translate": shown.translate, "name": "painted"} | settings
    return Labels((volume.array.T > 0.7).astype(np.uint8), **place)


def test_mask_painted_on_an_oblique_scan_counts_in_compare(scan, estimate):
    layers = image(scan), image(estimate), painted(scan)
    mask = scan.with_array(scan.array > 0.7)
    scores, *_ = volume_scores(*layers, 1.0)
    assert scores == basic.compare(scan, estimate, mask=mask)
    expected = inspection.plane_scores(scan, estimate, (2, 16), mask=mask)
    assert plane_scores(*layers, 1.0, (2, 16)) == expected


def test_mask_painted_on_an_oblique_scan_counts_in_evaluate(scan, estimate):
    asked = LayersToScore(image(scan), image(estimate), None, painted(scan), 1.0)
    (result,) = evaluate_layers(asked, ignore).results
    expected = flatten(score(scan, estimate, mask=scan.with_array(scan.array > 0.7)))
    assert result.metrics == pytest.approx(expected, nan_ok=True)


def test_mask_painted_elsewhere_is_refused(scan):
    with pytest.raises(VolumeError, match="painted: the mask is not on the grid of 7T"):
        brain_of(scan, image(scan), painted(scan, translate=(0, 0, 0)))


def test_mask_that_was_opened_is_held_against_the_scan_by_its_affine(scan):
    moved = from_matvec(np.eye(3), [0, 0, 2]) @ scan.affine
    with pytest.raises(GridError, match="their affines differ by up to 2 mm"):
        brain_of(scan, image(scan), image(Volume(scan.array, moved, name="mask")))
    assert brain_of(scan, image(scan), None) is None
