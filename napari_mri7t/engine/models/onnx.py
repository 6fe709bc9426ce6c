"""A model as an ONNX file, for programs without torch.

The graph is the network alone: slabs of slices in [0, 1] in, their estimates out. The model's card
lies in the file's metadata.
"""

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mri7t.engine.atomic import check_target, write_content
from napari_mri7t.engine.errors import ModelError, Mri7tError
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.networks import slices_of, takes_noise_map
from napari_mri7t.engine.texts import to_json

OPSET = 18  # that torch's exporter writes without conversion; onnxruntime reads it from 1.14 on
EXTENSION = ".onnx"
INPUT, OUTPUT = "slabs", "estimates"
CARD = "card"  # in the file's metadata
NOTICE = "The output is synthetic: for research, not for diagnosis."
TOLERANCE = 1e-4  # of the range [0, 1]: largest difference from torch
PROBES = ((1, 64, 80), (3, 57, 33))  # slabs, height, width, odd ones too
INSTALL = "pip install 'napari-mri7t[onnx]'"
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def export_onnx(model: str | Path | Model, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a model's network as an ONNX file, after comparing it with torch in onnxruntime.

    Parameters
    ----------
    model : str, Path or Model
        Name of a bundled model, folder, or a loaded model.
    path : str or Path
        Ends with .onnx.
    overwrite : bool
        False refuses a file that exists.

    Returns
    -------
    Path
        The file. Its input `slabs`, float32, shape (N, n_slices, H, W), holds adjacent axial slices
        in [0, 1], for any N and any H and W from 8 on; where the metadata `noise_map` is true, it
        has one more channel, the standard deviation of the noise. Its output `estimates`, shape
        (N, n_outputs, H, W), holds the central slices. The metadata are `n_slices`, `n_outputs`,
        `noise_map` and `card`, the model card as JSON.

    Raises
    ------
    Mri7tError
        If the extra `onnx` is missing, or the file exists or cannot be written.
    ModelError
        If the network cannot be exported, or onnxruntime computes anything else than torch.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import napari_mri7t as mri7t
    >>> with TemporaryDirectory() as folder:
    ...     mri7t.export_onnx("basic_cnn", f"{folder}/basic_cnn.onnx").name
    'basic_cnn.onnx'
    """
    if Path(path).suffix.lower() != EXTENSION:
        raise ValueError(f"{path}: the name of an ONNX file must end with {EXTENSION}")
    check_target(path, overwrite=overwrite)
    libraries = {name: _library(name) for name in LIBRARIES}
    model = model if isinstance(model, Model) else load_model(model)
    content = _graph(model, libraries["onnx"])
    difference = _largest_difference(model.network, content, libraries["onnxruntime"])
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{path}: onnxruntime's result differs from torch's by {difference:.2g}, at most "
            f"{TOLERANCE:g} is allowed: update the libraries of the extra onnx"
        )
    return write_content(path, content, overwrite=overwrite)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Mri7tError(f"ONNX needs {name}, which is missing: {INSTALL}") from error


def _graph(model: Model, onnx: Any) -> bytes:
    """Return the content of the file."""
    network = model.network.eval()
    n_slices, n_outputs = slices_of(network)
    any_size = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)  # it complains of libraries that no network here needs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network, (_slabs(network, 2, 48, 40),), dynamo=True, opset_version=OPSET,
                input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes=(any_size,),
                external_data=False, verbose=False,
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{model.name}: cannot be exported as ONNX: {reason}") from error
    finally:
        log.setLevel(level)
    if program is None:
        raise ModelError(f"{model.name}: cannot be exported as ONNX: torch made no graph")
    made = program.model_proto
    made.doc_string = f"{model.card.title}. {NOTICE}"
    facts = {
        "n_slices": str(n_slices),
        "n_outputs": str(n_outputs),
        "noise_map": str(takes_noise_map(network)).lower(),
        CARD: to_json(model.card.as_dict()),
    }
    onnx.helper.set_model_props(made, facts)
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


def _slabs(network: nn.Module, n: int, height: int, width: int) -> Tensor:
    """Return random slabs, the same ones every time."""
    n_channels = slices_of(network)[0] + takes_noise_map(network)
    return torch.rand((n, n_channels, height, width), generator=torch.Generator().manual_seed(0))


def _largest_difference(network: nn.Module, content: bytes, onnxruntime: Any) -> float:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = 0.0
    for n, height, width in PROBES:
        slabs = _slabs(network, n, height, width)
        with torch.inference_mode():
            expected = network(slabs).numpy()
        (made,) = session.run([OUTPUT], {INPUT: slabs.numpy()})
        if made.shape != expected.shape:
            return np.inf
        found = max(found, float(np.abs(made - expected).max()))
    return found
