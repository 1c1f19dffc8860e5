(** * P12. Pooling over the orbit buys alignment and pays with relative orientation. *)

From Coq Require Import ZArith Lia Reals Lra List Permutation FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting p08_channel_shift.

Section P12.
Context {V : AbelianGroup} {K W : Type} {C : Type}.

(** Assumptions: the bank is closed under the group, as in P8. *)
Variable filter : C -> (V -> K) -> W.
Variable group : GL V -> Prop.
Variable shift : GL V -> C -> C.
Hypothesis inverses : forall g, group g -> group g^-1.
Hypothesis closed : forall g c F, group g -> filter (shift g c) F = filter c (fun y => F (g y)).
Variable nonlinearity : W -> R.

(** The channels of an orbit, which the group permutes. *)
Variable orbit : list C.
Hypothesis permuted : forall g, group g -> Permutation (map (shift g) orbit) orbit.

Let G := layer C filter nonlinearity.

(** The maximum and the mean over the orbit. *)
Definition maximum (l : list R) : R := match l with nil => 0%R | v :: l => fold_right Rmax v l end.
Definition mean (l : list R) : R := (fold_right Rplus 0 l / INR (length l))%R.

(** Pooling over the orbit, by any function of a list of numbers that does not depend on their
    order. *)
Definition pooled (pool : list R -> R) : extractor V K R := fun f x => pool (map (G f x) orbit).
Definition order_free (pool : list R -> R) := forall l k, Permutation l k -> pool l = pool k.

(** P12. The maximum (or mean, or anything else that is blind to the order) over the orbit satisfies
    (M T_h f)(h x) = (M f)(x) for every h of the group: a warp alone aligns it. *)
Theorem P12_pooling_over_the_orbit : forall pool, order_free pool ->
  forall h f x, group h -> pooled pool (T h f) (h x) = pooled pool f x.
Proof.
  move=> pool free h f x member; rewrite /pooled.
  have -> : map (G (T h f) (h x)) orbit = map (G f x) (map (shift h^-1) orbit).
  { rewrite map_map; apply: map_ext => c; exact: (P8_channel_shift C filter group shift). }
  apply: free; apply: Permutation_map; apply: permuted; exact: inverses.
Qed.

(** In the words of the setting: the warp h aligns the pooled maps, for all images. *)
Corollary P12_aligned (X : class V K) : forall pool, order_free pool -> forall h, group h ->
  aligns X (pooled pool) h (forth h).
Proof.
  move=> pool free h member f _; apply: functional_extensionality => x.
  exact: P12_pooling_over_the_orbit.
Qed.

End P12.

Lemma fold_max_ge v l : (v <= fold_right Rmax v l)%R.
Proof. elim: l => /= [|w l IH]; [lra | exact: Rle_trans IH (Rmax_r _ _)]. Qed.

Lemma fold_max_in v l w : In w l -> (w <= fold_right Rmax v l)%R.
Proof.
  elim: l => //= u l IH [->|inside]; [exact: Rmax_l | exact: Rle_trans (IH inside) (Rmax_r _ _)].
Qed.

Lemma fold_max_attained v l : fold_right Rmax v l = v \/ In (fold_right Rmax v l) l.
Proof.
  elim: l => /= [|w l [->|inside]]; first by left.
  - case: (Rle_dec w v) => order; [left; rewrite Rmax_right; lra | right; left; rewrite Rmax_left;
    lra].
  - case: (Rle_dec w (fold_right Rmax v l)) => order;
      [rewrite Rmax_right; [by right; right | lra] | right; left; rewrite Rmax_left; lra].
Qed.

(** The maximum and the mean are blind to the order. *)
Lemma maximum_order_free : order_free maximum.
Proof.
  have below l k : Permutation l k -> (maximum l <= maximum k)%R.
  { move=> same; case: l same => [|v l] same.
    { rewrite (Permutation_nil same) /=; lra. }
    case: k same => [|w k] same; first by move: (Permutation_sym same) => /Permutation_nil.
    have attained : In (maximum (v :: l)) (v :: l).
    { case: (fold_max_attained v l) => /= [->|inside]; [by left | by right]. }
    have := Permutation_in _ same attained => [[<-|inside]];
      [exact: fold_max_ge | exact: fold_max_in]. }
  by move=> l k same; apply: Rle_antisym; apply: below => //; apply: Permutation_sym.
Qed.

Lemma mean_order_free : order_free mean.
Proof.
  move=> l k same; rewrite /mean (Permutation_length same); congr (_ / _)%R.
  elim: same => //= [x l' k' _ ->|x y l'|l1 l2 l3 _ -> _ ->] //; ring.
Qed.

(** ** The price *)

Section Price.
Context {V : NormedModule R_AbsRing} {K : AbelianGroup} {Y : Type}.

(** Assumptions: M is translation covariant, semi-local with radius R, and aligned by h alone, as
    pooled maps are; h keeps distances. *)
Variable M : extractor V K Y.
Variable R : R.
Variable h : GL V.
Hypothesis covariant : translation_covariant all_images M.
Hypothesis local : semi_local all_images M R.
Hypothesis aligned : forall f x, M (T h f) (h x) = M f x.
Hypothesis isometry : forall x, norm (h x) = norm x.
Hypothesis isometry_back : forall x, norm (back h x) = norm x.

(** q turned by h about the point z. *)
Definition turned_about (z : V) (q : V -> K) : V -> K := D z (T h (D (- z) q)).

Definition combined (p q : V -> K) : V -> K := fun x => p x + q x.

(** Where each feature vector goes: near z it is turned about z with the part, elsewhere it stays.
    *)
Definition rearrangement (z : V) (rho : Rdefinitions.R) (x : V) : V :=
  if Rle_dec (distance x z) (rho + R) then z + h (x - z) else x.

Definition rearrangement_back (z : V) (rho : Rdefinitions.R) (x : V) : V :=
  if Rle_dec (distance x z) (rho + R) then z + back h (x - z) else x.

Lemma rearranged z rho x : rearrangement_back z rho (rearrangement z rho x) = x.
Proof.
  rewrite /rearrangement_back /rearrangement; case: (Rle_dec (distance x z)) => near; last by case:
    Rle_dec.
  have -> : distance (z + h (x - z)) z = distance x z.
  { rewrite {2}/distance -isometry /distance; congr norm; abelian. }
  case: Rle_dec => // _; have -> : z + h (x - z) - z = h (x - z) by abelian.
  rewrite back_forth; abelian.
Qed.

Lemma rearranged_back z rho x : rearrangement z rho (rearrangement_back z rho x) = x.
Proof.
  rewrite /rearrangement_back /rearrangement; case: (Rle_dec (distance x z)) => near; last by case:
    Rle_dec.
  have -> : distance (z + back h (x - z)) z = distance x z.
  { rewrite {2}/distance -isometry_back /distance; congr norm; abelian. }
  case: Rle_dec => // _; have -> : z + back h (x - z) - z = back h (x - z) by abelian.
  rewrite forth_back; abelian.
Qed.

(** P12, the price. Let the image consist of a part q within rho of z and of the rest p, farther
    from z than rho + 2 R: farther apart than the receptive field reaches. Turn q alone about z. The
    two images have the same collection of pooled feature vectors: the rearrangement, which is one
    to one and onto and keeps z where it is, takes the map of the one to the map of the other. *)
Theorem P12_price : forall p q z rho, (0 <= R)%R -> (0 <= rho)%R ->
  (forall x, (distance x z <= rho + 2 * R)%R -> p x = zero) ->
  (forall x, (rho < distance x z)%R -> q x = zero) ->
  (forall x, M (combined p (turned_about z q)) (rearrangement z rho x) = M (combined p q) x) /\
  rearrangement z rho z = z /\
  (forall x, rearrangement_back z rho (rearrangement z rho x) = x) /\
  (forall x, rearrangement z rho (rearrangement_back z rho x) = x).
Proof.
  move=> p q z rho R_positive rho_positive rest part.
  have turning : forall x, turned_about z q x = q (z + back h (x - z)).
  { move=> x; rewrite /turned_about /D /T /=; congr q; abelian. }
  have kept : forall x, distance (z + back h (x - z)) z = distance x z.
  { move=> x; rewrite {2}/distance -isometry_back /distance; congr norm; abelian. }
  split; last first.
  { split; last by split; [exact: rearranged | exact: rearranged_back].
    rewrite /rearrangement minus_eq_zero map_zero plus_zero_r; by case: Rle_dec. }
  move=> x; rewrite /rearrangement; case: Rle_dec => [near|far].
  - (* the unit sees q or nothing; around q the image is the turned one *)
    have moved : M (turned_about z (combined p q)) (z + h (x - z)) = M (combined p q) x.
    { rewrite /turned_about covariant // /D.
      have -> : z + h (x - z) - z = h (x - z) by abelian.
      rewrite aligned covariant // /D; congr (M _ _); abelian. }
    rewrite -moved; apply: local => // y within.
    have inside : (distance y z <= rho + 2 * R)%R.
    { have := distance_triangle (z + h (x - z)) y z.
      have -> : distance (z + h (x - z)) z = distance x z.
      { rewrite {2}/distance -isometry /distance; congr norm; abelian. }
      lra. }
    rewrite /combined turning rest //.
    have -> : turned_about z (combined p q) y = p (z + back h (y - z)) + q (z + back h (y - z)).
    { rewrite /turned_about /D /T /= /combined; congr plus; congr (_ _); abelian. }
    by rewrite (rest (z + back h (y - z))) // kept.
  - (* the unit sees p or nothing *)
    apply: local => // y within; rewrite /combined turning.
    have outside : (rho < distance y z)%R.
    { have := distance_triangle y x z; rewrite (distance_sym x y); lra. }
    by rewrite !part // kept.
Qed.

End Price.

(** ** The assumptions can be met: the four differences of P8 *)

Definition all_directions := East :: North :: West :: South :: nil.

Lemma turns_permute g : turns g -> Permutation (map (turned g) all_directions) all_directions.
Proof.
  move=> [n [small [same _]]].
  have -> : map (turned g) all_directions = map (turned (power quarter n)) all_directions.
  { by apply: map_ext => c; rewrite /turned same. }
  apply: NoDup_Permutation_bis => //.
  - case: n small {same} => [|[|[|[|n]]]] small; try lia; repeat constructor; cbn;
    intuition discriminate.
  - move=> c _; by case: c; cbn; tauto.
Qed.

(** The largest of the four differences is aligned by the quarter turn alone. *)
Theorem P12_instance :
  aligns all_images (pooled difference (fun v => v) all_directions maximum) quarter (forth quarter).
Proof.
  apply: (P12_aligned difference turns turned turn_inverses turn_closed _ _ turns_permute).
  - exact: maximum_order_free.
  - exact: quarter_turns.
Qed.

(** For the price: on the line, the larger of the differences to both neighbours, and the
    reflection. *)
Definition larger_difference : extractor R_NormedModule R R := fun f x =>
  Rmax (f (x + 1) - f x) (f (x - 1) - f x).

Theorem P12_price_instance : exists nonzero : (- 1)%R <> 0%R,
  let h : GL R_NormedModule := scaling (- 1) nonzero in
  translation_covariant all_images larger_difference /\ semi_local all_images larger_difference 1 /\
  (forall f x, larger_difference (T h f) (h x) = larger_difference f x) /\
  (forall x, norm (h x) = norm x) /\ (forall x, norm (back h x) = norm x).
Proof.
  have nonzero : (- 1)%R <> 0%R by lra.
  have one : Rabs (- 1) = 1%R by rewrite Rabs_Ropp Rabs_R1.
  exists nonzero; split; [|split; [|split; [|split]]].
  - move=> f d _; apply: functional_extensionality => x; rewrite /larger_difference; on_the_line.
    have -> : (x + 1 + - d)%R = (x + - d + 1)%R by ring.
    by have -> : (x - 1 + - d)%R = (x + - d - 1)%R by ring.
  - have near : forall x d : R, Rabs d = 1%R \/ d = 0%R ->
    (distance (V := R_NormedModule) (x + d)%R x <= 1)%R.
    { move=> x d; rewrite /distance /norm /= /abs /=; on_the_line.
      have -> : (x + d + - x)%R = d by ring.
      case=> ->; rewrite ?Rabs_R0; lra. }
    move=> f g x _ _ agree; rewrite /larger_difference (agree (x + 1)%R); last by apply: near; left;
      exact: Rabs_R1.
    rewrite (agree (x - 1)%R); last by apply: near; left.
    rewrite (agree x) //; have := near x 0%R (or_intror eq_refl).
    by rewrite Rplus_0_r.
  - move=> f x; rewrite /larger_difference Rmax_comm /T; on_the_line.
    have -> : (/ - (1) * (- (1) * x + 1))%R = (x - 1)%R by field.
    have -> : (/ - (1) * (- (1) * x - 1))%R = (x + 1)%R by field.
    by have -> : (/ - (1) * (- (1) * x))%R = x by field.
  - by move=> x; rewrite /= norm_scal_R one Rmult_1_l.
  - move=> x; rewrite /= norm_scal_R Rabs_inv one Rinv_1; exact: Rmult_1_l.
Qed.

(** Mutant: "half of the orbit is enough". Refuted by East and North alone, and one white pixel. *)
Theorem P12_mutant_half_orbit :
  ~ aligns all_images (pooled difference (fun v => v) (East :: North :: nil) maximum) quarter
    (forth quarter).
Proof.
  move=> claimed.
  have := f_equal (fun F => F zero) (claimed (fun x => match x with (0, -1) => 1%R | _ => 0%R end%Z)
    I).
  rewrite /warp /pooled /layer /difference /T /=; on_the_line; cbn.
  rewrite /Rmax; by_cases.
Qed.
