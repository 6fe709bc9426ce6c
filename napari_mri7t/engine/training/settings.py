"""Training settings as people and files write them: text and JSON in, `TrainConfig` out."""

import json
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from napari_mri7t.engine.training.presets import TrainConfig


def with_settings(config: TrainConfig, settings: dict[str, str]) -> TrainConfig:
    """Change settings given as text, "key=value" split, as the command line gives them.

    Raises
    ------
    ValueError
        If a key is unknown or a value is not of its type.
    """
    types = get_type_hints(TrainConfig)
    changes: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in types:
            raise ValueError(f"setting {key!r} is unknown; choose one of {', '.join(types)}")
        try:
            changes[key] = _parse(text, types[key])
        except ValueError as error:
            raise ValueError(f"{key}: {text!r} is not of type {types[key].__name__}") from error
    return replace(config, **changes)


def pairs_of(texts: Iterable[str], where: str) -> dict[str, str]:
    """Split texts of the form "key=value".

    Parameters
    ----------
    texts : iterable of str
    where : str
        Where they stand, for the error: "--set".

    Raises
    ------
    ValueError
        If one has no "=" or no key.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{where} {text}: expected key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def network_arguments(texts: Iterable[str], where: str) -> dict[str, Any]:
    """Read a constructor's arguments from "key=value".

    Parameters
    ----------
    texts, where
        As for `pairs_of`.

    Returns
    -------
    dict
        Argument to number, list or truth value, as JSON knows them; anything else is a name.

    Raises
    ------
    ValueError
        As `pairs_of`.
    """
    return {key: _json_or_name(text) for key, text in pairs_of(texts, where).items()}


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """Rebuild settings from JSON; lists become tuples, unknown keys are refused."""
    known = {field.name for field in fields(TrainConfig)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}; known: {sorted(known)}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return TrainConfig(**plain)


def _parse(text: str, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(text)
        return text.lower() in ("true", "1", "yes")
    if kind is int:
        return int(float(text)) if float(text).is_integer() else int(text)
    return kind(text)


def _json_or_name(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
