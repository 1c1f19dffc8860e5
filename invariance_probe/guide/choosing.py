"""Which method when, and what it costs.

| you want to know | ask for | cost |
|---|---|---|
| whether a transformer can live at a layer | the defaults: `identity oracle affine floor unrelated` | about 2.6 times the forward passes at their fastest |
| why it cannot | `--explain`, or the methods of `invariance_probe.ProbeResult.decomposition` | the images are read once more |
| what is invariant, equivariant or lost | `--explain`, or `identity+gain oracle+gain oracle+linear floor` for `invariance_probe.ProbeResult.partition` | the same |
| whether bending the map would help | `flow` | up to four times the search of `affine` |
| a proof that no warp helps | `any-warp` (any warp), `invariance_probe.certify` (affine, one pair) | loops over all cells; seconds to minutes a pair |
| whether warping the *image* helps | `input` | one more pass for each transform |
| what it costs in answers | `invariance_probe.recover` | one pass of the rest for each method |
| what it costs in training | `invariance-probe train` | minutes to hours |
| two maps that you have at hand | `invariance_probe.align`, `invariance_probe.align_flow` | 0.6 to 1.5 ms a pair of 40 x 28 x 28 |

## Which mixing

`+gain` draws each channel towards its mean by a factor of its own, and takes nothing from others.
`+permutation` reassigns channels one to one: all that a group-equivariant layer needs (P8).
`+orthogonal` turns them, `+linear` mixes them by any matrix. All are fitted on some images and
scored on others; with few images a matrix of C x C numbers is learnt badly, so a high value says
"not found", never "not there".

`oracle+KIND` mixes after the warp of the theory, `affine+KIND` after the warp that was best
*without* a mixing, which can be the wrong one, `joint+KIND` finds both in turns.

## Which images

Larger than the crop, so that a rotation invents nothing at the border. Intervals need three, and
narrow with more. One image has no `unrelated` and no mixings, and says so.

## Which layers

`invariance_probe.list_layers` names them. A rule of thumb: the output of each stage. A map of one
cell has no position to move, and is refused.

>>> import torch, invariance_probe as ip
>>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
>>> list(ip.list_layers(model, torch.rand(1, 3, 32, 32)).query("spatial")["name"])
['0', '1', '2', '(model)']
"""
