(** * P10. Under magnification, the receptive field sees less of the original. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting.

Section P10.
Context {V : NormedModule R_AbsRing} {K Y : Type}.

(** Assumptions: the class of images is closed under the scaling by s; G is semi-local with radius
    R. Translation covariance is not used. *)
Variable X : class V K.
Variable G : extractor V K Y.
Variable R s : R.
Hypothesis nonzero : s <> 0%R.
Hypothesis moves : closed_under_map X (scaling s nonzero).
Hypothesis local : semi_local X G R.

(** P10, the window. The unit at s x in the maps of T_s f sees only the window of radius R / |s|
    about x of the original. *)
Theorem P10_window : forall f g x, X f -> X g -> agree_within f g x (R / Rabs s) ->
  G (T (scaling s nonzero) f) (s * x) = G (T (scaling s nonzero) g) (s * x).
Proof.
  move=> f g x Xf Xg agree; apply: local; try exact: (proj1 (moves _ _)).
  move=> y near; apply: agree => /=.
  have inside : distance (s * ((/ s)%R * y)) (s * x) = distance y (s * x).
  { by rewrite scaling_forth. }
  rewrite distance_scal in inside.
  have positive : (0 < Rabs s)%R by apply: Rabs_pos_lt.
  apply: (Rmult_le_reg_l (Rabs s)) => //; rewrite inside.
  have -> : (Rabs s * (R / Rabs s))%R = R by field; lra.
  exact: near.
Qed.

(** G is not semi-local with the smaller radius R / |s|: two images agree within R / |s| of some x
    and have different features there. If R is the exact (least) radius and |s| > 1, this is so. *)
Definition sees_beyond (r : Rdefinitions.R) :=
  exists f g x, X f /\ X g /\ agree_within f g x r /\ G f x <> G g x.

Hypothesis beyond : sees_beyond (R / Rabs s).

(** P10. There are images f_1, f_2 with G f_1(x) <> G f_2(x) and G T_s f_1(s x) = G T_s f_2(s x). *)
Theorem P10_receptive_field : exists f1 f2 x, X f1 /\ X f2 /\ G f1 x <> G f2 x /\
  G (T (scaling s nonzero) f1) (s * x) = G (T (scaling s nonzero) f2) (s * x).
Proof.
  have [f [g [x [Xf [Xg [agree differs]]]]]] := beyond.
  exists f, g, x; do 3 split => //; exact: P10_window.
Qed.

(** P10, the consequence. No map m of the channels, linear or not, even one chosen for each
    position, applied after the warp turns G T_s f(s x) into G f(x): information is missing, not
    only permuted. *)
Theorem P10_no_map_of_channels : ~ exists m : V -> Y -> Y, forall f x, X f ->
  m x (G (T (scaling s nonzero) f) (s * x)) = G f x.
Proof.
  move=> [m restores]; have [f [g [x [Xf [Xg [differs same]]]]]] := P10_receptive_field.
  by apply: differs; rewrite -(restores f x Xf) -(restores g x Xg) same.
Qed.

End P10.

(** A radius R exact in the sense of the paper, and |s| > 1, give the assumption above. *)
Lemma P10_exact_radius (V : NormedModule R_AbsRing) (K Y : Type) (X : class V K)
  (G : extractor V K Y) R s :
  (0 < R)%R -> (1 < Rabs s)%R ->
  (forall r, (r < R)%R -> sees_beyond X G r) -> sees_beyond X G (R / Rabs s).
Proof.
  move=> positive large exact_; apply: exact_.
  apply: (Rmult_lt_reg_r (Rabs s)); first lra.
  have -> : (R / Rabs s * Rabs s)%R = R by field; lra.
  rewrite -{1}(Rmult_1_r R); exact: Rmult_lt_compat_l.
Qed.

(** The radius need not be exact. Whenever G is semi-local but not with arbitrarily small radii,
    some radius serves: if G is semi-local with radius R and sees beyond R / |s|^n for some n, then
    it is semi-local with some radius R' and sees beyond R' / |s|, provided that one can tell. *)
Lemma P10_some_radius (V : NormedModule R_AbsRing) (K Y : Type) (X : class V K)
  (G : extractor V K Y) R s n :
  (1 < Rabs s)%R -> (forall r, semi_local X G r \/ sees_beyond X G r) ->
  semi_local X G R -> sees_beyond X G (R / Rabs s ^ n) ->
  exists R', semi_local X G R' /\ sees_beyond X G (R' / Rabs s).
Proof.
  move=> large tell; elim: n R => [|n IH] R local beyond.
  - exists R; split => //; have [f [g [x [Xf [Xg [agree differs]]]]]] := beyond.
    exfalso; apply: differs; apply: local => // y near; apply: agree.
    by rewrite /= Rdiv_1.
  - case: (tell (R / Rabs s)%R) => [smaller|]; last by exists R.
    apply: (IH _ smaller).
    have -> // : (R / Rabs s / Rabs s ^ n)%R = (R / Rabs s ^ S n)%R.
    rewrite /=; field; split; [apply: pow_nonzero|]; lra.
Qed.

(** The assumptions can be met: the difference of neighbours on the line, f(x) - f(x - 1), has
    radius 1, and at s = 2 there are two such images for it. *)
Theorem P10_instance : let G : extractor R_NormedModule R R := fun f x => (f x - f (x - 1))%R in
  semi_local all_images G 1 /\ sees_beyond all_images G (1 / Rabs 2).
Proof.
  split.
  - move=> f g x _ _ agree; rewrite (agree x) ?(agree (x - 1)%R) // /distance /norm /= /abs /=;
    on_the_line.
    + have -> : (x - 1 + - x)%R = (- (1))%R by ring.
      rewrite Rabs_Ropp Rabs_R1; lra.
    + have -> : (x + - x)%R = 0%R by ring.
      rewrite Rabs_R0; lra.
  - exists (fun _ => 0%R), (fun y => if Rle_dec y (- 1) then 1%R else 0%R), 0%R.
    split => //; split => //; split.
    + move=> y; rewrite /distance /norm /= /abs /=; on_the_line.
      rewrite (Rabs_pos_eq 2); last lra.
      have -> : (y + - 0)%R = y by ring.
      move=> near; case: Rle_dec => // low; exfalso; move: near; rewrite Rabs_left; lra.
    + by_cases.
Qed.

(** Mutant: "for |s| < 1 information is missing as well". Refuted on the line by the extractor that
    shows, at each x, the whole window of radius 1 about x: after T_s with s = 1/2 the unit at s x
    sees more than before, and a map of its features restores what it saw before. *)
Definition window : extractor R_NormedModule R (R -> R) :=
  fun f x v => if Rle_dec (Rabs v) 1 then f (x + v)%R else 0%R.

Theorem P10_mutant_reduction : ~ forall (X : class R_NormedModule R)
  (G : extractor R_NormedModule R (R -> R)) R s
    (nonzero : s <> 0%R), (Rabs s < 1)%R -> (0 < R)%R -> closed_under_map X (scaling s nonzero) ->
  semi_local X G R -> (forall r, (r < R)%R -> sees_beyond X G r) ->
  ~ exists m : R_NormedModule -> (Rdefinitions.R -> Rdefinitions.R) ->
    (Rdefinitions.R -> Rdefinitions.R), forall f x, X f ->
    m x (G (T (scaling s nonzero) f) (s * x)) = G f x.
Proof.
  move=> claimed.
  have half : (/ 2)%R <> 0%R by lra.
  have local : semi_local all_images window 1.
  { move=> f g x _ _ agree; apply: functional_extensionality => v; rewrite /window.
    case: Rle_dec => // near; apply: agree; rewrite /distance /norm /= /abs /=.
    by on_the_line; have -> : (x + v + - x)%R = v by ring. }
  have beyond : forall r, (r < 1)%R -> sees_beyond all_images window r.
  { move=> r small; exists (fun _ => 0%R), (fun y => if Req_EM_T y 1 then 1%R else 0%R), 0%R.
    do 3 (split => //).
    - move=> y; rewrite /distance /norm /= /abs /=; on_the_line.
      case: Req_EM_T => // -> near; exfalso; move: near.
      have -> : (1 + - 0)%R = 1%R by ring.
      rewrite Rabs_R1; lra.
    - move=> /(f_equal (fun F => F 1%R)); rewrite /window Rplus_0_l Rabs_R1; by_cases. }
  have small : (Rabs (/ 2) < 1)%R by rewrite Rabs_pos_eq; lra.
  have wrong := claimed all_images window 1%R (/ 2)%R half small Rlt_0_1 (fun _ _ => conj I I) local
    beyond.
  apply: wrong.
  exists (fun _ seen v => if Rle_dec (Rabs v) 1 then seen (/ 2 * v)%R else 0%R) => f x _.
  apply: functional_extensionality => v; rewrite /window; case: (Rle_dec (Rabs v) 1) => // near.
  rewrite /T; on_the_line; case: (Rle_dec (Rabs (/ 2 * v)) 1) => [_|far].
  - by have -> : (/ / 2 * (/ 2 * x + / 2 * v))%R = (x + v)%R by field.
  - exfalso; apply: far; rewrite Rabs_mult (Rabs_pos_eq (/ 2)); lra.
Qed.
