"""Tensors that take minutes to make, kept between runs in the user's cache folder."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


def cache_folder() -> Path:
    """Name the folder: ``$XDG_CACHE_HOME/invariance-probe``, by default in ``~/.cache``.

    Returns:
        Its path; it may not exist yet.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "invariance-probe"


def cached(name: str, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Load tensors, or make and keep them.

    A damaged file is made anew. Where nothing can be written, for want of space or of permission,
    the tensors are made each time.

    Args:
        name: Beginning of the file's name.
        key: All that the tensors depend on; its hash ends the file's name.
        make: Called if they are not there.

    Returns:
        The tensors.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = cache_folder() / f"{name}-{digest}.safetensors"
    if path.is_file():
        try:
            return load_file(path)
        except (SafetensorError, OSError):
            pass  # a damaged file; it is overwritten below
    tensors = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{name}-", suffix=".part")
        os.close(handle)
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, part)
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)
    except (OSError, SafetensorError):
        pass  # a full or read-only disk costs time, not the run
    return tensors
