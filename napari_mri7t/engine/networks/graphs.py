"""A network's kernels on an NVIDIA GPU, launched together as one CUDA graph.

A launch of its own costs a kernel some microseconds, on a fast card more than its work takes.
"""

import logging
from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor, nn

LOGGER = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 0.01  # of a replay from the kernels launched one by one, intensities in [0, 1]
CAPTURE = Lock()  # a process captures one graph at a time

Replay = Callable[[Tensor], Tensor]


class GraphedNetwork:
    """A network in inference, replayed as a CUDA graph from the third input of a shape on.

    The first pass of a shape prepares what a capture must not (choice of kernels, work space); the
    second checks the capture. Whatever goes wrong there leaves the network without graphs.

    Parameters
    ----------
    network : nn.Module
        In eval mode, on a CUDA device; its weights must not change.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._replays: dict[torch.Size, Replay | None] = {}
        self._is_capturing = True

    def __call__(self, x: Tensor) -> Tensor:
        """Estimate slabs (N, n_slices, H, W), always with channels last."""
        replay = self._replays.get(x.shape)
        if replay is not None:
            return replay(x)
        estimate: Tensor = self.network(x)
        if self._is_capturing and x.shape in self._replays:
            self._replays[x.shape] = self._checked_capture(x, estimate)
        else:
            self._replays[x.shape] = None
        return estimate

    def _checked_capture(self, x: Tensor, estimate: Tensor) -> Replay | None:
        try:
            replay = capture(self.network, x)
            difference = float((replay(x) - estimate).abs().max())
        except RuntimeError as error:  # a network that waits for its GPU; a lack of memory
            LOGGER.info("%s is not captured: %s", type(self.network).__name__, error)
        else:
            if difference <= LARGEST_DIFFERENCE:
                return replay
            LOGGER.warning("a captured network differs by %g: its graphs are not used", difference)
        self._is_capturing = False
        self._replays.clear()
        return None


def capture(network: nn.Module, x: Tensor) -> Replay:
    """Record a network's kernels for inputs of one shape.

    Parameters
    ----------
    network : nn.Module
        On a CUDA device, run for this shape before.
    x : Tensor, shape (N, n_slices, H, W)

    Returns
    -------
    callable
        From an input of that shape to its estimate.

    Raises
    ------
    RuntimeError
        If the network does what a graph cannot hold, or memory lacks.
    """
    graph, source = torch.cuda.CUDAGraph(), x.clone()
    with CAPTURE, torch.cuda.device(x.device):
        stream = torch.cuda.Stream()
        # The outer context gives the stream back even where the capture fails to end.
        with (
            torch.cuda.stream(stream),
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            estimate: Tensor = network(source)

    def replay(values: Tensor) -> Tensor:
        source.copy_(values)
        graph.replay()
        return estimate.clone()  # the next replay overwrites it

    return replay
