"""Fused convolutions give what the network gives, and leave alone what they do not know."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_mri7t.engine.devices import mixed_precision
from napari_mri7t.engine.networks import NETWORKS, build_network, fusion
from napari_mri7t.engine.networks.fusion import FusedConvolution, fold_normalization, fuse

CPU_HAS_ONEDNN = torch.backends.mkldnn.is_available()
pytestmark = pytest.mark.skipif(not CPU_HAS_ONEDNN, reason="this build of torch has no oneDNN")


def fused_convolutions(network):
    return [each for each in network.modules() if isinstance(each, FusedConvolution)]


def trained(name):
    """A network whose every part counts: nothing is 0 as at the start of a training."""
    torch.manual_seed(0)
    network = build_network(name).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(32, 48), (37, 21)])
def test_fused_network_gives_what_the_network_gives(name, size):
    network = trained(name)
    x = torch.rand(2, network.n_slices, *size).contiguous(memory_format=torch.channels_last)
    fused = fuse(network, torch.float32)
    with torch.inference_mode():
        # Sums in another order, and weights into which a normalisation is folded, round otherwise.
        torch.testing.assert_close(fused(x), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_of_a_network_is_fused(name):
    fused = fuse(trained(name), torch.float32)
    assert fused_convolutions(fused)
    kinds = nn.Conv2d | nn.ReLU | nn.LeakyReLU | nn.BatchNorm2d
    left = [each for each in fused.modules() if isinstance(each, kinds)]
    assert all(isinstance(each, nn.LeakyReLU) for each in left)  # after a product or a sum


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_network_has_no_normalisation_and_gives_what_the_network_gives(name):
    network = trained(name)
    x = torch.rand(2, network.n_slices, 32, 48)
    folded = fold_normalization(network)
    assert not [each for each in folded.modules() if isinstance(each, nn.BatchNorm2d)]
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-4, atol=1e-4)


def test_fusing_leaves_the_network_as_it_is():
    network = trained("slice_unet")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fuse(network, torch.bfloat16)
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert not fused_convolutions(network)


class Foreign(nn.Module):
    """Somebody else's network: what it adds, and to what, in the ways people write it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.wide = nn.Conv2d(8, 8, 3, padding=2)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2, bias=False)
        self.grouped = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.reflected = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.gate = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        y = torch.relu(self.first(x))
        y = self.dilated(y) + y
        y = y + F.leaky_relu(self.grouped(self.reflected(y)), 0.1)
        y = self.wide(y)[..., 1:-1, 1:-1] + y
        y = self.gate(y.mean((2, 3), keepdim=True)) + y  # of one pixel, for all
        y += self.gate(y)
        return x + self.last(y)


def test_sums_of_other_shapes_and_shared_convolutions_stay_right():
    torch.manual_seed(0)
    network = Foreign().eval()
    fused = fuse(network, torch.float32)
    x = torch.rand(1, 3, 16, 20)
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), network(x), rtol=1e-4, atol=1e-5)
    assert len(fused_convolutions(fused)) == 6


def test_the_source_is_added_to_and_not_rounded():
    network = Foreign().eval()
    for parameter in network.last.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(1, 3, 16, 20)
    with torch.inference_mode(), mixed_precision(torch.device("cpu"), torch.bfloat16):
        assert torch.equal(fuse(network, torch.bfloat16)(x), x)


class Rectified(nn.Conv2d):
    """A convolution that does more than its weights say."""

    def forward(self, x):
        return super().forward(x).relu()


class ByName(nn.Module):
    """Calls its convolution by the argument's name."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.convolution(input=x)


ODD = {
    "own forward": lambda: Rectified(3, 3, 3, padding=1),
    "hook": lambda: nn.utils.spectral_norm(nn.Conv2d(3, 3, 3, padding=1)),
    "parametrized": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3, padding=1)),
    "by name": ByName,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("rewrite", [fold_normalization, partial(fuse, precision=torch.float32)])
def test_convolutions_that_are_not_plain_are_left_alone(kind, rewrite):
    torch.manual_seed(0)
    network = nn.Sequential(ODD[kind](), nn.BatchNorm2d(3))
    network[1].running_mean.uniform_(-0.5, 0.5)
    network[1].running_var.uniform_(0.5, 2)
    x = torch.rand(1, 3, 16, 20)
    with torch.inference_mode():
        torch.testing.assert_close(rewrite(network.eval())(x), network(x))


class Curious(nn.Module):
    """Decides by its input, which cannot be traced."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.convolution(x) if x.mean() > 0 else x


def test_network_that_cannot_be_traced_runs_as_it_is():
    network = Curious()
    assert fuse(network, torch.float32) is network


def test_lack_of_memory_while_tracing_is_not_taken_for_a_network_that_cannot_be_traced():
    class Greedy(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("no")

    with pytest.raises(torch.OutOfMemoryError):
        fuse(Greedy(), torch.float32)


def test_without_onednn_a_network_runs_as_it_is(monkeypatch):
    from napari_mri7t.engine.networks import fusion

    monkeypatch.setattr(fusion, "_has_onednn", lambda precision: False)
    network = trained("watnet")
    assert fuse(network, torch.float32) is network


def test_threads_that_fuse_at_once_get_the_same_and_leave_torch_as_it_was():
    before = nn.Module.__call__, nn.Module.__getattr__
    networks = [trained("slice_unet") for _ in range(2)] * 3
    slabs = torch.rand(1, 7, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = fuse(networks[0], torch.float32)(slabs)

        def fused(network):
            return [fuse(network, torch.float32)(slabs) for _ in range(3)]

        with ThreadPoolExecutor(len(networks)) as pool:
            found = [each for made in pool.map(fused, networks) for each in made]
    assert all(torch.equal(each, expected) for each in found)
    assert (nn.Module.__call__, nn.Module.__getattr__) == before


def test_fusing_draws_no_random_numbers():
    network = trained("slice_unet")
    fusion._has_onednn.cache_clear()
    state = torch.random.get_rng_state()
    fuse(network, torch.float32)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_network_that_another_thread_runs_is_not_traced_along():
    """As a brain extraction runs while the network of the scan before is being fused."""
    other, x, made = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()), torch.ones(1, 1, 8, 8), []
    expected = other(x)

    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 3)

        def forward(self, x):
            with ThreadPoolExecutor(1) as pool:
                made.append(pool.submit(other, torch.ones(1, 1, 8, 8)).result())
            return self.convolution(x)

    assert fused_convolutions(fuse(Slow(), torch.float32))
    assert torch.equal(made[0], expected)


def test_lack_of_memory_when_onednn_is_tried_is_not_taken_for_its_absence(monkeypatch):
    def fail(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    fusion._has_onednn.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(FusedConvolution, "forward", fail)
        with pytest.raises(RuntimeError, match="allocate memory"):
            fuse(trained("basic_cnn"), torch.float32)
    assert fused_convolutions(fuse(trained("basic_cnn"), torch.float32))
