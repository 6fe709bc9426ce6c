"""Slices for the report's browser: small pictures that travel inside the HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from PIL import Image

from napari_mri7t.engine.boxes import bounding_box
from napari_mri7t.engine.evaluation.style import ERROR_MAP

SLICE_STEP = 4  # from one slice in the browser to the next
QUALITY = 75  # of the WebP pictures: noise stays visible, ten subjects take some 12 MB
MARGIN_VOXELS = 3  # around the brain
ERROR_LIMIT = 0.2  # of intensity, the ends of the error maps' scale, the same for all subjects


@dataclass(frozen=True)
class SubjectSlices:
    """What the browser shows of one subject.

    Parameters
    ----------
    subject : str
    slices : tuple of int
        Axial indices.
    images : dict of str to tuple of str
        Label to one data URL per slice.
    """

    subject: str
    slices: tuple[int, ...]
    images: dict[str, tuple[str, ...]]


def browse(
    subject: str, volumes: Mapping[str, np.ndarray], reference: str, errors_of: tuple[str, ...]
) -> SubjectSlices:
    """Cut volumes into pictures, every fourth axial slice of the brain.

    Parameters
    ----------
    subject : str
    volumes : mapping of str to ndarray, shape (I, J, K)
        Label to intensities in [0, 1], in display order.
    reference : str
        The label that says where the brain is.
    errors_of : tuple of str
        Labels whose error maps are shown as well.

    Returns
    -------
    SubjectSlices
        Anterior up, the subject's right on the right side.
    """
    brain = volumes[reference] > 0
    box = bounding_box(brain, MARGIN_VOXELS)
    height = bounding_box(brain, 0)[2]
    slices = tuple(range(height.start, height.stop, SLICE_STEP))
    images = {
        label: tuple(_grey(array[box[0], box[1], k]) for k in slices)
        for label, array in volumes.items()
    }
    for label in errors_of:
        error = np.where(brain, volumes[label] - volumes[reference], 0)
        images[f"{label} − {reference}"] = tuple(_error(error[box[0], box[1], k]) for k in slices)
    return SubjectSlices(subject, slices, images)


def data_url(content: bytes, kind: str) -> str:
    """Write bytes as a data URL.

    Parameters
    ----------
    content : bytes
    kind : str
        Media type, such as "image/png".

    Returns
    -------
    str
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _grey(array: np.ndarray) -> str:
    return _picture(np.round(255 * np.clip(array, 0, 1)).astype(np.uint8))


def _error(array: np.ndarray) -> str:
    shares = np.clip(array / (2 * ERROR_LIMIT) + 0.5, 0, 1)
    return _picture(colormaps[ERROR_MAP](shares, bytes=True)[..., :3])


def _picture(pixels: np.ndarray) -> str:
    """Encode pixels of shape (I, J) or (I, J, 3), i to the right and j up."""
    buffer = io.BytesIO()
    upright = np.ascontiguousarray(pixels.swapaxes(0, 1)[::-1])  # rows from the top
    Image.fromarray(upright).save(buffer, "WEBP", quality=QUALITY)
    return data_url(buffer.getvalue(), "image/webp")
