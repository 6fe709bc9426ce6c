"""Networks as CUDA graphs: when one is captured, replayed or given up. The GPU is stood in for."""

import logging

import pytest
import torch
from torch import nn

from napari_mri7t.engine import slabs
from napari_mri7t.engine.devices import mixed_precision
from napari_mri7t.engine.networks import build_network, graphs
from napari_mri7t.engine.networks.graphs import GraphedNetwork
from napari_mri7t.engine.synthesis_config import SynthesisConfig

SMALL, LARGE = (2, 3, 16, 16), (1, 3, 32, 16)


class Counting(nn.Module):
    """Blurs, and counts how often it is run kernel by kernel."""

    def __init__(self):
        super().__init__()
        self.n_passes = 0

    def forward(self, x):
        self.n_passes += 1
        return nn.functional.avg_pool2d(x, 3, 1, 1)


def stand_in(error=0.0):
    """Capture as a GPU does it: fixed memory for input and output, which a replay overwrites."""

    def capture(network, x):
        source, estimate = x.clone(), torch.zeros_like(x)

        def replay(values):
            source.copy_(values)
            estimate.copy_(nn.functional.avg_pool2d(source, 3, 1, 1) + error)
            return estimate.clone()

        return replay

    return capture


def test_third_input_of_a_shape_is_replayed_with_its_own_values(monkeypatch):
    monkeypatch.setattr(graphs, "capture", stand_in())
    network = Counting()
    graphed = GraphedNetwork(network)
    inputs = [torch.rand(shape) for shape in (SMALL, LARGE) * 4]
    estimates = [graphed(x) for x in inputs]
    assert network.n_passes == 4  # two of either shape
    for x, estimate in zip(inputs, estimates, strict=True):
        torch.testing.assert_close(estimate, Counting()(x))


def test_network_that_cannot_be_captured_runs_as_before_and_is_not_tried_again(monkeypatch):
    tries = []

    def refuse(network, x):
        tries.append(x.shape)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "capture", refuse)
    network = Counting()
    graphed = GraphedNetwork(network)
    for shape in (SMALL, LARGE) * 3:
        x = torch.rand(shape)
        torch.testing.assert_close(graphed(x), Counting()(x))
    assert network.n_passes == 6
    assert len(tries) == 1


def test_capture_that_gives_something_else_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(graphs, "capture", stand_in(error=0.5))
    graphed = GraphedNetwork(Counting())
    with caplog.at_level(logging.WARNING, graphs.__name__):
        for _ in range(4):
            x = torch.rand(SMALL)
            torch.testing.assert_close(graphed(x), Counting()(x))
    assert "differs by 0.5" in caplog.text


def test_volume_on_a_gpu_goes_through_a_folded_network_with_graphs(monkeypatch):
    monkeypatch.setattr(slabs, "to_device", lambda network, device: network)
    network, device = build_network("basic_cnn").eval(), torch.device("cuda")
    ready = slabs.Runner(network, SynthesisConfig(), device, torch.bfloat16).ready()
    assert isinstance(ready, GraphedNetwork)
    assert not [each for each in ready.network.modules() if isinstance(each, nn.BatchNorm2d)]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["basic_cnn", "watnet", "slice_unet"])
def test_graph_on_a_gpu_gives_what_the_kernels_one_by_one_give(name):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    device = torch.device("cuda")
    network = build_network(name).eval().to(device)
    graphed = GraphedNetwork(network)
    with torch.inference_mode(), mixed_precision(device, torch.bfloat16):
        for _ in range(4):
            x = torch.rand(4, network.n_slices, 64, 48, device=device)
            torch.testing.assert_close(graphed(x), network(x), rtol=0, atol=0.01)
    assert graphed._replays[x.shape] is not None
