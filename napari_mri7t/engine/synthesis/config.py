"""How a volume is synthesised: the settings and their defaults. Read without torch.

The three planes that slices are taken along, by the order of a volume's axes.
"""

from dataclasses import dataclass

AXES_OF_PLANE = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}  # of (S, A, R)


@dataclass(frozen=True)
class SynthesisConfig:
    """How a volume is synthesised.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "float32", "bfloat16"}
        auto takes bfloat16 where the hardware computes it fast.
    step : int
        Slices from one slab to the next; 1 averages every slice over all slabs that estimate it, 3
        estimates each once, as the report. Never more than the network's number of outputs.
    end_slices : int
        Slices at either end that stay as in the source; 30 in the report.
    planes : tuple of {"axial", "coronal", "sagittal"}
        Planes whose estimates are averaged.
    flips : bool
        Average the estimates of the volume and of its left-right mirror image.
    crop : bool
        Compute only the brain with two voxels around it, and leave the background 0. False computes
        whole slices, as the report.
    memory_mb : int
        Bound for the activations of all slabs that are computed at once, MB.
    """

    device: str = "auto"
    precision: str = "auto"
    step: int = 1
    end_slices: int = 0
    planes: tuple[str, ...] = ("axial",)
    flips: bool = False
    crop: bool = True
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"step must be at least 1, got {self.step}")
        if self.end_slices < 0:
            raise ValueError(f"end_slices must be at least 0, got {self.end_slices}")
        if not self.planes or not set(self.planes) <= set(AXES_OF_PLANE):
            raise ValueError(
                f"planes must be some of {', '.join(AXES_OF_PLANE)}, got {self.planes}"
            )
        if self.memory_mb < 1:
            raise ValueError(f"memory_mb must be at least 1, got {self.memory_mb}")
