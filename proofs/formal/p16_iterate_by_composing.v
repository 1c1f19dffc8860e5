(** * P16. Iterate by composing the transformations, not by resampling what was resampled. *)

From Coq Require Import ZArith Lia Reals Lra List FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting r2.

(** ** On the plane: composing is the same as transforming again and again *)

Section Plane.
Context {V : AbelianGroup} {A : Type}.

(** T_(h_n) ... T_(h_1) f, step by step. *)
Definition step_by_step (steps : list (GL V)) (f : V -> A) : V -> A :=
  fold_left (fun f h => T h f) steps f.

(** h_n ... h_1, one map for all steps; the later factor stands on the left. *)
Definition composed (steps : list (GL V)) : GL V :=
  fold_left (fun k h => product h k) steps identity.

(** P16. T_(h_n) ... T_(h_1) f = T_(h_n ... h_1) f, for any number of steps. *)
Theorem P16_iterate_by_composing : forall steps f, step_by_step steps f = T (composed steps) f.
Proof.
  have general : forall (steps : list (GL V)) (k : GL V) (f : V -> A),
    fold_left (fun f h => T h f) steps (T k f) =
      T (fold_left (fun k h => product h k) steps k) f.
  { by move=> steps; elim: steps => [|h steps IH] k f //=; rewrite T_product IH. }
  by move=> steps f; rewrite -general.
Qed.

End Plane.

(** Mutant: "the order of the factors does not matter". Refuted on R^2 by a shear and its transpose.
    *)
Theorem P16_mutant_order : ~ forall (V : AbelianGroup) (A : Type) steps (f : V -> A),
  step_by_step steps f = T (composed (rev steps)) f.
Proof.
  move=> claimed.
  have upper : (1 * 1 - 1 * 0)%R <> 0%R by lra.
  have lower : (1 * 1 - 0 * 1)%R <> 0%R by lra.
  have := f_equal (fun F => F (1%R, 0%R)) (claimed R2 R
    (matrix 1 1 0 1 upper :: matrix 1 0 1 1 lower :: nil) (fun x : R2 => fst x)).
  rewrite /step_by_step /composed /T /= /dot_row /=; lra.
Qed.

(** ** On a grid: what a bilinear shift leaves of a wave *)

Open Scope R_scope.

(** exp(i w x) on the pixels x, as a complex number. *)
Definition wave (w : R) (x : Z) : C := (cos (w * IZR x), sin (w * IZR x)).

(** The bilinear shift by m + a pixels, m whole and a the fractional part. *)
Definition resampled (m : Z) (a : R) (f : Z -> C) : Z -> C :=
  fun x => Cplus (Cmult (RtoC (1 - a)) (f (x - m)%Z)) (Cmult (RtoC a) (f (x - m - 1)%Z)).

(** g(a, w) = (1 - a) + a exp(-i w) *)
Definition gain (a w : R) : C := (1 - a + a * cos w, - (a * sin w)).

(** What one resampling multiplies a wave by: exp(-i w m) g. *)
Definition factor (m : Z) (a w : R) : C := Cmult (wave w (- m)) (gain a w).

(** P16, the grid. A bilinear shift keeps a wave a wave, and multiplies it by exp(-i w m) g(a, w).
    *)
Theorem P16_waves_stay_waves : forall m a w k x,
  resampled m a (fun x => Cmult k (wave w x)) x = Cmult (Cmult k (factor m a w)) (wave w x).
Proof.
  move=> m a w [kr ki] x; rewrite /resampled /factor /gain /wave /Cmult /Cplus /RtoC /=.
  have there : w * IZR (x - m) = w * IZR x + w * IZR (- m) by rewrite minus_IZR opp_IZR; ring.
  have next : w * IZR (x - m - 1) = w * IZR x + w * IZR (- m) + - w.
  { rewrite !minus_IZR opp_IZR; ring. }
  rewrite there next !(cos_plus, sin_plus) cos_neg sin_neg.
  congr pair; ring.
Qed.

(** n resamplings by the same shift multiply by the n-th power. *)
Fixpoint repeated (n : nat) (m : Z) (a : R) (f : Z -> C) : Z -> C :=
  match n with O => f | S n => resampled m a (repeated n m a f) end.

Fixpoint Cpower (z : C) (n : nat) : C := match n with O => RtoC 1 | S n => Cmult (Cpower z n) z end.

Theorem P16_repeated : forall n m a w x,
  repeated n m a (wave w) x = Cmult (Cpower (factor m a w) n) (wave w x).
Proof.
  move=> n m a w; elim: n => [|n IH] x /=; first by rewrite Cmult_1_l.
  have -> : repeated n m a (wave w) = fun x => Cmult (Cpower (factor m a w) n) (wave w x).
  { exact: functional_extensionality. }
  exact: P16_waves_stay_waves.
Qed.

Lemma Cmod_square (z : C) : Cmod z ^ 2 = fst z ^ 2 + snd z ^ 2.
Proof. rewrite /Cmod pow2_sqrt //; have := pow2_ge_0 (fst z); have := pow2_ge_0 (snd z); lra. Qed.

Lemma Cmod_wave w x : Cmod (wave w x) = 1.
Proof.
  have := sin2_cos2 (w * IZR x); rewrite /Rsqr => one.
  transitivity (sqrt 1); last exact: sqrt_1.
  rewrite /Cmod /wave /=; congr sqrt; lra.
Qed.

Lemma Cmod_power z n : Cmod (Cpower z n) = Cmod z ^ n.
Proof. elim: n => /= [|n IH]; [exact: Cmod_1 | rewrite Cmod_mult IH; ring]. Qed.

(** P16. What n resamplings leave of a wave's amplitude is |g|^n. *)
Theorem P16_amplitude : forall n m a w x, Cmod (repeated n m a (wave w) x) = Cmod (gain a w) ^ n.
Proof.
  move=> n m a w x; rewrite P16_repeated Cmod_mult Cmod_power Cmod_wave /factor Cmod_mult Cmod_wave.
  by rewrite Rmult_1_l Rmult_1_r.
Qed.

(** |g|^2 = 1 - 2 a (1 - a) (1 - cos w) *)
Theorem P16_gain : forall a w, Cmod (gain a w) ^ 2 = 1 - 2 * a * (1 - a) * (1 - cos w).
Proof.
  move=> a w; rewrite Cmod_square /gain /fst /snd.
  have := sin2_cos2 w; rewrite /Rsqr => one.
  have -> : (- (a * sin w)) ^ 2 = a ^ 2 * (1 - cos w * cos w).
  { have -> : 1 - cos w * cos w = sin w * sin w by lra.
    ring. }
  ring.
Qed.

Lemma square_le u v : 0 <= u -> 0 <= v -> u ^ 2 <= v ^ 2 -> u <= v.
Proof. move=> u0 v0 le; apply: Rsqr_incr_0 => //; rewrite !Rsqr_pow2; exact: le. Qed.

(** The amplitude falls with every step: |g| < 1, as long as the shift is not whole and the wave not
    constant. *)
Theorem P16_gain_below_1 : forall a w, 0 < a < 1 -> cos w <> 1 -> Cmod (gain a w) < 1.
Proof.
  move=> a w [a0 a1] varies; have := P16_gain a w => square.
  have := COS_bound w => [[_ high]].
  have lost : 0 < 2 * a * (1 - a) * (1 - cos w) by repeat apply: Rmult_lt_0_compat; lra.
  case: (Rlt_le_dec (Cmod (gain a w)) 1) => // large; exfalso.
  have : 1 ^ 2 <= Cmod (gain a w) ^ 2 by apply: pow_incr; lra.
  lra.
Qed.

(** So the amplitude that is left does not grow from step to step, and falls strictly unless none is
    left; *)
Theorem P16_blur_grows : forall a w n, 0 < a < 1 -> cos w <> 1 ->
  Cmod (gain a w) ^ S n <= Cmod (gain a w) ^ n /\
  (0 < Cmod (gain a w) -> Cmod (gain a w) ^ S n < Cmod (gain a w) ^ n).
Proof.
  move=> a w n between varies; have below := P16_gain_below_1 a w between varies.
  have low := Cmod_ge_0 (gain a w).
  have power := pow_le _ n low.
  split=> [|positive] /=.
  - rewrite -{2}(Rmult_1_l (_ ^ n)); apply: Rmult_le_compat_r => //; lra.
  - rewrite -{2}(Rmult_1_l (_ ^ n)); apply: Rmult_lt_compat_r => //; exact: pow_lt.
Qed.

(** and in the end nothing is left. *)
Theorem P16_nothing_left : forall a w, 0 < a < 1 -> cos w <> 1 ->
  is_lim_seq (fun n => Cmod (gain a w) ^ n) 0.
Proof.
  move=> a w between varies; apply: is_lim_seq_geom; rewrite Rabs_pos_eq; last exact: Cmod_ge_0.
  exact: P16_gain_below_1.
Qed.

(** One resampling by the composed shift leaves |g(a', w)|, a' its fractional part, which never
    falls below |g(1/2, w)|; *)
Theorem P16_once : forall a w, Cmod (gain (/ 2) w) <= Cmod (gain a w).
Proof.
  move=> a w; apply: square_le; try exact: Cmod_ge_0; rewrite !P16_gain.
  have [_ high] := COS_bound w.
  have square := pow2_ge_0 (a - / 2).
  have : 0 <= (a - / 2) ^ 2 * (1 - cos w) by apply: Rmult_le_pos; lra.
  lra.
Qed.

(** and it is 1, nothing is lost, where the composed shift is whole. *)
Theorem P16_once_whole : forall w, Cmod (gain 0 w) = 1.
Proof. move=> w; apply: Rsqr_inj; [exact: Cmod_ge_0 | lra | rewrite !Rsqr_pow2 P16_gain; ring]. Qed.

(** Hence, unless w is pi (where g(1/2, w) = 0), enough steps leave less than any single resampling
    does. *)
Theorem P16_enough_steps : forall a w, 0 < a < 1 -> cos w <> 1 -> cos w <> -1 ->
  exists N, forall n, (N <= n)%nat -> forall a', Cmod (gain a w) ^ n < Cmod (gain a' w).
Proof.
  move=> a w between varies not_pi.
  have positive : 0 < Cmod (gain (/ 2) w).
  { case: (Rle_lt_or_eq_dec _ _ (Cmod_ge_0 (gain (/ 2) w))) => // none; exfalso.
    have := P16_gain (/ 2) w; rewrite -none; have [low _] := COS_bound w; move=> square; apply:
      not_pi; lra. }
  have := P16_nothing_left a w between varies; rewrite -is_lim_seq_spec =>
    /(_ (mkposreal _ positive)) [N small].
  exists N => n late a'; have := small n late; rewrite Rminus_0_r /= => near.
  apply: Rlt_le_trans (P16_once a' w).
  exact: Rle_lt_trans (Rle_abs _) near.
Qed.

(** Mutant: "n resamplings never leave more than one resampling by the composed shift", for every n.
    Refuted by the fastest wave, w = pi, and four steps by 1/8 of a pixel: they leave (3/4)^4, the
    one step by 1/2 leaves nothing. *)
Theorem P16_mutant_always_worse :
  ~ forall n a w, 0 < a -> INR n * a < 1 -> Cmod (gain a w) ^ n <= Cmod (gain (INR n * a) w).
Proof.
  move=> claimed.
  have := claimed 4%nat (/ 8) PI; rewrite /= => wrong.
  have none : Cmod (gain ((1 + 1 + 1 + 1) * / 8) PI) = 0.
  { apply: Rsqr_inj; [exact: Cmod_ge_0 | lra | rewrite !Rsqr_pow2 P16_gain cos_PI; lra]. }
  have some : Cmod (gain (/ 8) PI) = 3 / 4.
  { apply: Rsqr_inj; [exact: Cmod_ge_0 | lra | rewrite !Rsqr_pow2 P16_gain cos_PI; lra]. }
  move: wrong; rewrite none some; lra.
Qed.

(** Mutant: "the amplitude falls also where the shift is whole". Refuted by a = 0. *)
Theorem P16_mutant_whole : ~ forall a w, 0 <= a < 1 -> cos w <> 1 -> Cmod (gain a w) < 1.
Proof.
  move=> claimed; have := claimed 0 PI; rewrite P16_once_whole cos_PI => wrong; lra.
Qed.
