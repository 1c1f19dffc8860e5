"""Why: the claims as executable objects, exact where exactness is possible.

An image f is moved by h: (T_h f)(x) = f(h^-1 x). A network G makes maps of it. A spatial warp W
moves feature vectors and changes none of them: (W F)(x) = F(phi(x)). The layer is *alignable* if
some W gives W G T_h f = G f. These sixteen claims say when that is so.

Each is a module: statement, proof, a strategy that draws cases, a check, and the nearest false
claim, which the same check must refute. `python -m proofs` runs all; `python -m proofs --formal`
has Coq check the theorems.

| claim | in a sentence | module | seen in numbers by |
|---|---|---|---|
| P1 | shifts pass through convolutions | `proofs.claims.p01_translation_covariance` | method `oracle` under translation |
| P2 | moving the image back restores everything | `proofs.claims.p02_input_alignment` | method `input` |
| P3 | one warp for all images can only be h itself | `proofs.claims.p03_covariance_pins_the_warp` | method `oracle` |
| P4 | then every channel is invariant by itself | `proofs.claims.p04_alignment_is_feature_invariance` | `analyses run controls` |
| P5 | for one layer: filters that equal themselves warped | `proofs.claims.p05_linear_criterion` | `analyses run law` |
| P6 | none do, under scaling or shear | `proofs.claims.p06_no_scaling_no_shear` | `analyses run residual_by_layer` |
| P7 | under rotation, the symmetric ones | `proofs.claims.p07_rotation_needs_symmetric_filters` | `invariance_probe.controls.isotropic_network` |
| P8 | in a group network, channels change places | `proofs.claims.p08_channel_shift` | methods `...+permutation` |
| P9 | a warp can only rearrange what is there | `proofs.claims.p09_any_warp_obstruction` | method `any-warp` |
| P10 | enlarged, a unit sees less of the image | `proofs.claims.p10_receptive_field` | methods `...+linear` under scaling |
| P11 | depth does not help | `proofs.claims.p11_depth_does_not_help` | residual by layer |
| P12 | pooling over the group does, at a price | `proofs.claims.p12_pooling_over_the_orbit` | `invariance_probe.controls.c4_pooled_network` |
| P13 | a first layer's residual follows from its weights | `proofs.claims.p13_spectral_law` | `analyses run law` |
| P14 | strides keep whole steps only | `proofs.claims.p14_sampling` | method `floor` |
| P15 | deep features may steer the image's transformer | `proofs.claims.p15_deep_features_may_steer` | `analyses run depth` |
| P16 | steps compose; resample once | `proofs.claims.p16_iterate_by_composing` | `analyses run iterations` |
"""
