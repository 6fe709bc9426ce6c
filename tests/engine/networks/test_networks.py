"""One suite for every network: what synthesis and training rely on."""

from functools import partial

import pytest
import torch
from safetensors.torch import load

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.models.model import pack_weights
from napari_mri7t.engine.networks import NETWORKS, build_network, count_parameters, slices_of
from napari_mri7t.engine.networks.contract import CHECKS, check_network
from napari_mri7t.engine.networks.layers import SameConv2d
from napari_mri7t.engine.networks.patchgan import PatchGAN
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.networks.watnet import WATNet, WATNetQu2020
from napari_mri7t.engine.networks.watnet_blocks import WIDTH, DistillationBlock
from napari_mri7t.engine.networks.watnet_start import SHIFTS


def slab(network, height=24, width=32, n=2):
    n_slices, _ = slices_of(network)
    return torch.rand((n, n_slices, height, width), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_network_keeps_the_contract(name, check):
    torch.manual_seed(0)
    check(partial(build_network, name))


class Faulty(torch.nn.Module):
    """A network of one convolution, with one fault."""

    n_slices, n_outputs = 3, 1

    def __init__(self, fault):
        super().__init__()
        self.fault = fault
        self.first = torch.nn.Conv2d(3, 1, 3, padding=1)
        self.idle = torch.nn.Conv2d(3, 1, 1)
        self.hidden = torch.rand(1)
        self.n_outputs = 2 if fault == "slices" else 1

    def forward(self, x):
        y = self.first(x)
        y = y if self.fault == "gradient" else y + self.idle(x)
        y = y + torch.rand(1) if self.fault == "random" else y
        y = y + self.hidden if self.fault == "weights" else y
        y = y - x.mean() if self.fault == "batch" else y
        return y[..., 1:-1, 1:-1] if self.fault == "size" else y


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("slices", "must be odd"),
        ("size", r"slices of 8 x 8 give an output of shape \(2, 1, 6, 6\)"),
        ("gradient", "no gradient reaches idle.weight, idle.bias"),
        ("random", "two different estimates"),
        ("weights", "with the same weights gives a different"),
        ("batch", "depends on the other slabs"),
    ],
)
def test_contract_finds_a_fault(monkeypatch, fault, words):
    torch.manual_seed(0)
    monkeypatch.setitem(NETWORKS, "faulty", Faulty)
    with pytest.raises(ModelError, match=words):
        check_network("faulty", fault=fault)


def test_contract_is_kept_by_a_network_without_fault(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setitem(NETWORKS, "faulty", Faulty)
    check_network("faulty", fault=None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("basic_cnn", 672_963), ("watnet", 1_346_307), ("watnet_qu2020", 1_467_971)],
)
def test_parameters_are_those_of_the_report_and_of_the_released_code(name, expected):
    assert count_parameters(build_network(name)) == expected


def test_unknown_network_is_answered_with_the_choices():
    with pytest.raises(ValueError, match=r"'unet' is unknown; choose one of basic_cnn, watnet"):
        build_network("unet")


def test_argument_of_another_network_is_refused():
    with pytest.raises(ValueError, match="does not take"):
        build_network("basic_cnn", wavelet="db2")


def test_same_convolution_pads_an_even_kernel_on_the_bottom_and_right():
    convolution = SameConv2d(1, 1, 2)
    torch.nn.init.ones_(convolution.weight)
    torch.nn.init.zeros_(convolution.bias)
    # By hand: each output sums its pixel with those to the right and below; zeros outside.
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert convolution(x)[0, 0].tolist() == [[10.0, 6.0], [7.0, 4.0]]


def test_watnet_adds_a_residual_within_one_to_its_input():
    torch.manual_seed(0)
    network = WATNet().eval()
    x = slab(network)
    with torch.inference_mode():
        assert (network(x) - x).abs().max() <= 1


def test_watnet_wired_start_is_the_identity_and_brings_the_central_slice_to_the_end():
    torch.manual_seed(0)
    network = WATNet()
    features = features_of_identity(network, network.residual[0], slab(network, 48, 64))
    # White noise, pixel by pixel: nothing but an unmixed channel correlates so. Measured 0.996.
    assert correlation(features[:, 0], slab(network, 48, 64)[:, 1]) > 0.98


def test_qu2020_wired_start_is_the_identity_and_brings_the_central_slice_to_the_last_upsampling():
    torch.manual_seed(0)
    network = WATNetQu2020()
    x = slab(network, 48, 64)
    features = features_of_identity(network, network.reconstruction, x)
    for channel, (dy, dx) in enumerate(SHIFTS):
        wire, pixels = features[:, channel, ::2, ::2], x[:, 1, dy::2, dx::2]
        assert correlation(wire, pixels) > 0.98  # measured 0.990 to 0.993


def features_of_identity(network, layer, x):
    """Start as the identity, check that it is one, and give what a layer makes of the slab."""
    network.start_as_identity()
    found = {}
    layer.register_forward_hook(lambda _, __, output: found.update(features=output))
    with torch.inference_mode():
        assert torch.equal(network(x), x)
    return found["features"]


def correlation(one, other):
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]


@pytest.mark.parametrize("size", [(24, 32), (23, 29)])
def test_watnet_halves_features_as_a_depression_with_a_stride_would(size):
    torch.manual_seed(0)
    full, halving = DistillationBlock(0.0), DistillationBlock(0.0, stride=2)
    halving.load_state_dict(full.state_dict())
    x = torch.rand(1, WIDTH, *size)
    with torch.inference_mode():
        torch.testing.assert_close(halving(x), full(x)[..., ::2, ::2])


def test_watnet_may_give_the_central_slice_alone():
    torch.manual_seed(0)
    whole = WATNet().eval()
    central = WATNet(central_only=True).eval()
    central.load_state_dict(whole.state_dict())
    x = slab(whole)
    with torch.inference_mode():
        assert torch.equal(central(x), whole(x)[:, 1:2])
    assert count_parameters(central) == 1_346_307


@pytest.mark.parametrize("network_class", [WATNet, WATNetQu2020])
def test_first_step_of_adam_moves_the_estimate_by_a_part_of_its_range(network_class):
    """It moved WATNetQu2020's by 28, whose last kernel sums 18,496 features."""
    torch.manual_seed(0)
    network = network_class()
    network.start_as_identity()
    x = slab(network, 48, 64)
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)  # a tenth of the warm-up's end
    torch.nn.functional.mse_loss(network(x), 0.9 * x).backward()
    adam.step()
    with torch.inference_mode():
        assert (network(x) - x).abs().mean() < 0.5


def test_slice_unet_starts_as_the_identity_on_the_central_slices():
    network = SliceUNet(n_slices=7, n_outputs=3).eval()
    x = slab(network)
    with torch.inference_mode():
        assert torch.equal(network(x), x[:, 2:5])


@pytest.mark.parametrize(("n_slices", "n_outputs"), [(6, 3), (7, 2), (3, 5)])
def test_slice_unet_refuses_slices_without_a_centre(n_slices, n_outputs):
    with pytest.raises(ValueError, match="must be odd"):
        SliceUNet(n_slices, n_outputs)


def test_qu2020_standardizes_the_bands_of_its_training_set():
    torch.manual_seed(0)
    network = WATNetQu2020()
    x = slab(network, 32, 32, n=16) * 3 + 1
    network.fit_bands(x)
    levels = network._standardize(network._coefficients(x))
    for level in levels:
        torch.testing.assert_close(
            level.mean((0, 2, 3)), torch.zeros(level.shape[1]), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            level.std((0, 2, 3)), torch.ones(level.shape[1]), atol=1e-4, rtol=0
        )


def test_qu2020_upsampling_starts_bilinear():
    network = WATNetQu2020()
    up = next(m for m in network.modules() if isinstance(m, torch.nn.ConvTranspose2d))
    ramp = torch.arange(8.0).repeat(1, 64, 8, 1)
    # Bilinear interpolation of a ramp is a ramp of half the slope, away from the border.
    assert up(ramp)[0, 0, 8, 4:12].diff().tolist() == pytest.approx([0.5] * 7)


def test_patchgan_judges_patches_by_the_source_too():
    torch.manual_seed(0)
    judge = PatchGAN().eval()
    source, judged = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    assert judge(source, judged).shape == (2, 1, 8, 8)
    assert not torch.equal(judge(source, judged), judge(1 - source, judged))


def test_half_the_size_keeps_what_bfloat16_computes_with_and_what_normalises():
    network = build_network("basic_cnn")
    full = load(pack_weights(network, "basic_cnn"))
    half = load(pack_weights(network, "basic_cnn", half=True))
    assert half.keys() == full.keys()
    norms = [k for k, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    for key, value in half.items():
        is_norm = key.rpartition(".")[0] in norms
        expected = full[key] if is_norm else full[key].bfloat16()
        assert torch.equal(value, expected)
        assert value.dtype == expected.dtype
