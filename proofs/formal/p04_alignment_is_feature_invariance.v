(** * P4. To be alignable is to commute with the transformation: every channel is itself invariant.
    *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting p03_covariance_pins_the_warp.

Section P4.
Context {V : AbelianGroup} {K Y : Type}.

(** Assumptions: as in P3. *)
Variable X : class V K.
Variable G : extractor V K Y.
Variable h : GL V.
Hypothesis shifts : closed_under_shifts X.
Hypothesis moves : closed_under_map X h.
Hypothesis covariant : translation_covariant X G.
Hypothesis separating : separates_points X G.

(** G commutes with T_h up to the shift b: G T_h = D_b T_h G. *)
Definition commutes_up_to (b : V) := forall f, X f -> G (T h f) = D b (T h (G f)).

(** The warp h x + b aligns G exactly if G T_h = D_b T_h G. Nothing is asked of G or of X here. *)
Theorem P4_warp_and_commutation :
  forall b, aligns X G h (fun x => h x + b) <-> commutes_up_to b.
Proof.
  move=> b; split => [aligned|commutes] f Xf; apply: functional_extensionality => y.
  - change (G (T h f) y = G f (back h (y - b))).
    rewrite -(aligned f Xf) /warp forth_back; by have -> : y - b + b = y by abelian.
  - rewrite /warp commutes // /D /T /=.
    have -> : h y + b - b = h y by abelian.
    by rewrite back_forth.
Qed.

(** P4. A warp that does not depend on the image aligns G under h if and only if, up to one fixed
    shift b, G T_h = D_b T_h G. *)
Theorem P4_alignment_is_feature_invariance :
  alignable X G h <-> exists b, commutes_up_to b.
Proof.
  split => [[phi aligned]|[b commutes]].
  - have [b affine] := P3_covariance_pins_the_warp X G h shifts moves covariant separating phi
    aligned.
    exists b; apply/P4_warp_and_commutation => f Xf; rewrite -(aligned f Xf).
    by apply: functional_extensionality => x; rewrite /warp affine.
  - by exists (fun x => h x + b); apply/P4_warp_and_commutation.
Qed.

End P4.

(** Mutant: "G is alignable exactly if it commutes with T_h itself". Refuted by a pure shift,
    G f = D_1 f on the line under the scaling by 2: the warp 2 x - 1 aligns it. *)
Theorem P4_mutant_shift_forgotten :
  ~ forall (X : class R_AbelianGroup R) (G : extractor R_AbelianGroup R R) h,
  closed_under_shifts X -> closed_under_map X h ->
  translation_covariant X G -> separates_points X G ->
  alignable X G h <-> forall f, X f -> G (T h f) = T h (G f).
Proof.
  move=> claimed.
  have two : 2%R <> 0%R by lra.
  pose h : GL R_AbelianGroup := @scaling R_NormedModule 2 two.
  pose G : extractor R_AbelianGroup R R := @D R_AbelianGroup R 1%R.
  have covariant : translation_covariant all_images G.
  { by move=> f d _; rewrite /G !D_D plus_comm. }
  have separating : separates_points all_images G.
  { move=> p q same; have := same (fun x => x) I.
    rewrite /G; on_the_line; lra. }
  have [forward _] := claimed all_images G h (fun _ _ _ => I) (fun _ _ => conj I I)
    covariant separating.
  have := fun aligned => f_equal (fun F => F 0%R) (forward aligned (fun x => x) I).
  suff aligned : alignable all_images G h.
  { move=> /(_ aligned); rewrite /G /h; on_the_line; lra. }
  exists (fun x : R => (2 * x - 1)%R) => f _; apply: functional_extensionality => x.
  rewrite /G /h; on_the_line; congr f; lra.
Qed.
