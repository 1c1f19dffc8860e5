"""How much memory an object holds on to."""

import sys
from collections.abc import Iterable, Mapping

from torch import Tensor


def weight(thing: object, without: tuple[type, ...] = (), seen: set[int] | None = None) -> int:
    """Bytes of an object and of all that can be reached from it, tensors by their storage."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (type, *without)) or callable(thing):
        return 0
    seen.add(id(thing))
    total = sys.getsizeof(thing)
    if isinstance(thing, Tensor):
        storage = thing.untyped_storage()
        fresh = storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        return total + (storage.nbytes() if fresh else 0)
    inside: Iterable[object] = ()
    if isinstance(thing, Mapping):
        inside = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        inside = thing
    elif hasattr(thing, "__dict__"):
        inside = vars(thing).values()
    return total + sum(weight(each, without, seen) for each in inside)
