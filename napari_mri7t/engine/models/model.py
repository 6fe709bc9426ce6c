"""A trained model on disk: a folder with weights.safetensors and card.json, never a pickle."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import nn

from napari_mri7t.engine.atomic import write_together
from napari_mri7t.engine.errors import ModelError, reason_of
from napari_mri7t.engine.models.card import (
    CARD_FILE,
    DEFAULT_MODEL,
    WEIGHTS_FILE,
    ModelCard,
    card_from_dict,
    find_model,
    read_card,
)
from napari_mri7t.engine.models.weights import read_tensors
from napari_mri7t.engine.networks import ODD_CONFIG, build_network
from napari_mri7t.engine.networks.limits import limited
from napari_mri7t.engine.regular import NotRegularError
from napari_mri7t.engine.texts import brief, to_json

AGAIN = "install the model again; in a run folder, remove its card.json and train the fold again"
SPARE = 2  # a constructor may make weights that it replaces, at most as many as it keeps


@dataclass(frozen=True, eq=False)
class Model:
    """A network with trained weights, in eval mode on the CPU, and its card."""

    name: str
    network: nn.Module = field(repr=False)
    card: ModelCard = field(repr=False)


def load_model(name_or_folder: str | Path = DEFAULT_MODEL) -> Model:
    """Load a model and check that its weights are those of its card.

    Parameters
    ----------
    name_or_folder : str or Path
        A bundled model's name, or a folder.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If there is no such model, the weights' SHA-256 differs from the card's, or they do not
        fit the network.

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> mri7t.load_model("basic_cnn").card.n_parameters
    672963
    """
    folder = find_model(name_or_folder)
    card = read_card(folder)
    path = folder / WEIGHTS_FILE
    try:
        found = read_tensors(path)
    except (FileNotFoundError, NotRegularError, ValueError) as error:
        reason = reason_of(error)
        raise ModelError(f"{path}: cannot be read ({reason}): {AGAIN}") from error
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read now ({reason_of(error)}): free memory, or make the "
            "file readable, and try again"
        ) from error
    if hashlib.sha256(found.content).hexdigest() != card.sha256:
        raise ModelError(
            f"{path}: the SHA-256 differs from the card's: damaged or replaced; {AGAIN}"
        )
    try:
        own_random = torch.random.fork_rng(devices=[])  # the weights drawn here are replaced
        with own_random, limited(SPARE * found.n_values, SPARE * found.n_tensors):
            network = build_network(card.network, **card.network_config)
        weights = {key: value.float() for key, value in found.tensors().items()}
        # No estimate depends on the counters of batch normalisation, and no file holds them.
        counters = {k: v for k, v in network.state_dict().items() if not v.is_floating_point()}
        network.load_state_dict(counters | weights)
    except (SafetensorError, ValueError, *ODD_CONFIG) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: does not fit network {brief(card.network)}: {reason}") from error
    return Model(card.name, network.eval(), card)


def save_model(
    folder: str | Path, network: nn.Module, card: ModelCard, *, half: bool = False
) -> ModelCard:
    """Write the weights of a model and then its card, both or neither.

    Parameters
    ----------
    folder : str or Path
        Made if missing.
    network : nn.Module
    card : ModelCard
        Its `sha256` is set here.
    half : bool
        Save the convolutions' weights as bfloat16, half the size. A float32 estimate then uses the
        rounded weights too, so that the two precisions differ less.

    Returns
    -------
    ModelCard
        With the digest.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    content = pack_weights(network, card.network, half=half)
    complete = replace(card, sha256=hashlib.sha256(content).hexdigest())
    text = to_json(complete.as_dict()) + "\n"
    written = card_from_dict(json.loads(text), place)  # before anything is there
    write_together(
        [
            (place / WEIGHTS_FILE, lambda file: file.write(content)),
            (place / CARD_FILE, lambda file: file.write(text.encode())),
        ]
    )
    return written


def pack_weights(network: nn.Module, name: str, *, half: bool = False) -> bytes:
    """Return the content of a weights file, whose SHA-256 the card holds."""
    halved = {  # normalisation stays in float32
        f"{name}.{key}"
        for name, module in network.named_modules()
        if half and isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        for key, _ in module.named_parameters(recurse=False)
    }
    weights = {
        key: value.cpu().to(torch.bfloat16 if key in halved else torch.float32).contiguous()
        for key, value in network.state_dict().items()
        if value.is_floating_point()
    }
    return save(weights, {"network": name})
