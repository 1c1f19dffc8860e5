(** * P6. No filter survives a scaling or a shear.

    Here for continuous filters of bounded support. That integrable filters without compact support
    do not survive either rests on Poincare's recurrence theorem and Lebesgue's measure, which are
    not in Coq's standard library nor in Coquelicot; nor is the classification of all linear maps
    that are not conjugate to a rotation or reflection checked, only scalings and shears. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting continuous_images r2.

(** The filter is 0 outside some ball. *)
Definition bounded_support {V : NormedModule R_AbsRing} (l : V -> R) :=
  exists r, forall y, (r < norm y)%R -> l y = 0%R.

(** The criterion of P5, |det h| l(h y + b) = l(y) for all y. The factor may be any number. *)
Definition criterion {V : AbelianGroup} (abs_det : R) (h : GL V) (b : V) (l : V -> R) :=
  forall y, (abs_det * l (h y + b)%plane = l y)%R.

Section P6.
Context {V : NormedModule R_AbsRing}.

(** y, h y + b, h (h y + b) + b, ... *)
Fixpoint orbit (h : GL V) (b : V) (n : nat) (y : V) : V :=
  match n with O => y | S n => h (orbit h b n y) + b end.

(** A filter that meets the criterion is 0 at every point whose orbit leaves every ball. *)
Lemma P6_escaping abs_det (h : GL V) (b : V) (l : V -> R) y : criterion abs_det h b l ->
  bounded_support l ->
  (forall r, exists n, (r < norm (orbit h b n y))%R) -> l y = 0%R.
Proof.
  move=> meets [r outside] escapes; have [n far] := escapes r.
  have chain : forall n, l y = (abs_det ^ n * l (orbit h b n y))%R.
  { elim=> [|k ->] /=; first by rewrite Rmult_1_l.
    rewrite -(meets (orbit h b k y)); ring. }
  by rewrite (chain n) outside // Rmult_0_r.
Qed.

(** The same for the inverse map. *)
Lemma criterion_inverse abs_det (h : GL V) (b : V) (l : V -> R) : abs_det <> 0%R ->
  criterion abs_det h b l -> criterion (/ abs_det) h^-1 (- (h^-1 b)) l.
Proof.
  move=> nonzero meets y; rewrite -(meets (h^-1 y + - h^-1 b)) -Rmult_assoc Rinv_l // Rmult_1_l.
  congr l; rewrite additive map_opp /= !forth_back; abelian.
Qed.

(** A continuous function that is 0 everywhere but at one point is 0 there too. *)
Lemma zero_at_limit (l : V -> R) (p e : V) : e <> zero ->
  (forall y, continuous l y) -> (forall y, y <> p -> l y = 0%R) -> l p = 0%R.
Proof.
  move=> nonzero continuous_l elsewhere.
  case: (Req_dec (l p) 0) => // wrong; exfalso.
  have positive : (0 < Rabs (l p))%R by apply: Rabs_pos_lt.
  have close := continuous_l p (fun t => (Rabs (t - l p) < Rabs (l p))%R).
  have near : locally (l p) (fun t => (Rabs (t - l p) < Rabs (l p))%R).
  { by exists (mkposreal _ positive) => t. }
  have [r within] := locally_norm_le_locally p _ (close near).
  have size : (0 < norm e)%R.
  { case: (same_or_apart e zero) => // apart; rewrite /distance in apart.
    by have <- : e - zero = e by abelian. }
  pose t := (r / (2 * norm e))%R.
  have t_positive : (0 < t)%R by apply: Rdiv_lt_0_compat; [exact: cond_pos | lra].
  have length : norm (t * e) = (r / 2)%R.
  { rewrite norm_scal_R Rabs_pos_eq; [rewrite /t; field; lra | lra]. }
  have there : ball_norm p r (p + t * e).
  { rewrite /ball_norm; have -> : p + t * e - p = t * e by abelian.
    rewrite length; have := cond_pos r; lra. }
  have moved : p + t * e <> p.
  { move=> same; have : norm (t * e) = 0%R.
    { have -> : t * e = (p + t * e) - p by abelian.
      by rewrite same minus_eq_zero norm_zero. }
    rewrite length; have := cond_pos r; lra. }
  have := within _ there; rewrite elsewhere // Rminus_0_l Rabs_Ropp; lra.
Qed.

Lemma orbit_of_scaling s nonzero (b p : V) n y : s * p + b = p ->
  orbit (scaling s nonzero) b n y = p + (s ^ n)%R * (y - p).
Proof.
  move=> fixed; elim: n => [|n IH] /=.
  - rewrite (scal_one (y - p) : 1%R * (y - p) = _); abelian.
  - rewrite IH scal_distr_l scal_assoc.
    have -> : mult s (s ^ n)%R = (s * s ^ n)%R by [].
    move: fixed; set P := scal s p; set Q := scal _ (y - p) => fixed.
    by transitivity ((P + b) + Q); [abelian | rewrite fixed].
Qed.

(** A magnification leaves no filter. *)
Lemma no_magnification abs_det s nonzero (b e : V) l : (1 < Rabs s)%R -> e <> zero ->
  (forall y, continuous l y) -> bounded_support l ->
  criterion abs_det (scaling s nonzero) b l -> forall y, l y = 0%R.
Proof.
  move=> large nonzero_e continuous_l bounded meets.
  have not_1 : (1 - s)%R <> 0%R.
  { move=> one; have s_1 : s = 1%R by lra.
    by move: large; rewrite s_1 Rabs_R1; lra. }
  pose p : V := (/ (1 - s))%R * b.
  have fixed : s * p + b = p.
  { have -> : b = (1 - s)%R * p by rewrite /p scaling_forth.
    rewrite -scal_distr_r; have -> : plus s (1 - s)%R = 1%R by rewrite /plus /=; ring.
    exact: (scal_one p). }
  have elsewhere : forall y, y <> p -> l y = 0%R.
  { move=> y away; apply: (P6_escaping abs_det _ b l y meets bounded) => r.
    have apart : (0 < distance y p)%R by case: (same_or_apart y p).
    have [n big] := Pow_x_infinity (Rabs s) (eq_ind_r (fun t => (t > 1)%R) large (Rabs_Rabsolu s))
      ((Rabs r + norm p + 1) / distance y p)%R.
    exists n; rewrite (orbit_of_scaling _ _ _ p) //.
    have grown := Rge_le _ _ (big n (le_n n)); rewrite RPow_abs Rabs_Rabsolu in grown.
    have enough := Rmult_le_compat_r _ _ _ (Rlt_le _ _ apart) grown.
    have cancelled : ((Rabs r + norm p + 1) / distance y p * distance y p)%R =
      (Rabs r + norm p + 1)%R by field; lra.
    have := norm_triangle (p + (s ^ n)%R * (y - p)) (- p).
    have -> : p + (s ^ n)%R * (y - p) + - p = (s ^ n)%R * (y - p) by abelian.
    rewrite norm_opp norm_scal_R; have := Rle_abs r; rewrite /distance in cancelled enough; lra. }
  move=> y; case: (same_or_apart y p) => [->|apart].
  - exact: (zero_at_limit l p e).
  - apply: elsewhere => same; move: apart; rewrite same distance_self; lra.
Qed.

(** P6 for scalings. No nonzero continuous filter of bounded support meets |det h| l(h y + b) = l(y)
    for a scaling h = s I with |s| other than 0 and 1, for any b, on a plane with more than one
    point. *)
Theorem P6_no_scaling (abs_det s : R) (nonzero : s <> 0%R) (b e : V) (l : V -> R) :
  Rabs s <> 1%R -> abs_det <> 0%R -> e <> zero ->
  (forall y, continuous l y) -> bounded_support l ->
  criterion abs_det (scaling s nonzero) b l -> forall y, l y = 0%R.
Proof.
  move=> scales det_nonzero nonzero_e continuous_l bounded meets.
  case: (Rlt_le_dec 1 (Rabs s)) => [large|small].
  { exact: (no_magnification abs_det s nonzero b e l large). }
  have positive : (0 < Rabs s)%R by apply: Rabs_pos_lt.
  have inverted : (/ s)%R <> 0%R by exact: Rinv_neq_0_compat.
  have large : (1 < Rabs (/ s))%R by rewrite Rabs_inv -Rinv_1; apply: Rinv_lt_contravar; lra.
  have back := criterion_inverse _ _ _ _ det_nonzero meets.
  exact: (no_magnification (/ abs_det) (/ s) inverted _ e l large nonzero_e continuous_l bounded
    back).
Qed.

End P6.

Lemma orbit_of_shear k (b y : R2) n :
  snd (orbit (shear k) b n y) = (snd y + INR n * snd b)%R /\
  (snd b = 0%R -> fst (orbit (shear k) b n y) = (fst y + INR n * (k * snd y + fst b))%R).
Proof.
  elim: n => [|n [IH2 IH1]]; first by rewrite /=; split=> [|_]; ring.
  rewrite S_INR; move: IH2 IH1; rewrite [orbit _ _ (S n) _]/=; case: (orbit (shear k) b n y) =>
    u v /= IH2 IH1.
  rewrite /dot_row /plus /= IH2; split=> [|flat]; first by ring.
  rewrite IH1 // flat; ring.
Qed.

Lemma norm_R2_ge (y : R2) : (Rabs (fst y) <= norm y)%R /\ (Rabs (snd y) <= norm y)%R.
Proof.
  rewrite length_R2 -!sqrt_Rsqr_abs; have := pow2_ge_0 (fst y); have := pow2_ge_0 (snd y).
  by split; apply: sqrt_le_1_alt; rewrite Rsqr_pow2; lra.
Qed.

(** P6 for shears. No nonzero continuous filter of bounded support on R^2 meets the criterion for a
    shear ((1, k), (0, 1)) with k other than 0, for any b. *)
Theorem P6_no_shear (k : R) (b : R2) (l : R2 -> R) : k <> 0%R ->
  (forall y, continuous l y) -> bounded_support l ->
  criterion 1 (shear k) b l -> forall y, l y = 0%R.
Proof.
  move=> sheared continuous_l bounded meets.
  (* away from one line every orbit leaves every ball *)
  have off_line : forall u v, (k * v + fst b)%R <> 0%R \/ snd b <> 0%R -> l (u, v) = 0%R.
  { move=> u v moves; apply: (P6_escaping 1 _ b l (u, v) meets bounded) => r.
    case: (Req_dec (snd b) 0) => [flat|rises].
    - have drift : (0 < Rabs (k * v + fst b))%R by apply: Rabs_pos_lt; case: moves.
      have [n far] := archimedes (Rabs r + Rabs u) _ drift.
      exists n; have [_ first] := orbit_of_shear k b (u, v) n; have [large _] :=
        norm_R2_ge (orbit (shear k) b n (u, v)).
      apply: Rlt_le_trans large; rewrite first //= .
      have := Rabs_triang_inv (INR n * (k * v + fst b)) (- u).
      have -> : (INR n * (k * v + fst b) - - u)%R = (u + INR n * (k * v + fst b))%R by ring.
      rewrite Rabs_mult Rabs_Ropp (Rabs_pos_eq (INR n)); last exact: pos_INR.
      have enough : (Rabs r < INR n * Rabs (k * v + fst b) - Rabs u)%R by lra.
      move=> bound; exact: Rle_lt_trans (Rle_abs r) (Rlt_le_trans _ _ _ enough bound).
    - have drift : (0 < Rabs (snd b))%R by apply: Rabs_pos_lt.
      have [n far] := archimedes (Rabs r + Rabs v) _ drift.
      exists n; have [second _] := orbit_of_shear k b (u, v) n; have [_ large] :=
        norm_R2_ge (orbit (shear k) b n (u, v)).
      apply: Rlt_le_trans large; rewrite second /=.
      have := Rabs_triang_inv (INR n * snd b) (- v).
      have -> : (INR n * snd b - - v)%R = (v + INR n * snd b)%R by ring.
      rewrite Rabs_mult Rabs_Ropp (Rabs_pos_eq (INR n)); last exact: pos_INR.
      have enough : (Rabs r < INR n * Rabs (snd b) - Rabs v)%R by lra.
      move=> bound; exact: Rle_lt_trans (Rle_abs r) (Rlt_le_trans _ _ _ enough bound). }
  (* on the line by continuity, along the second axis *)
  case=> u v; case: (Req_dec (k * v + fst b) 0) => [on_line|]; last by move=> off; apply: off_line;
    left.
  apply: (zero_at_limit (V := R_NormedModule) (fun v => l (u, v)) v 1%R).
  - rewrite /zero /=; lra.
  - move=> w; apply: (continuous_comp (fun w : R => (u, w) : R2) l); last exact: continuous_l.
    apply: (continuous_comp_2 (fun _ : R => u) (fun w : R => w) (fun a c : R => (a, c) : R2));
      [exact: continuous_const | exact: continuous_id | ].
    apply: (continuous_ext (fun y => y)); [by case | exact: continuous_id].
  - move=> w away; apply: off_line; left => on_line'; apply: away.
    apply: (Rmult_eq_reg_l k) => //; lra.
Qed.

(** ** A number for it *)

Section Bounds.
Context {E : NormedModule R_AbsRing}.

(** The filters with a norm, and U l = |det h| l(h . + b). *)
Variable U : E -> E.

(** If U multiplies norms by k (in L2, k = |det h|^(1/2)), every filter misses the criterion by at
    least |k - 1| of its norm: |U l - l| >= |k - 1| |l|. *)
Theorem P6_norm_bound : forall k, (0 <= k)%R -> (forall l, norm (U l) = (k * norm l)%R) ->
  forall l, (Rabs (k - 1) * norm l <= norm (U l - l)%plane)%R.
Proof.
  move=> k positive scales l; have := norm_triangle_inv (U l) l; rewrite scales /abs /=.
  have -> : (k * norm l - norm l)%R = ((k - 1) * norm l)%R by ring.
  by rewrite Rabs_mult (Rabs_pos_eq (norm l)) //; exact: norm_ge_0.
Qed.

Fixpoint iterated (n : nat) (l : E) : E := match n with O => l | S n => U (iterated n l) end.

(** If U keeps distances, |U^n l - l| <= n |U l - l|. *)
Theorem P6_orbit_bound : (forall l k, norm (U l - U k) = norm (l - k)) ->
  forall n l, (norm (iterated n l - l)%plane <= INR n * norm (U l - l)%plane)%R.
Proof.
  move=> isometry; elim=> [|n IH] l.
  { by rewrite /= minus_eq_zero norm_zero Rmult_0_l; lra. }
  rewrite S_INR /=.
  have -> : U (iterated n l) - l = (U (iterated n l) - U l) + (U l - l) by abelian.
  have := norm_triangle (U (iterated n l) - U l) (U l - l); rewrite isometry.
  have := IH l; lra.
Qed.

End Bounds.

(** The hat max (0, 1 - |y|), a filter on the line. *)
Definition hat (y : R) : R := clamp (1 - Rabs y).

Lemma continuous_hat (y : R) : continuous hat y.
Proof.
  apply: (continuous_comp (fun y => (1 - Rabs y)%R) clamp); last exact: continuous_clamp.
  apply: (continuous_minus (fun _ => 1%R) Rabs);
    [exact: continuous_const | exact: continuous_Rabs'].
Qed.

Lemma hat_bounded : bounded_support (V := R_NormedModule) hat.
Proof. by exists 1%R => y; rewrite /norm /= /abs /= => far; apply: clamp_low; lra. Qed.

(** Mutant: "no filter meets the criterion for a reflection either", |s| = 1 not excluded. Refuted
    on the line by the hat. *)
Theorem P6_mutant_reflection : ~ forall (abs_det s : R) (nonzero : s <> 0%R) (b : R_NormedModule)
  (l : R_NormedModule -> R),
  abs_det <> 0%R -> (forall y, continuous l y) -> bounded_support l ->
  criterion abs_det (scaling s nonzero) b l -> forall y, l y = 0%R.
Proof.
  move=> claimed.
  have nonzero : (- 1)%R <> 0%R by lra.
  have one : 1%R <> 0%R by lra.
  have meets : criterion 1 (@scaling R_NormedModule (- 1) nonzero) zero hat.
  { move=> y; rewrite /hat; on_the_line; rewrite Rmult_1_l.
    by have -> : (- (1) * y + 0)%R = (- y)%R; [ring | rewrite Rabs_Ropp]. }
  have := claimed 1%R (- 1)%R nonzero zero hat one continuous_hat hat_bounded meets 0%R.
  rewrite /hat clamp_high; rewrite ?Rabs_R0; lra.
Qed.

(** Mutant: "the support need not be bounded, nor the filter integrable". Refuted on the line by a
    filter that is the same everywhere, with factor 1. *)
Theorem P6_mutant_unbounded : ~ forall (abs_det s : R) (nonzero : s <> 0%R) (b : R_NormedModule)
  (l : R_NormedModule -> R),
  Rabs s <> 1%R -> abs_det <> 0%R -> (forall y, continuous l y) ->
  criterion abs_det (scaling s nonzero) b l -> forall y, l y = 0%R.
Proof.
  move=> claimed.
  have two : 2%R <> 0%R by lra.
  have one : 1%R <> 0%R by lra.
  have scales : Rabs 2 <> 1%R by rewrite Rabs_pos_eq; lra.
  have := claimed 1%R 2%R two zero (fun _ => 1%R) scales one (fun _ => continuous_const _ _)
    (fun _ => Rmult_1_r _) 0%R.
  lra.
Qed.
