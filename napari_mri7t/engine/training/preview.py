"""A look at a training that runs: one slice of the held-out subject through its last checkpoint."""

from dataclasses import dataclass

import numpy as np
import torch

from napari_mri7t.engine.networks import build_network, slices_of
from napari_mri7t.engine.training.checkpoint import load_state
from napari_mri7t.engine.training.patches import TrainingSubject
from napari_mri7t.engine.training.study import Study


@dataclass(frozen=True, eq=False)
class Preview:
    """What a network makes of a slice in the middle of its training.

    Attributes
    ----------
    step : int
        Of the checkpoint.
    source, estimate, target : ndarray of float32, shape (A, R)
        One axial slice, in [0, 1].
    """

    step: int
    source: np.ndarray
    estimate: np.ndarray
    target: np.ndarray


def preview_slice(study: Study, k: int, pair: TrainingSubject, index: int) -> Preview | None:
    """Estimate one axial slice with the weights of the last checkpoint, on the CPU.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`.
    pair : TrainingSubject
        The subject to look at; for a fair look the one that fold k holds out.
    index : int
        Of the slice, from the feet.

    Returns
    -------
    Preview or None
        None where no checkpoint was written yet.

    Raises
    ------
    StateError
        If the checkpoints are damaged.
    """
    state = load_state(study.fold_folder(k))
    if state is None:
        return None
    tensors, facts = state
    network = build_network(study.settings.network, **study.settings.network_config)
    prefix = "average/" if study.settings.config.average_decay else "network/"
    network.load_state_dict(
        {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
    )
    n_slices, n_outputs = slices_of(network)
    first = index - n_slices // 2
    chosen = np.clip(np.arange(first, first + n_slices), 0, len(pair.source) - 1)
    slab = torch.from_numpy(pair.source[chosen])[None]  # (1, n_slices, A, R)
    with torch.inference_mode():
        estimate = network.eval()(slab)[0, n_outputs // 2].clamp(0, 1).numpy()
    return Preview(int(facts["step"]), pair.source[index], estimate, pair.target[index])
