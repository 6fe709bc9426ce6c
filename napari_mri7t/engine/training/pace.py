"""How long a training takes on this machine, measured by one of its steps."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.networks import slices_of, takes_noise_map
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.learner import new_learner, take_step

MOST_PATCHES = 2  # in the step that is measured; a batch takes as much longer as it is larger


def seconds_per_patch(
    network: str, network_config: Mapping[str, Any], config: TrainConfig, device: str = "auto"
) -> float:
    """Measure how long a training works on one patch: the second of two steps on noise.

    Parameters
    ----------
    network : str
    network_config : mapping
        Arguments of the network's constructor.
    config : TrainConfig
    device : str
        As `SynthesisConfig.device`.

    Returns
    -------
    float
        Seconds; those for drawing the patches are not included.

    Examples
    --------
    >>> quick = TrainConfig(patch_size=16, batch_size=1)
    >>> seconds_per_patch("basic_cnn", {}, quick, "cpu") > 0
    True
    """
    place = resolve_device(device)
    learner = new_learner(network, dict(network_config), config, config.seed)
    learner.to(place)
    n_slices, n_outputs = slices_of(learner.network)
    n_channels = n_slices + takes_noise_map(learner.network)
    n_patches, size = min(config.batch_size, MOST_PATCHES), config.patch_size
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.rand((n_patches, n_channels + n_outputs, size, size), generator=generator)
    source, target = noise.to(place).split((n_channels, n_outputs), 1)
    seconds = 0.0
    for _ in range(2):
        since = time.perf_counter()
        loss, _ = take_step(learner, (source, target), config, place)
        loss.item()  # waits for the device
        seconds = time.perf_counter() - since
    return seconds / n_patches
