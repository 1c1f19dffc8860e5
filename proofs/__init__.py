"""Why: the claims as executable objects, exact where exactness is possible.

An image f is moved by h: (T_h f)(x) = f(h^-1 x). A network G makes maps of it. A spatial warp W
moves feature vectors and changes none of them: (W F)(x) = F(phi(x)). The layer is *alignable* if
some W gives W G T_h f = G f. These sixteen claims say when that is so.

Each is a module: statement, proof, a strategy that draws cases, a check, and the nearest false
claim, which the same check must refute. `python -m proofs` runs all; `python -m proofs --formal`
has Coq check the theorems.

| claim | in a sentence | seen in numbers by |
|---|---|---|
| [P1](proofs/claims/p01_translation_covariance.html) | shifts pass through convolutions | method `oracle` under translation |
| [P2](proofs/claims/p02_input_alignment.html) | moving the image back restores everything | method `input` |
| [P3](proofs/claims/p03_covariance_pins_the_warp.html) | one warp for all images can only be h itself | method `oracle` |
| [P4](proofs/claims/p04_alignment_is_feature_invariance.html) | then every channel is invariant by itself | `analyses run controls` |
| [P5](proofs/claims/p05_linear_criterion.html) | for one layer: filters that equal themselves warped | `analyses run law` |
| [P6](proofs/claims/p06_no_scaling_no_shear.html) | none do, under scaling or shear | `analyses run residual_by_layer` |
| [P7](proofs/claims/p07_rotation_needs_symmetric_filters.html) | under rotation, the symmetric ones | `invariance_probe.controls.isotropic_network` |
| [P8](proofs/claims/p08_channel_shift.html) | in a group network, channels change places | methods `...+permutation` |
| [P9](proofs/claims/p09_any_warp_obstruction.html) | a warp can only rearrange what is there | method `any-warp` |
| [P10](proofs/claims/p10_receptive_field.html) | enlarged, a unit sees less of the image | methods `...+linear` under scaling |
| [P11](proofs/claims/p11_depth_does_not_help.html) | depth does not help | residual by layer |
| [P12](proofs/claims/p12_pooling_over_the_orbit.html) | pooling over the group does, at a price | `invariance_probe.controls.c4_pooled_network` |
| [P13](proofs/claims/p13_spectral_law.html) | a first layer's residual follows from its weights | `analyses run law` |
| [P14](proofs/claims/p14_sampling.html) | strides keep whole steps only | method `floor` |
| [P15](proofs/claims/p15_deep_features_may_steer.html) | deep features may steer the image's transformer | `analyses run depth` |
| [P16](proofs/claims/p16_iterate_by_composing.html) | steps compose; resample once | `analyses run iterations` |
"""
