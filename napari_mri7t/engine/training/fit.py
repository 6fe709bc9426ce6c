"""Whether the patches of a training fit its volumes. Read without torch."""

from collections.abc import Sequence

from napari_mri7t.engine.training.config import TrainConfig


def check_fit(shape: Sequence[int], n_slices: int, config: TrainConfig, name: str = "") -> None:
    """Check that patches fit a volume.

    Parameters
    ----------
    shape : sequence of int
        Of the volume.
    n_slices : int
        That the network takes.
    config : TrainConfig
    name : str
        For the message.

    Raises
    ------
    ValueError
        If the volume's shortest side is too short.

    Examples
    --------
    >>> check_fit((182, 218, 182), 7, TrainConfig(patch_size=96))
    """
    shortest, where = min(shape), f"{name}: " if name else ""
    needed = round(config.patch_size / min(config.scales))
    n_needed = n_slices + 2 * config.end_slices
    if shortest < n_needed:
        raise ValueError(
            f"{where}{n_needed} slices, {config.end_slices} of them at either end, do not fit a "
            f"volume whose shortest side is {shortest}; set a smaller end_slices"
        )
    if shortest < needed:
        raise ValueError(
            f"{where}patches of {needed} voxels do not fit a volume whose shortest side is "
            f"{shortest}; set a smaller patch_size"
        )
