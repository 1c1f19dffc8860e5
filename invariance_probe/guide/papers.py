"""What was taken from the papers, and what differs.

The papers are Finnveden, Jansson, Lindeberg,
[Understanding when spatial transformer networks do not support
invariance](https://arxiv.org/abs/2004.11678) (ICPR 2020), and Jansson, Maydanskiy, Finnveden,
Lindeberg, [Inability of spatial transformations of CNN feature maps to support invariant
recognition](https://arxiv.org/abs/2004.14716) (2020).

They prove that a spatial transformer at a feature map cannot undo rotations and scalings in
general, and show on trained networks that transforming the input is better. They do not say *how
far off* a given layer of a given network is. This toolkit adds the number, its two anchors (`floor`
and `unrelated`), the best warp, and a bound that is proven.

## In the theory

`proofs` lists the claims. Formalising them corrected some: P3, P4, P10 and
P11 name what the images must be closed under, P10 asks that the network sees beyond R / s, P11 that
it is not constant, P5 holds with a shift, and P16 says that steps *may* blur more than one step.

## In the trainings

`invariance_probe.training` lists every difference to the papers and to the authors' code, with its
reason: optimisers, presets, clutter, stored test poses, trunks, output sizes.

## In the results

| finding | papers | here |
|---|---|---|
| transforming the input beats transforming a map, under rotation and scaling | yes | rotation: yes, 1.26 % of errors against 1.61, 0.36 points apart (0.27–0.45); scaling: 3.14 against 3.40, 0.25 apart (0.03–0.47), undecided after correction |
| less so under translation | yes | yes: the map is no worse there, 1.75 % (1.63–1.88) against 2.43 (1.95–2.92), two of whose eight localizers did not take off |
| a map's transformer compensates the pose less | yes, by slope | under rotation (0.06 against 0.79); under scaling no difference is found (0.86 and 0.81) |
| shared deep localizers stay stable | yes | undecided: behind five layers, shared or not, none of five localizers took off under either task |
| iterating helps the transformer on the image | yes | a second step saves less than 0.25 points: 0.10 (-0.01–0.20), with slope 0.87 against 0.79 |

Plan, seeds and what was not trained: `analyses/results/PLAN.md`; `python -m analyses run` with
`placement`, `depth` and `iterations`, preset `two-cores`.
"""
