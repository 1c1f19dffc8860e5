"""Glossary: the words of the tables, the papers and the command line.

**any-warp.** A certified lower bound: what no spatial warp with bilinear reading leaves, whichever
warp is chosen for each image (P9).

**C0.** A spatial transformer at the input: it sees the image and transforms the image.

**CX** (C1, C2, ...). One on a map: it sees the map after layer X and transforms *that map*.

**CNN.** The same network without a transformer.

**DLX.** Deep localization: the transformer moves the image, and sees it through its *own* copy of
the first X layers.

**SLX.** Shared localization: it moves the image, and sees it through the *classifier's own* first X
layers. **c0x2**, **sl1x2**: the same twice, the matrices multiplied (P16).

**F, G.** The map of the image as it is, and of the transformed image.

**floor.** What a perfect layer would leave at these cells: interpolation, strides and even sizes.

**fvu.** Fraction of variance unexplained; 0 is perfect, 1 is each channel's mean, about 2 is chance.
See `invariance_probe.guide.numbers`.

**identity, oracle, affine, flow.** G as it is; under the inverse of the input transform, the only
warp that theory leaves for all images at once (P3); under the best affine warp found; under the
best smooth one.

**input.** What a perfect transformer of the *image* leaves: pixels are interpolated, nothing else
(P2).

**layer names.** As PyTorch's ``named_modules`` has them; ``#2`` is the second call of a module,
``:out.0`` the first of several outputs, ``(model)`` the whole.

**localizer.** The part of a transformer that sees; its last layer predicts the motion.

**mixing.** A matrix over channels after the warp: a permutation, an orthogonal or any matrix.

**outcome.** How a search ended, or why there is no value: `invariance_probe.Outcome`.

**pull-back** (theta). A warp as "where does each output position read from", 2 x 3, in normalised
coordinates, x right and y down, as ``torch.nn.functional.affine_grid`` takes it.

**region.** Where maps are compared: positions whose content both show, less a margin. It depends on
transform and layer, never on the warp under test.

**unrelated.** F against the warped map of another image: chance.
"""
