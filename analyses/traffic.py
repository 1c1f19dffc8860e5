"""How much memory torch's operations move."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it so
    """Counts what the operations within the context read and write.

    Each operation counts its arguments and its results once, however its kernel goes about it;
    views move nothing.

    Attributes:
        bytes: So far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it so
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and count."""
        del types
        result = func(*args, **(kwargs or {}))
        if not (isinstance(func, torch._ops.OpOverload) and func.is_view):
            touched = tree_leaves((args, kwargs, result))
            self.bytes += sum(_size(each) for each in touched if isinstance(each, Tensor))
        return result


def _size(tensor: Tensor) -> int:
    """Bytes that a tensor has in memory; an expanded one has fewer than its values need."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
