"""What tells one model from another: its modules and, to the last bit, its weights."""

import hashlib

import torch
from torch import Tensor, nn


def fingerprint(model: nn.Module) -> str:
    """Digest a model's modules, parameters and buffers.

    Args:
        model: The model. What it computes beside these, in the code of its classes or in plain
            attributes that `repr` does not show, is not seen.

    Returns:
        The same 32 digits for the same model, whatever process, device and memory it is in.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, module in model.named_modules(remove_duplicate=False):
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        digest.update(f"{name}:{kind}({module.extra_repr()})\n".encode(errors="replace"))
    weights = (*model.named_parameters(), *model.named_buffers())
    for name, tensor in weights:
        about = f"{name}:{tensor.dtype}{tuple(tensor.shape)}\n"
        digest.update(about.encode(errors="replace"))
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    """A tensor's values as they lie in memory, were it on the CPU and in the usual order."""
    plain = tensor.detach()
    if plain.is_quantized:
        plain = plain.dequantize()
    elif plain.layout != torch.strided:
        plain = plain.to_dense()
    flat = plain.cpu().resolve_conj().resolve_neg().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes()
