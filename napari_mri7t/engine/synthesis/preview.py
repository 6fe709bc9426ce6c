"""Parts of an estimate before the whole: a slice or a region, as the full synthesis computes it.

What depends on the whole volume is found once, when a preview is opened: its place on the scale of
the model's intensities, its brain, and which slabs go through the network in which windows. A
part then needs only the slabs that meet it.
"""

from functools import partial
from pathlib import Path

import numpy as np

from napari_mri7t.engine.devices import precision_name
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.preparation.prepare import PreparationConfig, PreparationPlan
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.synthesis.blending import merge, seam_of
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.scan import ReadyScan, load_model_for, prepare_scan
from napari_mri7t.engine.synthesis.slabs import SlabPlan, average_region, plan_slabs
from napari_mri7t.engine.synthesis.synthesize import Passage, on_any_device
from napari_mri7t.engine.synthesis.windows import Region
from napari_mri7t.engine.typed import check_kind
from napari_mri7t.engine.volumes.brain import fill_brain
from napari_mri7t.engine.volumes.volume import VolumeLike, as_volume

BLOCK = 8  # slices across the network's plane
PLANE_OF_AXIS = ("sagittal", "coronal", "axial")


def open_preview(  # noqa: PLR0913 - as `synthesize`
    scan: VolumeLike,
    model: str | Path | Model | None = None,
    config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen, as the next two
    preparation: PreparationConfig | PreparationPlan = PreparationConfig(),  # noqa: B008
    output: OutputConfig = OutputConfig(),  # noqa: B008
    report: Report = ignore,
) -> "Preview":
    """Prepare a scan as needed, and return what synthesises any slice or region of it.

    Parameters
    ----------
    scan, model, config, preparation, output, report
        As for `synthesize`; a plan is for native space. Of `output` only `background` is used.

    Raises
    ------
    VolumeError, Mri7tError, DeviceError, ValueError
        As `synthesize`.

    Examples
    --------
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> preview = open_preview(load_template(), "basic_cnn", SynthesisConfig(device="cpu"))
    >>> preview.slice(2, 90).shape  # axial
    (197, 233)
    >>> preview.region((slice(80, 100), slice(80, 100), slice(90, 92))).shape
    (20, 20, 2)
    """
    check_kind(
        config=(config, SynthesisConfig),
        preparation=(preparation, (PreparationConfig, PreparationPlan)),
        output=(output, OutputConfig),
    )
    scan = as_volume(scan)
    model = load_model_for(scan, model, report)
    return Preview(prepare_scan(scan, preparation, report=report), model, config, output)


class Preview:
    """A scan on its own grid of which any part can be synthesised at once.

    A part equals that of the full synthesis on the scan's own grid where the network sees all that
    it sees there: in a slice of the plane that the network works in. Elsewhere it sees 40 voxels
    around the part, and voxels differ within the tolerance between float32 and bfloat16. With
    several planes, that is so in every slice.

    Parameters
    ----------
    ready : ReadyScan
        From `prepare_scan`.
    model : Model
    config : SynthesisConfig
    output : OutputConfig
        Only `background` is used: a preview is computed and shown on the scan's own grid.

    Raises
    ------
    VolumeError, DeviceError
        As `estimate`.
    """

    def __init__(
        self,
        ready: ReadyScan,
        model: Model,
        config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen, as the next
        output: OutputConfig = OutputConfig(),  # noqa: B008
    ) -> None:
        self._ready, self.model = ready, model
        self._background = output.background
        prepared = ready.prepared
        self._passage = Passage.of(ready.model_input, model, config)
        self._planes = self._passage.runner.config.planes
        self._blocks: dict[tuple[str, ...], tuple[Region, np.ndarray]] = {}  # by planes
        self._plans: dict[tuple[str, ...], tuple[tuple[object, ...], SlabPlan]] = {}  # likewise
        self._seam: np.ndarray | None = None
        self._tissue: np.ndarray | None = None
        if prepared is not None:
            self._seam = seam_of(prepared.scan, prepared.region, output.background)
        if prepared is not None and not prepared.scale.is_usual:
            self._tissue = prepared.mask | fill_brain(prepared.scan.array)
        self.notes: list[str] = list(self._passage.warnings)

    def averages(self, axis: int) -> bool:
        """Return whether the synthesis averages other planes into what a quick slice shows.

        Parameters
        ----------
        axis : {0, 1, 2}
            Across the slice.
        """
        return len(self._planes) > 1 and PLANE_OF_AXIS[axis] in self._planes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the scan."""
        return self._ready.scan.shape

    @property
    def computed_on(self) -> str:
        """Device and precision, in words."""
        runner = self._passage.runner
        return f"{runner.device} ({precision_name(runner.precision)})"

    def slice(
        self, axis: int, index: int, report: Report = ignore, *, quick: bool = False
    ) -> np.ndarray:
        """Synthesise one slice.

        Parameters
        ----------
        axis : {0, 1, 2}
            Across the slice: 0 sagittal, 1 coronal, 2 axial.
        index : int
            Of the slice, in voxels.
        report : callable
            What it raises cancels.
        quick : bool
            Where the synthesis averages several planes and the slice is cut along one of them,
            estimate it in that plane alone: in a fraction of a second, with more noise.

        Returns
        -------
        ndarray of float32, shape of the scan without `axis`
            In the scan's own range of intensities.

        Raises
        ------
        ValueError
            If there is no such slice.
        """
        if axis not in (0, 1, 2) or not 0 <= index < self.shape[axis]:
            raise ValueError(f"the scan of shape {self.shape} has no slice {index} on axis {axis}")
        own = (PLANE_OF_AXIS[axis],)
        planes = own if quick and self.averages(axis) else self._planes
        # Across the network's own plane one slice costs nearly as much as a few: all slabs of the
        # volume, around it.
        thickness = 1 if planes == own else BLOCK
        start = index // thickness * thickness
        box = [slice(0, n) for n in self.shape]
        box[axis] = slice(start, min(start + thickness, self.shape[axis]))
        if planes not in self._blocks or self._blocks[planes][0] != tuple(box):
            self._blocks[planes] = (tuple(box), self._computed(tuple(box), planes, report))
        return np.asarray(self._blocks[planes][1].take(index - start, axis))

    def region(self, box: Region, report: Report = ignore) -> np.ndarray:
        """Synthesise a box of voxels.

        Parameters
        ----------
        box : tuple of slice
            Of i, j and k, each with both ends, inside the scan and not empty.
        report : callable
            What it raises cancels.

        Returns
        -------
        ndarray of float32, shape of the box
            In the scan's own range of intensities.

        Raises
        ------
        ValueError
            If the box is empty or reaches beyond the scan.
        DeviceError
            As `estimate`.
        """
        for part, n in zip(box, self.shape, strict=True):
            if not 0 <= part.start < part.stop <= n:
                raise ValueError(f"the region {box} must lie in the scan of shape {self.shape}")
        return self._computed(box, self._planes, report)

    def _computed(self, box: Region, planes: tuple[str, ...], report: Report) -> np.ndarray:
        passage = self._passage
        compute = partial(self._through_network, box[::-1], planes, report)
        slices = on_any_device(compute, passage.runner, passage.array.shape, self.notes)
        return self._merged(passage.back(slices, box[::-1]).T, box)

    def _through_network(
        self, region: Region, planes: tuple[str, ...], report: Report
    ) -> np.ndarray:
        """Run a region of (S, A, R); plan anew once memory or precision made the runner change."""
        runner = self._passage.runner
        state = (runner.device, runner.precision, runner.batch, runner.one_lane)
        if planes not in self._plans or self._plans[planes][0] != state:
            self._plans[planes] = (state, plan_slabs(self._passage.array, runner, planes))
        return average_region(self._plans[planes][1], region, runner, report)

    def _merged(self, estimate: np.ndarray, box: Region) -> np.ndarray:
        """Merge the estimate of a box into a prepared scan, on the scale of the given one."""
        prepared = self._ready.prepared
        if prepared is None:
            return estimate
        seam = None if self._seam is None else self._seam[box]
        mask, scan = prepared.region[box], prepared.scan.array[box]
        merged = merge(scan, estimate, mask, seam, self._background)
        tissue = None if self._tissue is None else self._tissue[box]
        return prepared.scale.from_zero(merged, tissue)
