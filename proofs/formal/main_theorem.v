(** * The main theorem

    For a translation covariant, semi-local extractor that is not pointwise, no spatial-only warp,
    the same for all images, aligns the maps under a scaling.

    It comes in two forms. The first is about any class of images and asks that G filters space: no
    single place is all it reads. The second is about continuous images; there it is enough that G
    is not pointwise, if G is continuous in the sup norm. (That convolutions, ReLU and pooling are
    is well known, and not proved here.) That "not pointwise" is too little for images of any kind
    is shown at the end: the continuity of the images cannot be dropped. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting p03_covariance_pins_the_warp p11_depth_does_not_help
  continuous_images r2.

(** Main theorem, for any class of images. Let the class be closed under shifts, gluing and the
    scaling by s, |s| other than 0 and 1. Let G be translation covariant and semi-local, and filter
    space. Then no spatial-only warp, the same for all images, aligns G under s I. *)
Theorem main_theorem (V : NormedModule R_AbsRing) (K Y : Type) (X : class V K) (G : extractor V K Y)
    (R s : R) (nonzero : s <> 0%R) :
  closed_under_shifts X -> gluable X -> closed_under_map X (scaling s nonzero) -> Rabs s <> 1%R ->
  translation_covariant X G -> semi_local X G R -> filters_space X G ->
  ~ alignable X G (scaling s nonzero).
Proof.
  move=> shifts glue moves scales covariant local filters aligned; apply: (filters).
  apply: (P11_depth_does_not_help X G R s nonzero scales shifts moves covariant local glue) => //.
  (* a constant extractor reads nothing, hence does not filter space *)
  move=> same; apply: filters; exists zero => eps _ f g x Xf Xg _; exact: same.
Qed.

Section Continuous.
Context {V K Y : NormedModule R_AbsRing}.

(** G is continuous in the sup norm: images that are everywhere close have close features. *)
Definition sup_continuous (X : class V K) (G : extractor V K Y) :=
  forall f x eps, X f -> (0 < eps)%R -> exists delta, (0 < delta)%R /\
  forall g, X g -> (forall y, (distance (g y) (f y) <= delta)%R) ->
    (distance (G g x) (G f x) <= eps)%R.

Variable G : extractor V K Y.

(** On continuous images, a sup-continuous G that reads only arbitrarily small neighbourhoods of
    x - c is pointwise: it reads f (x - c). *)
Lemma reads_only_pointwise c :
  sup_continuous continuous_images G -> reads_only continuous_images G c ->
    pointwise continuous_images G.
Proof.
  move=> continuous_G only; exists c => f g x Xf Xg same.
  case: (same_or_apart (G f x) (G g x)) => // apart; exfalso.
  have [delta [positive close]] := continuous_G f x (distance (G f x) (G g x) / 2)%R Xf ltac:(lra).
  have [r [k [r_positive [Xk [agree near]]]]] := bent f g (x - c) delta Xf Xg same positive.
  have := close k Xk near.
  rewrite (only r r_positive k g x Xk Xg agree) (distance_sym (G g x)); lra.
Qed.

(** Main theorem, for continuous images. Let G be translation covariant, semi-local, continuous in
    the sup norm and not pointwise. Then no spatial-only warp, the same for all images, aligns G
    under s I, for any s with |s| other than 0 and 1. *)
Theorem main_theorem_continuous_images (R s : R) (nonzero : s <> 0%R) :
  Rabs s <> 1%R ->
  translation_covariant continuous_images G -> semi_local continuous_images G R ->
  sup_continuous continuous_images G -> ~ pointwise continuous_images G ->
  ~ alignable continuous_images G (scaling s nonzero).
Proof.
  move=> scales covariant local continuous_G wide.
  apply: (main_theorem V K Y continuous_images G R s nonzero) => //.
  - exact: continuous_images_shifts.
  - exact: continuous_images_gluable.
  - exact: continuous_images_scaling.
  - move=> [c only]; apply: wide; exact: reads_only_pointwise only.
Qed.

End Continuous.

(** The assumptions can be met. An edge detector, G f(x) = f(x) - f(x - e), is translation
    covariant, semi-local, continuous in the sup norm and not pointwise, for every e other than 0.
    *)
Definition edge_detector {V : NormedModule R_AbsRing} (e : V) : extractor V R R :=
  fun f x => (f x - f (x - e)%plane)%R.

Section Instance.
Context {V : NormedModule R_AbsRing}.
Variable e : V.
Hypothesis nonzero_e : e <> zero.
Let X : class V R_NormedModule := continuous_images.

Lemma edge_detector_covariant : translation_covariant X (edge_detector e).
Proof.
  move=> f d _; apply: functional_extensionality => x; rewrite /edge_detector /D.
  by have -> : x - e - d = x - d - e by abelian.
Qed.

Lemma edge_detector_local : semi_local X (edge_detector e) (norm e).
Proof.
  move=> f g x _ _ agree; rewrite /edge_detector (agree x) ?(agree (x - e)) //.
  - right; rewrite /distance -norm_opp; congr norm; abelian.
  - rewrite distance_self; exact: norm_ge_0.
Qed.

Lemma edge_detector_continuous : sup_continuous (Y := R_NormedModule) X (edge_detector e).
Proof.
  move=> f x eps _ positive; exists (eps / 2)%R; split; first lra.
  move=> g _ near; have here := near x; have there := near (x - e).
  move: here there; rewrite /edge_detector /distance /norm /= /abs /=; on_the_line.
  split_Rabs; lra.
Qed.

Lemma edge_detector_filters : ~ pointwise X (edge_detector e).
Proof.
  move=> [c only].
  have size : (0 < norm e)%R.
  { case: (same_or_apart e zero) => // apart; rewrite /distance in apart.
    by have <- : e - zero = e by abelian. }
  (* images that vanish at -c, with different features at 0 *)
  pose f (y : V) : R := distance y (zero - c).
  have Xf : X f by move=> y; exact: continuous_distance.
  have X0 : X (fun _ => 0%R) by move=> y; exact: continuous_const.
  have vanishes : f (zero - c) = 0%R by exact: distance_self.
  have same_f := only f (fun _ => 0%R) zero Xf X0 vanishes.
  (* f has the same value at 0 and at -e, and so has f times the distance to -e *)
  move: same_f; rewrite /edge_detector Rminus_eq_0 => same_f.
  move: (only (fun y => f y * distance y (zero - e))%R (fun _ => 0%R) zero) => same_k.
  have Xk : X (fun y => f y * distance y (zero - e))%R.
  { move=> y; apply: (continuous_mult f (fun y => distance y (zero - e)));
    [exact: Xf | exact: continuous_distance]. }
  move: (same_k Xk X0); rewrite vanishes Rmult_0_l /edge_detector => /(_ eq_refl).
  rewrite distance_self Rmult_0_r Rminus_eq_0 => no_0.
  (* f (0) = 0 and then f (-e) = 0, so that 0 = -c = -e *)
  have far : distance zero (zero - e) = norm e.
  { rewrite /distance; congr norm; abelian. }
  have f0 : f zero = 0%R.
  { move: no_0; rewrite far Rminus_0_r => /Rmult_integral [] //; lra. }
  have fe : f (zero - e) = 0%R by lra.
  have at_0 := distance_eq_0 _ _ f0; have at_e := distance_eq_0 _ _ fe.
  apply: nonzero_e; have -> : e = zero - (zero - e) by abelian.
  rewrite at_e -at_0; abelian.
Qed.

(** Hence the edge detector is not alignable under any scaling. *)
Theorem edge_detector_not_alignable (s : R) (nonzero : s <> 0%R) :
  Rabs s <> 1%R -> ~ alignable X (edge_detector e) (scaling s nonzero).
Proof.
  move=> scales; apply: (main_theorem_continuous_images (Y := R_NormedModule) _ (norm e)) => //.
  - exact: edge_detector_covariant.
  - exact: edge_detector_local.
  - exact: edge_detector_continuous.
  - exact: edge_detector_filters.
Qed.

End Instance.

(** The main theorem on the plane. A translation covariant, semi-local, sup-continuous extractor of
    continuous images on R^2 that is not pointwise is not alignable under the matrix s I, for any s
    with |s| other than 0 and 1. *)
Theorem main_theorem_R2 (K Y : NormedModule R_AbsRing) (G : extractor R2 K Y) (R s : R)
    (invertible : (s * s - 0 * 0)%R <> 0%R) :
  Rabs s <> 1%R ->
  translation_covariant continuous_images G -> semi_local continuous_images G R ->
  sup_continuous continuous_images G -> ~ pointwise continuous_images G ->
  ~ alignable continuous_images G (matrix s 0 0 s invertible).
Proof.
  move=> scales covariant local continuous_G wide [phi aligned].
  have nonzero : s <> 0%R by move=> vanishes; apply: (invertible); rewrite vanishes; ring.
  apply: (main_theorem_continuous_images G R s nonzero scales covariant local continuous_G wide).
  exists phi => f Xf; rewrite -(aligned f Xf).
  have -> // : T (scaling s nonzero) f = T (matrix s 0 0 s invertible) f.
  apply: functional_extensionality; case=> x1 x2.
  rewrite T_matrix /T /= /scal /= /prod_scal /scal /= /mult /=.
  by congr (f (_, _)); as_real; field.
Qed.

(** Mutant: "a translation covariant, semi-local extractor that is not pointwise is not alignable
    under a scaling", for all images and with no continuity asked. Refuted on the line by the
    extractor that shows the limit of f(x + 1), f(x + 1/2), f(x + 1/4), ... (the mean of lim sup and
    lim inf): it depends on f near x only, on no matter how small a neighbourhood, but not on f(x);
    and the warp 2 x aligns it. *)
Definition limit_from_the_right : extractor R_NormedModule R R :=
  fun f x => real (Lim_seq (fun n => f (x + (/ 2) ^ n)%R)).

Theorem main_theorem_mutant_not_pointwise :
  ~ forall (X : class R_NormedModule R) (G : extractor R_NormedModule R R)
    R s (nonzero : s <> 0%R),
  closed_under_shifts X -> gluable X -> closed_under_map X (scaling s nonzero) -> Rabs s <> 1%R ->
  translation_covariant X G -> semi_local X G R -> ~ pointwise X G ->
  ~ alignable X G (scaling s nonzero).
Proof.
  move=> claimed.
  have two : 2%R <> 0%R by lra.
  have scales : Rabs 2 <> 1%R by rewrite Rabs_pos_eq; lra.
  have covariant : translation_covariant all_images limit_from_the_right.
  { move=> f d _; apply: functional_extensionality => x; rewrite /limit_from_the_right; on_the_line.
    congr real; apply: Lim_seq_ext => n.
    by have -> : (x + (/ 2) ^ n + - d)%R = (x + - d + (/ 2) ^ n)%R by ring. }
  have local : semi_local all_images limit_from_the_right 1.
  { move=> f g x _ _ agree; rewrite /limit_from_the_right; congr real; apply: Lim_seq_ext => n.
    apply: agree; rewrite /distance /norm /= /abs /=; on_the_line.
    have -> : (x + (/ 2) ^ n + - x)%R = ((/ 2) ^ n)%R by ring.
    have := pow_lt (/ 2) n ltac:(lra) => positive.
    rewrite Rabs_pos_eq; [|lra].
    rewrite -(pow1 n); apply: pow_incr; lra. }
  have wide : ~ pointwise all_images limit_from_the_right.
  { move=> [c only]; case: (Req_dec c 0) => [c_0|away].
    - (* 1 at 0 only, against 1 everywhere *)
      have := only (fun y : R => if Req_EM_T y 0 then 1%R else 0%R) (fun _ => 1%R) 0%R I I.
      rewrite c_0 /limit_from_the_right; on_the_line; rewrite Lim_seq_const.
      rewrite (Lim_seq_ext _ (fun _ => 0%R)); last first.
      { move=> n; have := pow_lt (/ 2) n ltac:(lra); by_cases. }
      rewrite Lim_seq_const /=; by_cases; move=> /(_ eq_refl); lra.
    - (* y + c, which vanishes at -c, against 0 everywhere *)
      have := only (fun y : R => (y + c)%R) (fun _ => 0%R) 0%R I I.
      rewrite /limit_from_the_right; on_the_line; rewrite Lim_seq_const.
      have limit : is_lim_seq (fun n => (0 + (/ 2) ^ n + c)%R) (0 + 0 + c)%R.
      { apply: is_lim_seq_plus'; last exact: is_lim_seq_const.
        apply: is_lim_seq_plus'; first exact: is_lim_seq_const.
        apply: is_lim_seq_geom; rewrite Rabs_pos_eq; lra. }
      rewrite (is_lim_seq_unique _ _ limit) /= => wrong; apply: away.
      have : (0 + 0 + c)%R = 0%R by apply: wrong; ring.
      lra. }
  have wrong := claimed all_images limit_from_the_right 1%R 2%R two (fun _ _ _ => I)
    (all_images_gluable _ _) (fun _ _ => conj I I) scales covariant local wide.
  apply: wrong; exists (fun x => (2 * x)%R) => f _; apply: functional_extensionality => x.
  rewrite /limit_from_the_right; on_the_line; congr real;
    rewrite -(Lim_seq_incr_1 (fun n => f (x + (/ 2) ^ n)%R)).
  apply: Lim_seq_ext => n.
  by have -> : (/ 2 * (2 * x + (/ 2) ^ n))%R = (x + (/ 2) ^ S n)%R by rewrite /=; field.
Qed.
