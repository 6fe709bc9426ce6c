"""Settings are checked by type before by value: they may come from a file that was edited."""

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, get_args, get_origin, get_type_hints

from napari_mri7t.engine.texts import brief

WORDS = {
    bool: "true or false", int: "a whole number", float: "a finite number", str: "text",
}  # fmt: skip


def check_types(config: Any) -> None:
    """Refuse a dataclass whose numbers, texts, booleans or tuples of these have another type.

    A boolean is no number, a whole number may stand for any number, and NaN and infinity are
    refused. Fields of other types are not checked.

    Parameters
    ----------
    config : dataclass
        An instance, usually in its `__post_init__`.

    Raises
    ------
    ValueError
        If a field has a value of another type.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Walk:
    ...     step: int
    >>> check_types(Walk(1.5))
    Traceback (most recent call last):
    ValueError: step must be a whole number, got 1.5
    """
    kinds = get_type_hints(type(config))
    for entry in fields(config):
        kind, value = kinds[entry.name], getattr(config, entry.name)
        if get_origin(kind) is tuple:
            item = get_args(kind)[0]
            if not isinstance(value, tuple) or not all(is_of_type(part, item) for part in value):
                raise ValueError(
                    f"{entry.name} must be a list of {WORDS[item]}, got {brief(value)}"
                )
        elif not is_of_type(value, kind):
            raise ValueError(f"{entry.name} must be {WORDS[kind]}, got {brief(value)}")


def is_of_type(value: object, kind: Any) -> bool:
    """Return whether a value is a boolean, a whole or a finite number, or a text, as `kind` says.

    Parameters
    ----------
    value : object
    kind : type
        bool, int, float or str; True for any other.
    """
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if isinstance(value, bool):
        return kind not in (int, float)
    if kind is int:
        return isinstance(value, Integral)
    if kind is float:
        return isinstance(value, Real) and is_finite(value)
    return True


def is_finite(number: Any) -> bool:
    """Return whether a number is finite, and small enough to be a float.

    A file may hold a whole number of any length, of which `math.isfinite` raises OverflowError.

    Examples
    --------
    >>> is_finite(10**300), is_finite(10**400)
    (True, False)
    """
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def check_kind(**given: tuple[object, type | tuple[type, ...]]) -> None:
    """Refuse arguments of another type: a dictionary in place of settings, say.

    Parameters
    ----------
    **given : (object, type or tuple of type)
        Each argument by its name, and what it may be.

    Raises
    ------
    TypeError
        With the name of the first that differs.

    Examples
    --------
    >>> check_kind(config=({"step": 3}, Real))
    Traceback (most recent call last):
    TypeError: config: expected Real, got dict
    """
    for name, (value, kinds) in given.items():
        if not isinstance(value, kinds):
            kinds = kinds if isinstance(kinds, tuple) else (kinds,)
            names = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{name}: expected {names}, got {type(value).__name__}")
