"""A bound on the weights of a network while it is being built.

The arguments of its constructor may come from a file that anybody wrote.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

MOST_WEIGHTS = 1 << 28  # 1 GiB in float32; the largest network here has 1.5 million
MOST_TENSORS = 4000


@dataclass
class _Budget:
    """What a network under construction may still take."""

    n_weights: int
    n_tensors: int


class _Budgets(threading.local):
    """Those of one thread, the innermost last."""

    def __init__(self) -> None:
        self.open: list[_Budget] = []


_budgets = _Budgets()
_hooked = threading.Lock()


@contextmanager
def limited(n_weights: int = MOST_WEIGHTS, n_tensors: int = MOST_TENSORS) -> Iterator[None]:
    """Refuse networks above a size, in this thread: before the tensor in excess is initialised.

    Parameters
    ----------
    n_weights : int
        Of all networks built in the block together.
    n_tensors : int
        That hold them.

    Raises
    ------
    ValueError
        In the constructor of the network, if it exceeds either.
    """
    if _hooked.acquire(blocking=False):  # once, for good: to remove it would disturb other threads
        register_module_parameter_registration_hook(_count)
    _budgets.open.append(_Budget(n_weights, n_tensors))
    try:
        yield
    finally:
        _budgets.open.pop()


def _count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    for budget in _budgets.open:
        budget.n_weights -= parameter.numel()
        budget.n_tensors -= 1
        if min(budget.n_weights, budget.n_tensors) < 0:
            raise ValueError("the network would have more weights than it may: check its settings")
