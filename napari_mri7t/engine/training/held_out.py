"""A few slices of the held-out subject, estimated at every checkpoint: a curve to be watched.

No figure of it decides anything: neither which checkpoint is kept, nor when a training ends.
"""

import numpy as np
import torch
from torch import Tensor, nn

from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.metrics.noise import Noise, measure_noise, told_noise
from napari_mri7t.engine.networks import slices_of, takes_noise_map
from napari_mri7t.engine.training.pairs import TrainingSubject
from napari_mri7t.engine.volumes.grids import bounding_box
from napari_mri7t.engine.volumes.intensity import BRIGHT_LEVEL

N_SLICES = 5
MARGIN_VOXELS = 8  # around the brain, in a slice


class HeldOutSlices:
    """Axial slices of a subject, evenly distributed over its brain, with their neighbours.

    Parameters
    ----------
    subject : TrainingSubject
        That no weight is learnt from.
    network : nn.Module
        Decides how many neighbours a slice has, and whether it is told of the noise.

    Raises
    ------
    ValueError
        If the subject has no brain.
    """

    def __init__(self, subject: TrainingSubject, network: nn.Module) -> None:
        brain = subject.target > 0
        foot, top = (side := bounding_box(brain, 0)[0]).start, side.stop - 1
        _, rows, columns = bounding_box(brain, MARGIN_VOXELS)
        indices = np.linspace(foot, top, N_SLICES + 2).round().astype(int)[1:-1]
        noise = measure_noise(subject.source) if takes_noise_map(network) else None
        slabs = [slab_of(subject.source, index, network, noise) for index in indices]
        self.target = subject.target[indices][:, rows, columns]  # (N_SLICES, H, W)
        self.slabs = torch.stack(slabs)[:, :, rows, columns]  # (N_SLICES, n_slices, H, W)

    def psnr(self, network: nn.Module) -> float:
        """Return the PSNR of all slices inside the brain, dB; the network is left as it was."""
        estimate = np.stack([central_slice(network, slab) for slab in self.slabs])
        return psnr(self.target, estimate, data_range=1.0, mask=self.target > 0)


def slab_of(
    source: np.ndarray, index: int, network: nn.Module, noise: Noise | None = None
) -> Tensor:
    """Return what a network sees of one axial slice, the last slice repeated at an end.

    Parameters
    ----------
    source : ndarray of float32, shape (S, A, R)
        In [0, 1].
    index : int
        Of the slice, from the feet.
    network : nn.Module
    noise : Noise, optional
        Of the source, for a network that takes a noise map; measured if absent.

    Returns
    -------
    Tensor, shape (n_slices, A, R)
        With a noise map, one more channel.
    """
    n_slices, _ = slices_of(network)
    first = index - n_slices // 2
    chosen = np.clip(np.arange(first, first + n_slices), 0, len(source) - 1)
    slab = torch.from_numpy(source[chosen])  # (n_slices, A, R)
    if not takes_noise_map(network):
        return slab
    told = told_noise(measure_noise(source) if noise is None else noise, BRIGHT_LEVEL)
    return torch.cat((slab, slab.new_full((1, *slab.shape[1:]), told)))


def central_slice(network: nn.Module, slab: Tensor) -> np.ndarray:
    """Estimate the central slice of a slab; the network's weights and mode stay.

    Parameters
    ----------
    network : nn.Module
    slab : Tensor
        From `slab_of`.

    Returns
    -------
    ndarray of float32, shape (A, R)
        In [0, 1].
    """
    _, n_outputs = slices_of(network)
    device, is_training = next(network.parameters()).device, network.training
    with torch.inference_mode():
        found: Tensor = network.eval()(slab[None].to(device))[0, n_outputs // 2]
        estimate: np.ndarray = found.clamp(0, 1).float().cpu().numpy()
    network.train(is_training)
    return estimate
