"""Training patches, cut and degraded on the device that holds all volumes.

Cutting a patch is one gather: flips, quarter turns and planes are signs and orders of strides. The
histogram match is a look-up table per subject, so that every patch can have its own noise.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_mri7t.engine.simulation.noise import add_scan_noise, draw_noise
from napari_mri7t.engine.simulation.realistic import degrade, draw_strengths, white_of
from napari_mri7t.engine.synthesis.config import AXES_OF_PLANE
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.fit import check_fit
from napari_mri7t.engine.training.pairs import TrainingSubject
from napari_mri7t.engine.volumes.intensity import LANDMARKS

SAMPLED_VOXELS = 4096  # per brain, to compute its landmarks
# Exponent for the error of the harmonisation: moves grey matter by about 0.03 of [0, 1], half the
# distance between the histograms of the ten 7T brains (docs/raw_scans.md).
RESIDUAL_EXPONENT = (0.9, 1.1)
NO_NOISE_LEVEL = (
    "a network with a noise map learns from simulated noise only: set pseudo_3t to noise, and "
    "train on 7T volumes alone"
)
N_CANDIDATES = 4  # patches drawn per patch used, if those with much background are dropped


@dataclass(frozen=True, eq=False)
class BrainSamples:
    """Evenly spaced voxels of every subject's brain.

    Parameters
    ----------
    clean, coarse : Tensor, shape (M, SAMPLED_VOXELS)
        The normalised 7T, and the same at a lower resolution.
    white : Tensor, shape (M,)
        Signal of white matter in `clean`.
    landmarks : Tensor, shape (M, len(LANDMARKS))
        Landmarks of the target, to which sources are harmonised.
    """

    clean: Tensor
    coarse: Tensor
    white: Tensor
    landmarks: Tensor


def realistic_source(
    clean: Tensor,
    coarse: Tensor,
    samples: BrainSamples,
    subject: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Simulate the 3T side of patches as a network will see it after harmonisation.

    Returns
    -------
    Tensor, shape (N, D, H, W)
        In [0, 1], background 0.
    """
    n = len(subject)
    strengths = draw_strengths(n, generator)
    white = samples.white[subject]
    image = degrade(clean, coarse, white, strengths, generator)
    whole = [each[subject].view(n, 1, 1, -1) for each in (samples.clean, samples.coarse)]
    brain = degrade(whole[0], whole[1], white, strengths, generator).view(n, -1)
    found = torch.quantile(brain, torch.tensor(LANDMARKS, device=brain.device), dim=1).T
    harmonized = map_by_landmarks(image, found, samples.landmarks[subject])
    low, high = RESIDUAL_EXPONENT
    exponent = low + (high - low) * torch.rand(n, generator=generator, device=image.device)
    powered: Tensor = harmonized ** exponent.view(-1, 1, 1, 1)
    return powered


def map_by_landmarks(image: Tensor, scan: Tensor, model: Tensor) -> Tensor:
    """Map intensities as `harmonize` does, on a device and for a batch.

    Parameters
    ----------
    image : Tensor, shape (N, D, H, W)
    scan, model : Tensor, shape (N, L)
        Landmarks of each brain and of its target; strictly increasing.

    Returns
    -------
    Tensor, shape (N, D, H, W)
        In [0, 1].
    """
    middle = scan.shape[1] // 2 - 1  # as in `harmonize`, which counts 0 too
    slope = (model[:, -1:] - model[:, middle, None]) / (scan[:, -1:] - scan[:, middle, None])
    zero = torch.zeros_like(slope)
    scan = torch.cat((zero, scan, scan[:, -1:] + (1 - model[:, -1:]) / slope), 1)
    model = torch.cat((zero, model, torch.ones_like(slope)), 1)
    flat = image.flatten(1).contiguous()  # (N, V)
    above = torch.searchsorted(scan, flat).clamp(1, scan.shape[1] - 1)
    x0, x1 = scan.gather(1, above - 1), scan.gather(1, above)
    y0, y1 = model.gather(1, above - 1), model.gather(1, above)
    part = ((flat - x0) / (x1 - x0).clamp_min(1e-6)).clamp(0, 1)
    return torch.lerp(y0, y1, part).view(image.shape)


class PatchPool:
    """All volumes of a training on one device, from which batches are drawn.

    Parameters
    ----------
    subjects : list of TrainingSubject
    slices : tuple of int
        Numbers of slices that the network sees and that it estimates.
    config : TrainConfig
    device : torch.device
    noise_map : bool
        Whether the network takes the noise's deviation as one more channel.

    Raises
    ------
    ValueError
        If a patch does not fit a volume, or the noise is not known where the network takes it.
    """

    def __init__(
        self,
        subjects: list[TrainingSubject],
        slices: tuple[int, int],
        config: TrainConfig,
        device: torch.device,
        noise_map: bool = False,
    ) -> None:
        self.config = config
        self.device = device
        self.n_slices, self.n_outputs = slices
        self.fresh = config.fresh_noise and all(s.clean is not None for s in subjects)
        self.shapes = torch.tensor([s.target.shape for s in subjects], device=device)  # (M, 3)
        strides = [_strides(s.target.shape) for s in subjects]
        self.strides = torch.tensor(strides, device=device)  # (M, 3)
        sizes = torch.tensor([s.target.size for s in subjects], device=device)
        self.offsets = sizes.cumsum(0) - sizes  # (M,)
        self.target = _flat([s.target for s in subjects], device)
        self.source = _flat([_input(s, self.fresh) for s in subjects], device)
        coarse = [s.coarse for s in subjects if s.coarse is not None]
        has_coarse = self.fresh and len(coarse) == len(subjects)
        self.noisy = has_coarse and config.pseudo_3t == "noise"
        self.realistic = has_coarse and not self.noisy
        self.noise_map = noise_map
        if noise_map and not self.noisy:
            raise ValueError(NO_NOISE_LEVEL)
        if has_coarse:
            self.coarse = _flat(coarse, device)
        if self.realistic:
            self.samples = _samples(subjects, device)
        elif self.fresh and not self.noisy:
            tables = [s.source_table for s in subjects if s.source_table is not None]
            self.tables = _flat([table.values for table in tables], device)  # (M * n,)
            self.bounds = torch.tensor([(t.low, t.high) for t in tables], device=device)  # (M, 2)
        if config.sampling == "brain":
            self.brain = [
                torch.from_numpy(np.flatnonzero(s.target > 0)).to(device) for s in subjects
            ]
        check_fit(self.shapes.min(0).values.tolist(), self.n_slices, config)

    def __len__(self) -> int:
        return len(self.shapes)

    def draw(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw one batch.

        Parameters
        ----------
        batch_size : int
        generator : torch.Generator
            On this pool's device; the only source of randomness.

        Returns
        -------
        source : Tensor, shape (batch_size, n_slices, patch_size, patch_size)
            With a noise map, one more channel.
        target : Tensor, shape (batch_size, n_outputs, patch_size, patch_size)
        """
        dropping = self.config.max_background < 1
        n_drawn = batch_size * N_CANDIDATES if dropping else batch_size
        scale = self._pick(self.config.scales, generator)
        size = round(self.config.patch_size / scale)
        subject = self._subjects(n_drawn, generator)  # (B,)
        index = self._positions(subject, size, generator)  # (B, n_slices, size, size)
        if dropping:
            background = (self.target.take(index) == 0).float().mean((1, 2, 3))
            # Stable: those used first in the order drawn, the others only to fill the batch.
            order = (background > self.config.max_background).int().argsort(stable=True)
            index, subject = index[order[:batch_size]], subject[order[:batch_size]]
        margin = (self.n_slices - self.n_outputs) // 2
        target = self.target.take(index[:, margin : margin + self.n_outputs])
        source = self._resize(self.source.take(index))
        if self.noisy:
            return self._noisy(source, self._resize(self.coarse.take(index)), generator)
        if self.realistic:
            coarse = self._resize(self.coarse.take(index))
            source = realistic_source(source, coarse, self.samples, subject, generator)
        elif self.fresh:
            noise = torch.randn(source.shape, generator=generator, device=self.device)
            source = self._match(source + noise * self.config.variance**0.5, subject)
        return source, self._resize(target)

    def _noisy(
        self, clean: Tensor, coarse: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Add noise of random strength; the map of its strength is the last channel."""
        strengths = draw_noise(len(clean), generator)
        source, target, level = add_scan_noise(clean, coarse, strengths, generator)
        margin = (self.n_slices - self.n_outputs) // 2
        target = target[:, margin : margin + self.n_outputs]
        if self.noise_map:
            source = torch.cat((source, level[:, self.n_slices // 2, None]), 1)
        return source, target

    def _subjects(self, n: int, generator: torch.Generator) -> Tensor:
        """Return the subject of every patch: evenly distributed, in random order."""
        order = torch.randperm(len(self), generator=generator, device=self.device)
        return order.repeat(-(-n // len(self)))[:n]

    def _positions(self, subject: Tensor, size: int, generator: torch.Generator) -> Tensor:
        """Return the flat index of every voxel of every patch."""
        n = len(subject)
        order = self._axes(n, generator)  # (B, 3): volume axis of slice, row, column
        extents = torch.tensor([self.n_slices, size, size], device=self.device)
        shape = self.shapes[subject].gather(1, order)  # (B, 3)
        strides = self.strides[subject].gather(1, order)
        first = torch.zeros_like(shape)
        if self.config.end_slices:
            axial = order == 0
            first[axial] += self.config.end_slices
            shape = torch.where(axial, shape - self.config.end_slices, shape)
        room = shape - first - extents
        uniform = torch.rand((n, 3), generator=generator, device=self.device)
        start = first + (uniform * (room + 1)).long()
        if self.config.sampling == "brain":
            centre = self._brain_voxels(subject, generator).gather(1, order)
            start = (centre - extents // 2).clamp_min(0).minimum(first + room).maximum(first)
        steps = self._steps(extents, n, generator)  # three of (B, extent)
        index = self.offsets[subject].view(n, 1, 1, 1)
        for axis, step in enumerate(steps):
            shape_of_axis = [n, 1, 1, 1]
            shape_of_axis[axis + 1] = -1
            along = (start[:, axis, None] + step) * strides[:, axis, None]
            index = index + along.view(shape_of_axis)
        return index

    def _axes(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw planes; for a quarter turn (with a flip) swap rows and columns."""
        choices = torch.tensor([AXES_OF_PLANE[plane] for plane in self.config.planes])
        drawn = torch.randint(len(choices), (n,), generator=generator, device=self.device)
        order = choices.to(self.device)[drawn]
        if self.config.rotations:
            turned = torch.rand(n, generator=generator, device=self.device) < 0.5
            order = torch.where(turned[:, None], order[:, [0, 2, 1]], order)
        return order

    def _steps(self, extents: Tensor, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return the voxel offsets along each axis, reversed if the patch is mirrored."""
        mirrored = torch.zeros((n, 3), dtype=torch.bool, device=self.device)
        if self.config.flips or self.config.rotations:
            mirrored = torch.rand((n, 3), generator=generator, device=self.device) < 0.5
        steps = []
        for axis, extent in enumerate(extents.tolist()):
            forward = torch.arange(extent, device=self.device).expand(n, extent)
            steps.append(torch.where(mirrored[:, axis, None], extent - 1 - forward, forward))
        return steps

    def _brain_voxels(self, subject: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one brain voxel per patch, as (S, A, R)."""
        uniform = torch.rand(len(subject), generator=generator, device=self.device).tolist()
        flat = torch.stack(
            [
                self.brain[s][int(u * len(self.brain[s]))]
                for s, u in zip(subject.tolist(), uniform, strict=True)
            ]
        )
        strides = self.strides[subject]
        s = flat // strides[:, 0]
        a = flat % strides[:, 0] // strides[:, 1]
        return torch.stack((s, a, flat % strides[:, 1]), dim=1)

    def _match(self, noisy: Tensor, subject: Tensor) -> Tensor:
        """Apply the look-up table of every subject, with linear interpolation."""
        n_entries = len(self.tables) // len(self)
        low, high = self.bounds[subject].view(-1, 2, 1, 1, 1).unbind(1)
        place = ((noisy - low) / (high - low)).clamp(0, 1) * (n_entries - 1)
        below = place.floor().clamp_max(n_entries - 2)
        index = below.long() + subject.view(-1, 1, 1, 1) * n_entries
        return torch.lerp(self.tables.take(index), self.tables.take(index + 1), place - below)

    def _resize(self, patches: Tensor) -> Tensor:
        size = self.config.patch_size
        if patches.shape[-1] == size:
            return patches
        return F.interpolate(patches, size=(size, size), mode="bilinear", antialias=True)

    def _pick(self, choices: tuple[float, ...], generator: torch.Generator) -> float:
        if len(choices) == 1:
            return choices[0]
        drawn = torch.randint(len(choices), (), generator=generator, device=self.device)
        return choices[int(drawn)]


def _input(subject: TrainingSubject, fresh: bool) -> np.ndarray:
    """Return the volume that fresh noise is added to, or else the source."""
    return subject.clean if fresh and subject.clean is not None else subject.source


def _samples(subjects: list[TrainingSubject], device: torch.device) -> BrainSamples:
    """Sample evenly spaced voxels of every brain."""
    clean, coarse, white, landmarks = [], [], [], []
    for subject in subjects:
        seen, blurred = _input(subject, fresh=True), subject.coarse
        # Whole-volume matching gives every target the reference's number of brain voxels: take the
        # same voxels of source and target, or their landmarks do not correspond.
        brain = np.flatnonzero(subject.target > 0)
        chosen = brain[np.linspace(0, len(brain) - 1, SAMPLED_VOXELS).astype(int)]
        clean.append(seen.take(chosen))
        coarse.append(np.asarray(blurred).take(chosen))
        white.append(white_of(seen))
        landmarks.append(np.quantile(subject.target.take(chosen), LANDMARKS))
    tensors = [torch.from_numpy(np.array(e, np.float32)) for e in (clean, coarse, white, landmarks)]
    return BrainSamples(*(tensor.to(device) for tensor in tensors))


def _flat(arrays: list[np.ndarray], device: torch.device) -> Tensor:
    joined = np.concatenate([np.ascontiguousarray(array, np.float32).ravel() for array in arrays])
    return torch.from_numpy(joined).to(device)


def _strides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1] * shape[2], shape[2], 1
