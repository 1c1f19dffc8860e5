(** * The class of continuous images

    Continuous functions from a normed real vector space to another (the plane, to the colours). Two
    such images can be glued, and one can be bent into another near a point where both agree. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting.

Section Images.
Context {V K : NormedModule R_AbsRing}.

(** The class of all continuous images. *)
Definition continuous_images : class V K := fun f => forall x : V, continuous f x.

Lemma continuous_images_shifts : closed_under_shifts continuous_images.
Proof.
  move=> f d continuous_f x.
  apply: (continuous_comp (fun y : V => y - d) f); last exact: continuous_f.
  apply: (continuous_minus (fun y : V => y) (fun _ => d));
    [exact: continuous_id | exact: continuous_const].
Qed.

Lemma continuous_images_map (h : GL V) :
  (forall x : V, continuous (forth h) x) -> (forall x : V, continuous (back h) x) ->
  closed_under_map continuous_images h.
Proof.
  move=> continuous_h continuous_back f continuous_f; split=> x.
  - by apply: (continuous_comp (back h) f).
  - by apply: (continuous_comp (forth h) f).
Qed.

Lemma continuous_images_scaling (s : R) (nonzero : s <> 0%R) :
  closed_under_map continuous_images (scaling s nonzero).
Proof.
  apply: continuous_images_map => x; apply: (continuous_scal_r _ (fun y : V => y)); exact:
    continuous_id.
Qed.

(** 0 up to 0, 1 from 1 on, and straight in between *)
Definition clamp (t : R) : R := ((Rabs t - Rabs (t - 1) + 1) / 2)%R.

Lemma clamp_low t : (t <= 0)%R -> clamp t = 0%R.
Proof. move=> low; rewrite /clamp !Rabs_left1; lra. Qed.

Lemma clamp_high t : (1 <= t)%R -> clamp t = 1%R.
Proof. move=> high; rewrite /clamp !Rabs_pos_eq; lra. Qed.

Lemma clamp_range t : (0 <= clamp t <= 1)%R.
Proof. rewrite /clamp; split_Rabs; lra. Qed.

Lemma continuous_Rabs' (t : R) : continuous Rabs t.
Proof. exact: (filterlim_norm (V := R_NormedModule)). Qed.

Lemma continuous_clamp (t : R) : continuous clamp t.
Proof.
  rewrite /clamp.
  apply: (continuous_mult (fun t : R => (Rabs t - Rabs (t - 1) + 1)%R) (fun _ => (/ 2)%R));
    last exact: continuous_const.
  apply: (continuous_plus (fun t : R => (Rabs t - Rabs (t - 1))%R) (fun _ => 1%R)); last exact:
    continuous_const.
  apply: (continuous_minus Rabs (fun t : R => Rabs (t - 1))); first exact: continuous_Rabs'.
  apply: (continuous_comp (fun t : R => (t - 1)%R) Rabs); last exact: continuous_Rabs'.
  apply: (continuous_minus (fun t : R => t) (fun _ => 1%R));
    [exact: continuous_id | exact: continuous_const].
Qed.

(** 1 within a of x, 0 from b on *)
Definition bump (x : V) (a b : R) (y : V) : R := clamp ((b - distance y x) / (b - a)).

Lemma bump_inside x a b y : (a < b)%R -> (distance y x <= a)%R -> bump x a b y = 1%R.
Proof.
  move=> order near; apply: clamp_high; apply: (Rmult_le_reg_r (b - a)); first lra.
  have -> : ((b - distance y x) / (b - a) * (b - a))%R = (b - distance y x)%R by field; lra.
  lra.
Qed.

Lemma bump_outside x a b y : (a < b)%R -> (b <= distance y x)%R -> bump x a b y = 0%R.
Proof.
  move=> order far; apply: clamp_low; apply: (Rmult_le_reg_r (b - a)); first lra.
  have -> : ((b - distance y x) / (b - a) * (b - a))%R = (b - distance y x)%R by field; lra.
  lra.
Qed.

Lemma continuous_distance (x y : V) : continuous (fun y => distance y x) y.
Proof.
  apply: (continuous_comp (fun y : V => y - x) norm); last exact: filterlim_norm.
  apply: (continuous_minus (fun y : V => y) (fun _ => x));
    [exact: continuous_id | exact: continuous_const].
Qed.

Lemma continuous_bump x a b (y : V) : continuous (bump x a b) y.
Proof.
  apply: (continuous_comp (fun y => ((b - distance y x) / (b - a))%R) clamp); last exact:
    continuous_clamp.
  apply: (continuous_mult (fun y => (b - distance y x)%R) (fun _ => (/ (b - a))%R)); last exact:
    continuous_const.
  apply: (continuous_minus (fun _ => b) (fun y => distance y x)); first exact: continuous_const.
  exact: continuous_distance.
Qed.

(** f, and g where the bump is 1 *)
Definition blend (f g : V -> K) (x : V) (a b : R) : V -> K :=
  fun y => f y + bump x a b y * (g y - f y).

Lemma continuous_blend f g x a b : continuous_images f -> continuous_images g ->
  continuous_images (blend f g x a b).
Proof.
  move=> continuous_f continuous_g y.
  apply: (continuous_plus f (fun y => bump x a b y * (g y - f y))); first exact: continuous_f.
  apply: (continuous_scal (bump x a b) (fun y => g y - f y)); first exact: continuous_bump.
  apply: (continuous_minus g f); [exact: continuous_g | exact: continuous_f].
Qed.

Lemma blend_inside f g x a b y : (a < b)%R -> (distance y x <= a)%R -> blend f g x a b y = g y.
Proof.
  move=> order near; rewrite /blend bump_inside // (scal_one (g y - f y) : 1%R * (g y - f y) = _);
    abelian.
Qed.

Lemma blend_outside f g x a b y : (a < b)%R -> (b <= distance y x)%R -> blend f g x a b y = f y.
Proof.
  move=> order far; rewrite /blend bump_outside // scal_zero_l; exact: plus_zero_r.
Qed.

Lemma continuous_images_gluable : gluable continuous_images.
Proof.
  move=> f g x y r continuous_f continuous_g apart.
  exists (blend f g y r (distance x y - r)%R); split; first exact: continuous_blend.
  split=> z near.
  - apply: blend_outside; first lra.
    have := distance_triangle z x y; rewrite (distance_sym x z); lra.
  - apply: blend_inside => //; lra.
Qed.

(** Near a point p where f and g have the same value, f can be bent into g, as little as one likes.
    *)
Lemma bent f g p delta : continuous_images f -> continuous_images g -> f p = g p -> (0 < delta)%R ->
  exists r k, (0 < r)%R /\ continuous_images k /\ agree_within k g p r /\
    forall y, (distance (k y) (f y) <= delta)%R.
Proof.
  move=> continuous_f continuous_g same positive.
  have close : locally p (fun y => (distance (g y) (f y) < delta)%R).
  { have gap : continuous (fun y => distance (g y) (f y)) p.
    { apply: (continuous_comp (fun y => g y - f y) norm); last exact: filterlim_norm.
      apply: (continuous_minus g f); [exact: continuous_g | exact: continuous_f]. }
    have := gap (fun t => (t < delta)%R); apply.
    rewrite same distance_self.
    exists (mkposreal _ positive) => t; rewrite /ball /= /AbsRing_ball /= /abs /minus /plus /opp /=.
    move/Rabs_def2; lra. }
  have [r' within] : locally_norm p (fun y => (distance (g y) (f y) < delta)%R) by exact:
    locally_norm_le_locally.
  exists (r' / 3)%R, (blend f g p (r' / 3) (r' / 2)).
  have := cond_pos r' => r'_positive.
  split; first lra.
  split; first exact: continuous_blend.
  split=> [y near|y]; first by apply: blend_inside => //; lra.
  case: (Rle_lt_dec (r' / 2) (distance y p)) => [far|near].
  { rewrite blend_outside //; [rewrite distance_self; lra | lra]. }
  have near_delta : (distance (g y) (f y) < delta)%R.
  { apply: within; rewrite /ball_norm; change (distance y p < r')%R; lra. }
  rewrite /distance /blend.
  have -> : f y + bump p (r' / 3) (r' / 2) y * (g y - f y) - f y =
    bump p (r' / 3) (r' / 2) y * (g y - f y) by abelian.
  rewrite norm_scal_R.
  have [low high] := clamp_range ((r' / 2 - distance y p) / (r' / 2 - r' / 3)).
  rewrite Rabs_pos_eq //; change (bump p (r' / 3) (r' / 2) y * distance (g y) (f y) <= delta)%R.
  have bound : (bump p (r' / 3) (r' / 2) y * distance (g y) (f y) <= 1 * distance (g y) (f y))%R.
  { apply: Rmult_le_compat_r => //; exact: distance_ge_0. }
  lra.
Qed.

End Images.
Arguments continuous_images {V K}.
