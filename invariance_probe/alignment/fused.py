"""The search of float32 maps on the CPU in compiled loops: arrays in, candidates out.

One evaluation of a warp is some twenty torch operations on short tensors, most of whose time goes
by between them. `kernels` does it in one loop over the positions. A pair is searched by one thread
from its first look to its last step, so that nothing depends on how many threads there are.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.alignment import kernels, objectives
from invariance_probe.compiled import workers

_TABLE_BYTES = 2**23
"""Tables of inner products made at once: they stay in a processor's cache."""


def search(
    level: objectives.Level,
    oracle: Float[Tensor, "pair 2 3"],
    warps: Float[Tensor, "pair rank 2 3"],
    *,
    look: int,
    rounds: tuple[tuple[int, int], ...],
    max_distortion: float,
) -> Float[np.ndarray, "pair kept 9"]:
    """Improve warps of each pair, round by round.

    Args:
        level: Maps on which they are compared, float32, on the CPU.
        oracle: The warp that theory leaves, in isotropic coordinates.
        warps: Candidates, in isotropic coordinates.
        look: How many to keep after a look at all.
        rounds: Steps taken from each, and how many are kept after them.
        max_distortion: Bound of the family; see `distortion.limit_distortion`.

    Returns:
        The best of each pair, best first: six numbers of the warp; steps taken; 1 or 0 for whether
        it converged, and for whether its last step was brought back into the family.
    """
    pairs, channels, height, width = level.reference.shape
    grid = objectives.Grid((height, width), level.full_size, level.reference)
    positions, inside = level.chosen()
    points = grid.points[:2][:, positions].transpose(0, 1).contiguous().numpy()
    counts = inside.sum(1).long().numpy()
    found = np.empty((pairs, rounds[-1][1], 9))
    starts = warps.flatten(2).double().contiguous().numpy()
    oracles = oracle.flatten(1).double().contiguous().numpy()
    scale, last = grid.scale[:, 0].numpy(), grid.last[:, 0].numpy()
    target = level.reference.flatten(2)
    target = target.gather(2, positions[:, None].expand(-1, channels, -1))
    source = level.moved.flatten(2)
    squares = target.square().sum(1).numpy()
    least, order = min(look, starts.shape[1]), np.array(rounds)

    def run(first: int, kind: int, targets: np.ndarray, sources: np.ndarray) -> None:
        """Search the pairs from `first` on, of which these are the maps."""

        def pair(number: int) -> None:
            b = first + number
            arrays = targets[number], sources[number], squares[b], points[b]
            maps = (*arrays, counts[b], np.int32(width))
            told = starts[b], oracles[b], least, order, float(max_distortion)
            kernels.search_pair(kind, *told, maps, scale, last, found[b])

        threads = torch.get_num_threads()
        # a call a pair: an interrupt is heard between two, and no thread waits for another's share
        spread = workers(threads).map if threads > 1 and len(targets) > 1 else map
        list(spread(pair, range(len(targets))))

    if channels <= objectives.FEW_CHANNELS:
        run(0, kernels.PLANES, target.contiguous().numpy(), source.contiguous().numpy())
    elif level.count is not None:
        target, source = (maps.transpose(1, 2).contiguous() for maps in (target, source))
        run(0, kernels.CHANNELS, target.numpy(), source.numpy())
    else:
        cells = height * width
        size = max(1, min(pairs, _TABLE_BYTES // (4 * cells * positions.shape[1])))
        for start in range(0, pairs, size):
            rows = slice(start, min(pairs, start + size))
            cross = target[rows].transpose(1, 2) @ source[rows]
            gram = np.empty((rows.stop - start, cells, 10), np.float32)
            kernels.grams(level.moved[rows].contiguous().numpy(), gram)
            run(start, kernels.TABLE, cross.numpy(), gram)
    return found
