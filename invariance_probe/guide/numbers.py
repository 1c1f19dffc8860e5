"""How to read the numbers: one scale, two anchors, and what lies between them.

Every number compares two maps of one layer: F, of the image as it is, and G, of the image after a
transform, warped back in some way. The way is the column `method`, the number is `value`, and what
it measures is the column `metric`.

## One scale, and its two anchors

The headline metric is `fvu`, the fraction of variance unexplained: squared differences between the
warped G and F, over the variance of F around each channel's mean.

| `fvu` | what it means |
|---|---|
| 0 | the warped map is the original's map |
| `floor` | what a *perfect* layer would leave on this grid of cells, from interpolation and strides alone: nothing below it can be asked for |
| 1 | no better than a map that is constant in each channel |
| `unrelated`, near 2 | the maps of two different images: chance |

So never read `affine` alone. Near a low floor: a transformer can live at this layer. Far above it:
none can. Near a high floor: the grid is too coarse to tell, whatever the layer.

## What the distances between methods say

- `identity` far above `oracle`: the map moves with the image, at least in part.
- `affine` well below `oracle`: another warp than the theory's repairs something, often an offset.
- `flow` a little below `affine`: bending helps no more than turning and stretching.
- `any-warp` is *proven*: no spatial warp with bilinear reading leaves less, not even one that is
  chosen anew for each image. It is a bound from below, so a low value proves nothing.
- `oracle+linear` far below `oracle`: the information is there, in other channels. A matrix learnt
  on other images brings it back; a spatial transformer cannot.

`invariance_probe.ProbeResult.decomposition` puts these into one stack of parts that add up.

## Invariance, equivariance or loss

`invariance_probe.ProbeResult.partition` asks another question: of the variance of F, how much can be
predicted from the moved map, for images outside the fit?

| part | F is predicted from | known answer |
|---|---|---|
| `unchanged` | the same channel at the same place: invariance | a layer that the transform leaves alone: 1 |
| `warp` | as well, the same channel where it was moved to | a layer pooled over the group: the rest |
| `mixing` | as well, other channels | a group-equivariant layer: the rest |
| `grid` | nothing: interpolation and strides cost it | a perfect layer at 30 degrees: the floor |
| `lost` | nothing that was measured | noise, unrelated images: 1 |

Shares add up to 1; where several methods leave the same their intervals are too narrow, see there.
Within a channel a prediction may be anything between G and the channel's mean
(`identity+gain`, `oracle+gain`), so that noise counts once: `identity` leaves 2 of it, the gain 1.
`lost` is a bound from above. A matrix that so few images do not teach would find more; what stays at
its place in some channels while others move counts by the larger of the two. Below five images there
is no share, and `reason` says so.

## How sure

Intervals are 95 %, over *images*: angles of one image are repeated measures of it, and count once.
Below three images there is none. Their coverage was measured: 92 to 97 % from five images on
(`python -m analyses run coverage`). `invariance_probe.ProbeResult.per_image` lists what was averaged, and
`invariance_probe.ProbeResult.worst` the pairs to look at first.

## When a value is missing

NaN always has a reason in the column `outcome`, and `str(invariance_probe.Outcome(...))` says what
to do about it:

>>> import invariance_probe as ip
>>> print(ip.Outcome.EMPTY_REGION)
empty_region: no position is visible in both maps; use a weaker transform, larger maps or a smaller margin

Maps are compared only where both show the content, less a ring of one cell: `region_frac` says how
much of the map that is, `filled_frac` how much of the input had to be made up.
"""
