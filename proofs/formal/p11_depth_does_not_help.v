(** * P11. No depth makes a network that filters space alignable under scaling. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting p03_covariance_pins_the_warp p10_receptive_field.

(** One warp that aligns G under the scaling by s, inverted, aligns it under 1 / s, because every
    image is T_s of another. Here for warps s x + b. *)
Lemma aligned_by_inverse {V : NormedModule R_AbsRing} {K Y : Type} (X : class V K)
  (G : extractor V K Y)
    s (nonzero : s <> 0%R) (inverted : (/ s)%R <> 0%R) b :
  closed_under_map X (scaling s nonzero) ->
  aligns X G (scaling s nonzero) (fun x => s * x + b) ->
  aligns X G (scaling (/ s) inverted) (fun x => (/ s)%R * x + - ((/ s)%R * b)).
Proof.
  move=> moves aligned f Xf.
  have same : T (scaling (/ s) inverted) f = T (scaling s nonzero)^-1 f.
  { by apply: functional_extensionality => x; rewrite /T /= Rinv_inv. }
  have [_ Xback] := moves f Xf.
  apply: functional_extensionality => x.
  rewrite /warp same -(aligned _ Xback) /warp T_T_inverse.
  congr (G f _); rewrite scal_distr_l scal_opp_r !scaling_forth //; abelian.
Qed.

Section Magnified.
Context {V : NormedModule R_AbsRing} {K Y : Type}.

Variable X : class V K.
Variable G : extractor V K Y.
Variable R s : R.
Hypothesis nonzero : s <> 0%R.
Hypothesis moves : closed_under_map X (scaling s nonzero).
Hypothesis local : semi_local X G R.

(** The case of a known warp s x + b and |s| > 1. *)
Lemma magnified (b : V) : (1 < Rabs s)%R ->
  aligns X G (scaling s nonzero) (fun x => s * x + b) ->
  reads_only X G ((/ (1 - s))%R * b).
Proof.
  move=> large aligned eps positive f g x Xf Xg.
  have not_1 : (1 - s)%R <> 0%R.
  { move=> one; have s_1 : s = 1%R by lra.
    by move: large; rewrite s_1 Rabs_R1; lra. }
  set c := (/ (1 - s))%R * b.
  (* s c + b = c: the point c stays where it is *)
  have fixed : s * c + b = c.
  { have -> : b = (1 - s)%R * c by rewrite /c scaling_forth.
    rewrite -scal_distr_r; have -> : plus s (1 - s)%R = 1%R by rewrite /plus /=; ring.
    exact: (scal_one c). }
  (* (G f)(x + c) = (G T_s^n f)(s^n x + c) depends on f within R / |s|^n of x *)
  have shrinking : forall n f g y, X f -> X g -> agree_within f g y ((R + norm c) / Rabs s ^ n) ->
    G f (y + c) = G g (y + c).
  { elim=> [|n IH] f' g' y Xf' Xg' agree.
    - rewrite /= Rdiv_1 in agree; apply: local => // z near; apply: agree.
      have := distance_triangle (y + c) z y.
      have -> : distance (y + c) y = norm c by rewrite /distance; congr norm; abelian.
      lra.
    - have step k : X k -> G k (y + c) = G (T (scaling s nonzero) k) (s * y + c).
      { move=> Xk; rewrite -(aligned k Xk) /warp; congr (G _ _).
        by rewrite scal_distr_l -plus_assoc fixed. }
      rewrite !step //; apply: IH; try exact: (proj1 (moves _ _)).
      move=> z near; apply: agree => /=.
      have size : distance z (s * y) = (Rabs s * distance ((/ s)%R * z) y)%R.
      { by rewrite -distance_scal scaling_forth. }
      rewrite size in near.
      apply: (Rmult_le_reg_l (Rabs s)); first lra.
      apply: (Rle_trans _ _ _ near); right; field; split; [apply: pow_nonzero|]; lra. }
  (* some n makes the window smaller than eps *)
  have [n small] : exists n, ((R + norm c) / Rabs s ^ n <= eps)%R.
  { have [n big] := Pow_x_infinity (Rabs s) (eq_ind_r (fun t => (t > 1)%R) large (Rabs_Rabsolu s))
      ((Rabs (R + norm c) + 1) / eps)%R.
    exists n; have power_positive : (0 < Rabs s ^ n)%R by apply: pow_lt; lra.
    apply: (Rmult_le_reg_r (Rabs s ^ n)) => //.
    have -> : ((R + norm c) / Rabs s ^ n * Rabs s ^ n)%R = (R + norm c)%R by field; lra.
    have grown := big n (le_n n); rewrite RPow_abs Rabs_Rabsolu -RPow_abs in grown.
    have enough : ((Rabs (R + norm c) + 1) / eps * eps <= Rabs s ^ n * eps)%R.
    { by apply: Rmult_le_compat_r; [lra | apply: Rge_le]. }
    have cancelled : ((Rabs (R + norm c) + 1) / eps * eps)%R = (Rabs (R + norm c) + 1)%R by field;
      lra.
    have := Rle_abs (R + norm c); lra. }
  move=> agree; have -> : x = (x - c) + c by abelian.
  apply: (shrinking n) => // y near; apply: agree; lra.
Qed.

End Magnified.

Section P11.
Context {V : NormedModule R_AbsRing} {K Y : Type}.

(** Assumptions: the class of images is closed under shifts, gluing and the scaling by s, |s| other
    than 0 and 1; G is translation covariant, semi-local, and not constant; the warp does not depend
    on the image. *)
Variable X : class V K.
Variable G : extractor V K Y.
Variable R s : R.
Hypothesis nonzero : s <> 0%R.
Hypothesis scales : Rabs s <> 1%R.
Hypothesis shifts : closed_under_shifts X.
Hypothesis moves : closed_under_map X (scaling s nonzero).
Hypothesis covariant : translation_covariant X G.
Hypothesis local : semi_local X G R.
Hypothesis glue : gluable X.
Hypothesis varies : ~ constant X G.

Lemma moves_back (inverted : (/ s)%R <> 0%R) : closed_under_map X (scaling (/ s) inverted).
Proof.
  move=> f Xf; have [forward backward] := moves f Xf; split; last exact: forward.
  have -> // : T (scaling (/ s) inverted) f = T (scaling s nonzero)^-1 f.
  by apply: functional_extensionality => x; rewrite /T /= Rinv_inv.
Qed.

(** P11 for a known warp: whatever the depth, if s x + b aligns G under the scaling by s, then
    (G f)(x) depends on f only in an arbitrarily small neighbourhood of x - c, with one fixed c. *)
Lemma P11_known_warp (b : V) :
  aligns X G (scaling s nonzero) (fun x => s * x + b) -> exists c, reads_only X G c.
Proof.
  move=> aligned.
  case: (Rlt_le_dec 1 (Rabs s)) => [large|small].
  { exists ((/ (1 - s))%R * b); exact: (magnified X G R s nonzero moves local b large aligned). }
  have below : (Rabs s < 1)%R by lra.
  have positive : (0 < Rabs s)%R by apply: Rabs_pos_lt.
  have inverted : (/ s)%R <> 0%R by exact: Rinv_neq_0_compat.
  have large : (1 < Rabs (/ s))%R.
  { rewrite Rabs_inv -Rinv_1; apply: Rinv_lt_contravar; lra. }
  eexists; apply: (magnified X G R (/ s) inverted (moves_back inverted) local _ large).
  exact: (aligned_by_inverse X G s nonzero inverted b moves aligned).
Qed.

(** P11. If some warp, the same for all images, aligns G under s I with |s| other than 1, then there
    is one fixed c such that (G f)(x) depends on f only in an arbitrarily small neighbourhood of x -
    c. Depth enters nowhere. *)
Theorem P11_depth_does_not_help :
  alignable X G (scaling s nonzero) -> exists c, reads_only X G c.
Proof.
  move=> [phi aligned].
  have separating := P3_separation_is_automatic X G shifts glue covariant R local varies.
  have [b affine] := P3_covariance_pins_the_warp X G _ shifts moves covariant separating phi
    aligned.
  apply: (P11_known_warp b) => f Xf; rewrite -(aligned f Xf).
  by apply: functional_extensionality => x; rewrite /warp affine.
Qed.

End P11.

(** Mutant: "c can be left out: the neighbourhood is one of x itself". Refuted on the line by the
    pure shift G f = D_1 f, which 2 x - 1 aligns under the scaling by 2. *)
Theorem P11_mutant_no_centre : ~ forall (X : class R_NormedModule R)
  (G : extractor R_NormedModule R R) R s
    (nonzero : s <> 0%R), Rabs s <> 1%R ->
  closed_under_shifts X -> closed_under_map X (scaling s nonzero) -> translation_covariant X G ->
  semi_local X G R -> gluable X -> ~ constant X G ->
  alignable X G (scaling s nonzero) -> reads_only X G zero.
Proof.
  move=> claimed.
  have two : 2%R <> 0%R by lra.
  pose G : extractor R_NormedModule R R := @D R_AbelianGroup R 1%R.
  have size : Rabs 2 <> 1%R by rewrite Rabs_pos_eq; lra.
  have covariant : translation_covariant all_images G.
  { by move=> f d _; rewrite /G !D_D plus_comm. }
  have local : semi_local all_images G 1.
  { move=> f g x _ _ agree; apply: agree; rewrite /distance /norm /= /abs /=; on_the_line.
    have -> : (x + - (1) + - x)%R = (- 1)%R by ring.
    rewrite Rabs_Ropp Rabs_R1; lra. }
  have varies : ~ constant (@all_images R_AbelianGroup R) G.
  { move=> same; have := same (fun _ => 0%R) (fun _ => 1%R) 0%R I I; rewrite /G /D; lra. }
  have aligned : alignable all_images G (scaling 2 two).
  { exists (fun x : R => (2 * x - 1)%R) => f _; apply: functional_extensionality => x.
    rewrite /G; on_the_line; congr f; lra. }
  have only := claimed all_images G 1%R 2%R two size (fun _ _ _ => I) (fun _ _ => conj I I)
    covariant
    local (all_images_gluable _ _) varies aligned.
  pose g (y : R) := if Rle_dec (Rabs y) (/ 2) then 0%R else 1%R.
  have := only (/ 2)%R ltac:(lra) (fun _ => 0%R) g 0%R I I.
  rewrite /G /g; on_the_line => wrong.
  have : 0%R = (if Rle_dec (Rabs (0 + - (1))) (/ 2) then 0%R else 1%R).
  { apply: wrong => y; rewrite /distance /norm /= /abs /=; on_the_line.
    have -> : (y + - (0 + - 0))%R = y by ring.
    by case: Rle_dec. }
  rewrite Rplus_0_l Rabs_Ropp Rabs_R1; case: Rle_dec; lra.
Qed.
