"""How far apart two computations of one number may lie, from the arithmetic that made them.

Another processor, batch or number of threads adds the same products in another order. So a
tolerance is a count of roundings times the unit of the type, relative to what was added up: a value
near 0 that is left after cancelling has an absolute one. Bits are compared only between two runs of
the same kernels on the same machine, and where nothing is computed (pixels that change places).
"""

import torch


def rounded(dtype: torch.dtype) -> float:
    """Bound on the error of a cell of a test's network, relative to what is added up in it.

    A sum of n products errs by at most n units of rounding of the sum of their magnitudes (Higham,
    "Accuracy and stability of numerical algorithms", section 3.1); the networks have up to three
    layers of some hundred products.
    """
    return 1000 * torch.finfo(dtype).eps


ROUNDED = rounded(torch.float32)
"""The same for scores of float32 maps that no search has moved, which are of order 1."""

SEARCHED = 2e-3
"""The same for scores after a search. It ends where a step brings less than 1e-6 of the squared
error, so the warped map is known to the root of that, 1e-3 of the residual, and so is a score that
the search does not minimise: a cosine, or what a mixing leaves. The residual itself is of order 1.
"""
