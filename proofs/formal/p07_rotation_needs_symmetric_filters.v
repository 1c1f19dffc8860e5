(** * P7. A rotation or reflection is met exactly by the filters that are symmetric under it.

    Checked: symmetry under the group that h generates; for a rotation by 360 p / q degrees, p / q
    in lowest terms, q-fold symmetry; and the two bounds. Not checked: that for an angle that is no
    rational part of a turn the multiples are dense, so that the filter is isotropic. *)

From Coq Require Import ZArith Lia Znumtheory Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting r2.

Section Orbit.
Context {V : AbelianGroup}.

(** l(h y) = l(y): the criterion of P5 with |det h| = 1 and the origin at the common centre. *)
Definition symmetric (l : V -> R) (h : GL V) := forall y, l (h y) = l y.

(** P7, the orbit of h. A filter meets l(h y) = l(y) if and only if it is symmetric under the whole
    group that h generates, all powers of h and of its inverse. *)
Theorem P7_generated_group : forall l h,
  symmetric l h <-> forall n, symmetric l (power h n) /\ symmetric l (power h^-1 n).
Proof.
  move=> l h; split => [meets n|whole y].
  - have back : symmetric l h^-1 by move=> y; rewrite -(meets (h^-1 y)) /= forth_back.
    split; elim: n => [|n IH] y //=.
    + by rewrite meets IH.
    + by rewrite (back (power h^-1 n y)) IH.
  - exact: (proj1 (whole 1%nat) y).
Qed.

(** It is enough to ask for the powers 0 to q - 1, which are the whole group if h has order q. *)
Theorem P7_finite_order : forall l h q, (1 < q)%nat ->
  symmetric l h <-> forall n, (n < q)%nat -> symmetric l (power h n).
Proof.
  move=> l h q order; split => [meets n _|some].
  - exact: (proj1 (proj1 (P7_generated_group l h) meets n)).
  - move=> y; exact: (some 1%nat order y).
Qed.

End Orbit.

(** ** Rotations of the plane *)

Lemma rotation_by_0 (u v : R) : rotation 0 (u, v) = (u, v).
Proof. rewrite /= /dot_row /= cos_0 sin_0; apply: R2_eq; ring. Qed.

Lemma rotation_twice s t (u v : R) : rotation s (rotation t (u, v)) = rotation (s + t) (u, v).
Proof. rewrite /= /dot_row /= cos_plus sin_plus; apply: R2_eq; ring. Qed.

Lemma power_of_rotation t n (x : R2) : power (rotation t) n x = rotation (INR n * t) x.
Proof.
  elim: n => [|n IH].
  - by case: x => u v; rewrite Rmult_0_l rotation_by_0.
  - have -> : (INR (S n) * t = t + INR n * t)%R by rewrite S_INR; ring.
    case: x IH => u v IH; rewrite -rotation_twice -IH //.
Qed.

Lemma rotation_period t n (x : R2) : rotation (t + 2 * INR n * PI) x = rotation t x.
Proof. by rewrite /= /dot_row cos_period sin_period. Qed.

(** P7, rational angles. For the rotation by the part p / q of a full turn, p and q without a common
    factor, the criterion holds exactly for the filters with q-fold symmetry, l(R y) = l(y) for the
    rotation R by 1 / q of a turn. For 90 degrees (1 / 4) and 270 degrees (3 / 4) that is 4-fold
    symmetry. *)
Theorem P7_rational_angle : forall (l : R2 -> R) p q, (0 < q)%nat -> (0 < p)%nat ->
  (exists m n, m * p = 1 + n * q)%nat ->
  symmetric l (rotation (INR p * (2 * PI / INR q))) <-> symmetric l (rotation (2 * PI / INR q)).
Proof.
  move=> l p q q_positive p_positive [m [n bezout]].
  have q_nonzero : INR q <> 0%R by apply: not_0_INR; lia.
  split => meets y.
  - have := proj1 (proj1 (P7_generated_group l _) meets m) y; rewrite power_of_rotation.
    have -> : (INR m * (INR p * (2 * PI / INR q)) = 2 * PI / INR q + 2 * INR n * PI)%R.
    { have := f_equal INR bezout; rewrite mult_INR plus_INR mult_INR /= => equation.
      have -> : (INR m * (INR p * (2 * PI / INR q)) = (INR m * INR p) * (2 * PI / INR q))%R by ring.
      rewrite equation; field; exact: q_nonzero. }
    by rewrite rotation_period.
  - rewrite -power_of_rotation; exact: (proj1 (proj1 (P7_generated_group l _) meets p) y).
Qed.

(** Numbers without a common factor have such m and n. *)
Lemma coprime_bezout p q : (0 < q)%nat -> (0 < p)%nat -> Nat.gcd p q = 1%nat ->
  exists m n, (m * p = 1 + n * q)%nat.
Proof.
  move=> q_positive p_positive coprime.
  have [m [n bezout]] := Nat.gcd_bezout_pos p q p_positive.
  exists m, n; rewrite bezout coprime; lia.
Qed.

(** ** Numbers for it *)

Section Bounds.
Context {E : NormedModule R_AbsRing}.

(** The filters with a norm; U l = l(h .), linear, of order q, and keeping the norm. *)
Variable U : E -> E.
Variable q : nat.
Hypothesis sums : forall l k, U (l + k) = U l + U k.
Hypothesis multiples : forall s l, U (s * l) = s * U l.
Hypothesis keeps : forall l, norm (U l) = norm l.
Hypothesis several : (1 < q)%nat.

Fixpoint turned (n : nat) (l : E) : E := match n with O => l | S n => U (turned n l) end.
Hypothesis order : forall l, turned q l = l.

(** l + U l + ... + U^(n-1) l, and P l = (l + U l + ... + U^(q-1) l) / q, the symmetric part. *)
Fixpoint sum_of (n : nat) (l : E) : E := match n with O => zero | S n =>
  sum_of n l + turned n l end.
Definition symmetric_part (l : E) : E := (/ INR q)%R * sum_of q l.

Lemma q_nonzero : INR q <> 0%R.
Proof. apply: not_0_INR; lia. Qed.

Lemma U_zero : U zero = zero.
Proof. by apply: (plus_reg_l (U zero)); rewrite -sums !plus_zero_r. Qed.

Lemma U_opp l : U (- l) = - U l.
Proof. by apply: (plus_reg_l (U l)); rewrite -sums !plus_opp_r U_zero. Qed.

Lemma U_minus l k : U (l - k) = U l - U k.
Proof. by rewrite /minus sums U_opp. Qed.

Lemma U_sum n l : U (sum_of n l) + l = sum_of n l + turned n l.
Proof.
  elim: n => [|n IH] /=; first by rewrite U_zero.
  rewrite sums; have -> : U (sum_of n l) + U (turned n l) + l =
    (U (sum_of n l) + l) + U (turned n l) by abelian.
  by rewrite IH.
Qed.

(** The symmetric part is symmetric. *)
Lemma symmetric_part_is_symmetric l : U (symmetric_part l) = symmetric_part l.
Proof.
  rewrite /symmetric_part multiples; congr (_ * _).
  apply: (plus_reg_r l); by rewrite U_sum order.
Qed.

(** P7, the upper bound: |l - U l| <= 2 |l - P l|. *)
Theorem P7_upper_bound : forall l, (norm (l - U l)%plane <= 2 * norm
  (l - symmetric_part l)%plane)%R.
Proof.
  move=> l; set s := symmetric_part l.
  have -> : l - U l = (l - s) + - (U (l - s)).
  { rewrite U_minus /s symmetric_part_is_symmetric; abelian. }
  have := norm_triangle (l - s) (- (U (l - s))); rewrite norm_opp keeps; lra.
Qed.

Lemma drift n l : (norm (l - turned n l)%plane <= INR n * norm (l - U l)%plane)%R.
Proof.
  elim: n => [|n IH].
  { rewrite /= minus_eq_zero norm_zero Rmult_0_l; exact: Rle_refl. }
  rewrite S_INR [turned (S n) l]/=.
  have -> : l - U (turned n l) = (l - U l) + U (l - turned n l) by rewrite U_minus; abelian.
  have := norm_triangle (l - U l) (U (l - turned n l)); rewrite keeps; lra.
Qed.

Lemma drift_of_sum n l :
  (norm (INR n * l - sum_of n l)%plane <= INR n * (INR n - 1) / 2 * norm (l - U l)%plane)%R.
Proof.
  elim: n => [|n IH].
  { rewrite /= scal_zero_l minus_eq_zero norm_zero; lra. }
  have -> : INR (S n) * l - sum_of (S n) l = (INR n * l - sum_of n l) + (l - turned n l).
  { rewrite S_INR; have -> : (INR n + 1)%R * l = INR n * l + l.
    { by rewrite (scal_distr_r (INR n) 1%R l) (scal_one l : 1%R * l = l). }
    rewrite /=; abelian. }
  apply: (Rle_trans _ _ _ (norm_triangle _ _)).
  apply: (Rle_trans _ _ _ (Rplus_le_compat _ _ _ _ IH (drift n l))).
  right; rewrite S_INR; move: (norm (l - U l)) (INR n) => N m.  field.
Qed.

(** P7, the lower bound: |l - P l| <= (q - 1) / 2 |l - U l|. *)
Theorem P7_lower_bound : forall l,
  (norm (l - symmetric_part l)%plane <= (INR q - 1) / 2 * norm (l - U l)%plane)%R.
Proof.
  move=> l; have nonzero := q_nonzero; have positive : (0 < INR q)%R by apply: lt_0_INR; lia.
  have -> : l - symmetric_part l = (/ INR q)%R * (INR q * l - sum_of q l).
  { by rewrite scal_minus scaling_back. }
  rewrite norm_scal_R Rabs_pos_eq; last by apply/Rlt_le/Rinv_0_lt_compat.
  apply: (Rmult_le_reg_l (INR q)) => //; rewrite -Rmult_assoc Rinv_r // Rmult_1_l.
  apply: (Rle_trans _ _ _ (drift_of_sum q l)).
  right; move: (norm (l - U l)) (INR q) => N m; field.
Qed.

End Bounds.

(** Mutant: "symmetry under half a turn is enough for a quarter turn". Refuted by l(x, y) = x^2. *)
Theorem P7_mutant_half_turn : ~ forall l : R2 -> R,
  symmetric l (rotation PI) -> symmetric l (rotation (PI / 2)).
Proof.
  move=> claimed.
  have half : symmetric (fun x : R2 => (fst x * fst x)%R) (rotation PI).
  { case=> u v; rewrite /= /dot_row /= cos_PI sin_PI; ring. }
  have := claimed _ half (1%R, 0%R); rewrite /= /dot_row /= cos_PI2 sin_PI2; lra.
Qed.

(** The assumptions of the bounds can be met: numbers for filters and the change of sign, of order
    2. For it both bounds are attained: l - U l = 2 l and P l = 0. *)
Theorem P7_instance : forall l : R_NormedModule,
  (norm (l - - l)%plane <= 2 * norm (l - symmetric_part (fun l : R_NormedModule => - l) 2
    l)%plane)%R /\
  (norm (l - symmetric_part (fun l : R_NormedModule => - l) 2 l)%plane <= (INR 2 - 1) / 2 * norm
    (l - - l)%plane)%R.
Proof.
  move=> l.
  have sums (a b : R_NormedModule) : - (a + b) = - a + - b by exact: opp_plus.
  have multiples (s : R) (a : R_NormedModule) : - (s * a) = s * (- a) by rewrite scal_opp_r.
  have keeps (a : R_NormedModule) : norm (- a) = norm a by exact: norm_opp.
  have several : (1 < 2)%nat by lia.
  have order (a : R_NormedModule) : turned (fun a : R_NormedModule => - a) 2 a =
    a by rewrite /= opp_opp.
  split.
  - exact: (P7_upper_bound (fun a : R_NormedModule => - a) 2 sums multiples keeps order l).
  - exact: (P7_lower_bound (fun a : R_NormedModule => - a) 2 sums keeps several l).
Qed.
