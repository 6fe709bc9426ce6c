"""A scan that is opened for previews: prepared once, synthesised part by part, in a thread."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.widgets.layers.layers import data_to_volume
from napari_mri7t.widgets.layers.planes import Box
from napari_mri7t.widgets.synthesize.jobs import (
    Asked,
    Source,
    load_libraries,
    timed,
    wait_for_cancelled_work,
)

if TYPE_CHECKING:
    from napari_mri7t.engine.synthesis.preview import Preview

IN_MNI = ". The preview is computed on the scan's own grid, the full run in MNI space."
IN_ONE_PLANE = ", in one plane; the full run averages several"


@dataclass(frozen=True, eq=False)
class Request:
    """What a preview is of; a layer's data are read in the thread."""

    source: Source
    model: Path | None
    config: SynthesisConfig
    asked: Asked

    def key(self) -> tuple[Any, ...]:
        """Return what decides the voxels, to be compared."""
        data, meta, _ = self.source.data
        where = tuple(str(meta.get(name)) for name in ("scale", "translate", "rotate", "affine"))
        mask = self.asked.mask_layer
        painted = None if mask is None else zlib.crc32(np.ascontiguousarray(mask[0]))
        return (
            (id(data), self.source.index, where, painted),
            (self.model, self.config, self.asked.preparation, self.asked.output.background),
        )


@dataclass(frozen=True, eq=False)
class Made:
    """A part that was synthesised.

    `steps`: seconds of each step of the preparation, if the scan was prepared for this part;
    `before`: seconds of all that came first.
    """

    source: Layer
    title: str  # of the scan
    key: tuple[Any, ...]
    box: Box
    values: np.ndarray
    seconds: float
    before: float
    steps: dict[str, float]
    computed_on: str
    model: str
    note: str


class PreviewSession:
    """The scan that was opened last, ready for any part; only a preview's thread changes it."""

    def __init__(self) -> None:
        self.key: tuple[Any, ...] | None = None
        self._request: Request | None = None  # kept: its data's identity is part of the key
        self._preview: Preview | None = None

    def part(
        self, request: Request, key: tuple[Any, ...], box: Box, report: Report = lambda _: None
    ) -> Made:
        """Synthesise a box (i, j, k) of a scan; prepare the scan first where it is another one."""
        begun, steps = time.perf_counter(), {}
        if key != self.key or self._preview is None:
            self.key, self._preview = None, None
            self._preview = self._opened(request, steps, report)
            self._request, self.key = request, key
        start = time.perf_counter()
        values, note = self._values(box, report)
        seconds = time.perf_counter() - start
        output = request.asked.output
        note += "" if output.is_on_own_grid else IN_MNI
        times, preview = (seconds, start - begun, steps), self._preview
        about = (*times, preview.computed_on, preview.model.name, note)
        source = request.source
        return Made(source.layer, source.title, key, box, values, *about)

    def _values(self, box: Box, report: Report) -> tuple[np.ndarray, str]:
        """Synthesise a slice, or a region; say if the full run averages other planes into it."""
        thin = [axis for axis, part in enumerate(box) if part.stop - part.start == 1]
        if len(thin) != 1:
            return self._preview.region(box, report), ""
        axis = thin[0]
        made = self._preview.slice(axis, box[axis].start, report, quick=True)
        return np.expand_dims(made, axis), IN_ONE_PLANE if self._preview.averages(axis) else ""

    def _opened(self, request: Request, steps: dict[str, float], report: Report) -> Preview:
        """Prepare a scan; add the seconds of each step to `steps`."""
        report(Progress(0, 0, "loading torch"))
        from napari_mri7t.engine.preparation.prepare import plan_preparation
        from napari_mri7t.engine.synthesis.preview import open_preview

        wait_for_cancelled_work(report)
        report(Progress(0, 1, "reading the layer"))
        source, asked = request.source, request.asked
        volume = data_to_volume(*source.data, source.index)
        report(Progress(0, 0, "planning the preparation"))
        plan = plan_preparation(volume, asked.preparation_of(volume, source.data))
        if plan.is_needed:
            load_libraries(report)
        output = OutputConfig(background=asked.output.background)
        clock = timed(report, "", steps)
        opened = open_preview(volume, request.model, request.config, plan, output, clock)
        clock(Progress(0, 0, "prepared"))  # which ends the last step
        return opened
