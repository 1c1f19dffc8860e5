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
| transforming the input beats transforming a map, under rotation and scaling | yes | yes (`python -m analyses run placement`) |
| less so under translation | yes | yes: a transformer on the map is no worse there, 5.1 % (4.8–5.4) against 6.7 % (5.0–8.5) |
| a map's transformer compensates the pose less | yes, by slope | under rotation (slope 0.01 against 0.36); under scaling it finds the pose as well (0.79 and 0.76) and still makes a fifth more errors |
| shared deep localizers stay stable | yes | `python -m analyses run depth` |
| iterating helps weak localizers | yes | `python -m analyses run iterations` |
"""
