"""The wavelet transform on tensors, held against PyWavelets."""

import numpy as np
import pytest
import pywt
import torch

from napari_mri7t.engine.networks.wavelets import WaveletTransform

ORTHOGONAL = [name for name in pywt.wavelist(kind="discrete") if pywt.Wavelet(name).orthogonal]
TOLERANCE = 2e-5  # of float32 sums of up to 76 x 76 products


def images(height=32, width=48):
    return np.random.default_rng(0).random((2, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("wavelet", ORTHOGONAL)
def test_one_level_equals_pywt_dwt2(wavelet):
    x = images()
    approximation, details = WaveletTransform(wavelet)(torch.from_numpy(x))
    expected, bands = pywt.dwt2(x, wavelet, mode="periodization")
    np.testing.assert_allclose(approximation, expected, atol=TOLERANCE)
    np.testing.assert_allclose(details, np.stack(bands, 2).reshape(2, 9, 16, 24), atol=TOLERANCE)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
def test_three_levels_equal_pywt_wavedec2(wavelet):
    x = images()
    approximation, details = WaveletTransform(wavelet).decompose(torch.from_numpy(x), 3)
    expected = pywt.wavedec2(x, wavelet, mode="periodization", level=3)
    np.testing.assert_allclose(approximation, expected[0], atol=TOLERANCE)
    for detail, bands in zip(details, reversed(expected[1:]), strict=True):
        shape = (2, 9, *bands[0].shape[2:])
        np.testing.assert_allclose(detail, np.stack(bands, 2).reshape(shape), atol=TOLERANCE)


def test_haar_of_a_small_image_by_hand():
    approximation, details = WaveletTransform()(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert approximation.item() == pytest.approx(5)  # (1 + 2 + 3 + 4) / 2
    assert details.flatten().tolist() == pytest.approx([-2, -1, 0])


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="even sizes, got 5 x 8"):
        WaveletTransform()(torch.zeros(1, 1, 5, 8))


def test_wavelet_that_is_not_orthogonal_is_refused():
    with pytest.raises(ValueError, match="not orthogonal"):
        WaveletTransform("bior2.2")


def test_unknown_wavelet_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        WaveletTransform("hoor")
