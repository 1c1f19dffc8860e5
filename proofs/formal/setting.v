(** * The setting

    Images and feature maps on an abstract plane, as in Finnveden, Jansson and Lindeberg (ICPR 2020)
    and in Jansson, Maydanskiy, Finnveden and Lindeberg (arXiv 2004.14716).

    Where a claim is pure algebra the plane is any abelian group: R^2, the lattice Z^2, a torus.
    Where distances matter it is any normed real vector space. The file [r2] spells the Euclidean
    plane R^2 out, with its matrices.

    Every statement speaks of a class X of images: all functions, or only the continuous ones, or
    any other. What X must be closed under is said where it is needed.

    How to read these files without knowing Coq. Over each statement stands a comment that says it
    in words; between [Proof] and [Qed] Coq is told why, and this may be skipped, since Coq has
    checked it. [Variable x : V] lets x be any point of V, [Hypothesis] names an assumption; both
    hold up to the [End] of their section. [f x] is f(x), [G f x] is (G f)(x). [A -> B] between
    statements is "if A then B", so that [A -> B -> C] asks for A and B; between types, as in
    [V -> R], it is a function. [~ A] is "not A", [A /\ B] "A and B", [<->] "if and only if", [<>]
    "not equal", [forall] and [exists] as usual. [(...)%R], [%Z],
      [%plane] only say whose + and * are
    meant: those of numbers, of whole numbers, of points. [real (...)] takes the number out of a
    limit that might be infinite, with 0 in that case. A theorem called "mutant" is the statement
    with one condition dropped or turned round, and the proof that it is then false. *)

From Coq Require Import ZArith Reals Lra List FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.

Declare Scope plane_scope.
Delimit Scope plane_scope with plane.
Notation "x + y" := (plus x y) : plane_scope.
Notation "x - y" := (minus x y) : plane_scope.
Notation "- x" := (opp x) : plane_scope.
Notation "s * x" := (scal s x) : plane_scope.
Open Scope plane_scope.
Close Scope boolean_if_scope.
Open Scope general_if_scope.

(** ** Equations between sums, decided by a tactic

    [abelian] proves equations that hold in every abelian group. No part of the theory. *)

Section Decision.
Context {V : AbelianGroup}.

Inductive expression :=
  | Nothing | Atom (n : nat) | Sum (a b : expression) | Negated (a : expression).

Fixpoint value (env : list V) (e : expression) : V :=
  match e with
  | Nothing => zero
  | Atom n => nth n env zero
  | Sum a b => value env a + value env b
  | Negated a => - value env a
  end.

Fixpoint terms (positive : bool) (e : expression) : list nat :=
  match e with
  | Nothing => nil
  | Atom n => if positive then n :: nil else nil
  | Sum a b => terms positive a ++ terms positive b
  | Negated a => terms (negb positive) a
  end.

Fixpoint total (env : list V) (l : list nat) : V :=
  match l with nil => zero | n :: l => nth n env zero + total env l end.

Fixpoint insert (n : nat) (l : list nat) : list nat :=
  match l with
  | nil => n :: nil
  | m :: k => if Nat.leb n m then n :: l else m :: insert n k
  end.

Fixpoint sorted (l : list nat) : list nat :=
  match l with nil => nil | n :: l => insert n (sorted l) end.

Lemma swapped (a b c : V) : a + (b + c) = b + (a + c).
Proof. by rewrite !plus_assoc (plus_comm a b). Qed.

Lemma total_insert env n l : total env (insert n l) = nth n env zero + total env l.
Proof.
  elim: l => //= m l IH; case: Nat.leb => //=; rewrite IH; exact: swapped.
Qed.

Lemma total_sorted env l : total env (sorted l) = total env l.
Proof. by elim: l => //= n l IH; rewrite total_insert IH. Qed.

Lemma total_app env l k : total env (l ++ k) = total env l + total env k.
Proof. elim: l => /= [|n l IH]; [by rewrite plus_zero_l | by rewrite IH plus_assoc]. Qed.

Lemma opp_total (a b : V) : - (a + b) = - a + - b.
Proof. exact: opp_plus. Qed.

Lemma value_terms env e :
  value env e + total env (terms false e) = total env (terms true e).
Proof.
  have both : value env e + total env (terms false e) = total env (terms true e) /\
    (- value env e) + total env (terms true e) = total env (terms false e).
  { elim: e => /= [|n|a [IHa IHa'] b [IHb IHb']|a [IHa IHa']].
    - by rewrite opp_zero !plus_zero_l.
    - by rewrite !plus_zero_r plus_opp_l.
    - rewrite !total_app -IHa -IHb; split.
      + by rewrite -!plus_assoc (swapped (value env b)).
      + rewrite opp_total; rewrite -{2}IHa' -{2}IHb' -IHa -IHb -!plus_assoc.
        congr (_ + _); by rewrite (swapped (- value env b)) (swapped (- value env b)).
    - by rewrite opp_opp. }
  exact: (proj1 both).
Qed.

Lemma decided env a b :
  sorted (terms true a ++ terms false b) = sorted (terms true b ++ terms false a) ->
  value env a = value env b.
Proof.
  move=> same.
  have : total env (terms true a) + total env (terms false b) =
         total env (terms true b) + total env (terms false a).
  { by rewrite -!total_app -(total_sorted env (terms true a ++ _)) same total_sorted. }
  rewrite -!value_terms => cancel.
  apply: (plus_reg_r (total env (terms false a) + total env (terms false b))).
  by rewrite plus_assoc cancel -!plus_assoc (plus_comm (total env (terms false b))).
Qed.

End Decision.

Ltac position x env :=
  lazymatch env with
  | x :: _ => constr:(O)
  | _ :: ?rest => let n := position x rest in constr:(S n)
  end.

Ltac known x env :=
  lazymatch env with
  | nil => constr:(false)
  | x :: _ => constr:(true)
  | _ :: ?rest => known x rest
  end.

Ltac atoms x env :=
  lazymatch x with
  | plus ?a ?b => let env := atoms a env in atoms b env
  | minus ?a ?b => let env := atoms a env in atoms b env
  | opp ?a => atoms a env
  | zero => env
  | _ => lazymatch known x env with true => env | false => constr:(x :: env) end
  end.

Ltac reified x env :=
  lazymatch x with
  | plus ?a ?b => let p := reified a env in let q := reified b env in constr:(Sum p q)
  | minus ?a ?b => let p := reified a env in let q := reified b env in constr:(Sum p (Negated q))
  | opp ?a => let p := reified a env in constr:(Negated p)
  | zero => constr:(Nothing)
  | _ => let n := position x env in constr:(Atom n)
  end.

Ltac abelian :=
  lazymatch goal with
  | |- @eq ?T ?x ?y =>
      let env := atoms x (@nil T) in
      let env := atoms y env in
      let a := reified x env in
      let b := reified y env in
      exact (decided env a b eq_refl)
  end.

(** ** Transformations of the plane *)

(** An invertible linear map h, with its inverse. Of linearity only h (x + y) = h x + h y is used,
    so symmetries of a lattice are covered as well. *)
Record GL (V : AbelianGroup) := {
  forth :> V -> V;
  back : V -> V;
  additive : forall x y, forth (x + y) = forth x + forth y;
  back_forth : forall x, back (forth x) = x;
  forth_back : forall x, forth (back x) = x;
}.
Arguments forth {V}. Arguments back {V}. Arguments additive {V}.
Arguments back_forth {V}. Arguments forth_back {V}.

Section Maps.
Context {V : AbelianGroup}.

Lemma back_additive (h : GL V) x y : back h (x + y) = back h x + back h y.
Proof. by rewrite -{1}(forth_back h x) -{1}(forth_back h y) -additive back_forth. Qed.

(** h^-1 *)
Definition inverse (h : GL V) : GL V :=
  {| forth := back h; back := forth h; additive := back_additive h;
     back_forth := forth_back h; forth_back := back_forth h |}.

Lemma product_additive (k h : GL V) x y : k (h (x + y)) = k (h x) + k (h y).
Proof. by rewrite !additive. Qed.

Lemma product_back_forth (k h : GL V) x : back h (back k (k (h x))) = x.
Proof. by rewrite !back_forth. Qed.

Lemma product_forth_back (k h : GL V) x : k (h (back h (back k x))) = x.
Proof. by rewrite !forth_back. Qed.

(** k h: first h, then k *)
Definition product (k h : GL V) : GL V :=
  {| forth := fun x => k (h x); back := fun x => back h (back k x);
     additive := product_additive k h; back_forth := product_back_forth k h;
     forth_back := product_forth_back k h |}.

(** I *)
Definition identity : GL V :=
  {| forth := fun x => x; back := fun x => x; additive := fun x y => eq_refl;
     back_forth := fun x => eq_refl; forth_back := fun x => eq_refl |}.

Lemma map_zero (h : GL V) : h zero = zero.
Proof.
  apply: (plus_reg_l (h zero)); by rewrite -additive !plus_zero_r.
Qed.

Lemma map_opp (h : GL V) x : h (- x) = - h x.
Proof.
  apply: (plus_reg_l (h x)); by rewrite -additive !plus_opp_r map_zero.
Qed.

Lemma map_minus (h : GL V) x y : h (x - y) = h x - h y.
Proof. by rewrite /minus additive map_opp. Qed.

Lemma back_minus (h : GL V) x y : back h (x - y) = back h x - back h y.
Proof. exact: (map_minus (inverse h)). Qed.

(** h^n *)
Fixpoint power (h : GL V) (n : nat) : GL V :=
  match n with O => identity | S n => product h (power h n) end.

End Maps.

Notation "h ^-1" := (inverse h) (at level 3, left associativity, format "h ^-1") : plane_scope.

(** ** What is done to images and to feature maps *)

Section Operators.
Context {V : AbelianGroup} {A : Type}.

(** (T_h f)(x) = f (h^-1 x) *)
Definition T (h : GL V) (f : V -> A) : V -> A := fun x => f (h^-1 x).

(** (D_d f)(x) = f (x - d) *)
Definition D (d : V) (f : V -> A) : V -> A := fun x => f (x - d).

(** A spatial-only warp moves feature vectors and changes none of them: (W F)(x) = F (phi x), one
    phi for all channels. *)
Definition warp (phi : V -> V) (F : V -> A) : V -> A := fun x => F (phi x).

Lemma T_product k h (f : V -> A) : T k (T h f) = T (product k h) f.
Proof. by []. Qed.

Lemma T_identity (f : V -> A) : T identity f = f.
Proof. by []. Qed.

Lemma T_inverse_T h (f : V -> A) : T h^-1 (T h f) = f.
Proof. by apply: functional_extensionality => x; rewrite /T /= back_forth. Qed.

Lemma T_T_inverse h (f : V -> A) : T h (T h^-1 f) = f.
Proof. by apply: functional_extensionality => x; rewrite /T /= forth_back. Qed.

(** T_h D_d = D_(h d) T_h *)
Lemma T_D h d (f : V -> A) : T h (D d f) = D (h d) (T h f).
Proof. by apply: functional_extensionality => x; rewrite /T /D /= back_minus back_forth. Qed.

Lemma D_D a b (f : V -> A) : D a (D b f) = D (a + b) f.
Proof.
  apply: functional_extensionality => x; rewrite /D; congr (f _); abelian.
Qed.

Lemma D_opp_D d (f : V -> A) : D (- d) (D d f) = f.
Proof. apply: functional_extensionality => x; rewrite /D; congr (f _); abelian. Qed.

Lemma D_zero (f : V -> A) : D zero f = f.
Proof. apply: functional_extensionality => x; rewrite /D; congr (f _); abelian. Qed.

End Operators.

(** ** Feature extractors

    An extractor takes an image, with values in K at every point (its colours), to feature maps,
    with values in Y at every point (the vector of all channels). *)
Definition extractor (V : AbelianGroup) (K Y : Type) := (V -> K) -> (V -> Y).

(** A class of images: those for which X f holds. *)
Definition class (V : AbelianGroup) (K : Type) := (V -> K) -> Prop.

(** All images. *)
Definition all_images {V : AbelianGroup} {K : Type} : class V K := fun _ => True.

Section Extractors.
Context {V : AbelianGroup} {K Y : Type}.
Variable X : class V K.

(** The class contains every shifted image of its own. *)
Definition closed_under_shifts := forall f d, X f -> X (D d f).

(** The class contains what h and h^-1 make of its images. *)
Definition closed_under_map (h : GL V) := forall f, X f -> X (T h f) /\ X (T h^-1 f).

(** G D_d = D_d G *)
Definition translation_covariant (G : extractor V K Y) :=
  forall f d, X f -> G (D d f) = D d (G f).

(** Two positions with the same features in every image are one position. *)
Definition separates_points (G : extractor V K Y) :=
  forall p q, (forall f, X f -> G f p = G f q) -> p = q.

(** The features are the same for all images. *)
Definition constant (G : extractor V K Y) :=
  forall f g x, X f -> X g -> G f x = G g x.

(** phi, the same for all images, aligns G under h: W G T_h f = G f. *)
Definition aligns (G : extractor V K Y) (h : GL V) (phi : V -> V) :=
  forall f, X f -> warp phi (G (T h f)) = G f.

(** Some spatial-only warp, the same for all images, aligns G under h. *)
Definition alignable (G : extractor V K Y) (h : GL V) := exists phi, aligns G h phi.

(** For every image some spatial-only warp, chosen for it, aligns G under h. *)
Definition alignable_image_by_image (G : extractor V K Y) (h : GL V) :=
  forall f, X f -> exists phi, warp phi (G (T h f)) = G f.

(** G sees one point only: (G f)(x) depends on f at x - c alone, with one fixed c. *)
Definition pointwise (G : extractor V K Y) :=
  exists c, forall f g x, X f -> X g -> f (x - c) = g (x - c) -> G f x = G g x.

End Extractors.

Lemma archimedes a d : (0 < d)%R -> exists n : nat, (a < INR n * d)%R.
Proof.
  move=> positive; have [n [_ above]] := nfloor_ex (Rmax 0 (a / d)) (Rmax_l _ _).
  exists (S n); rewrite S_INR; have := Rmax_r 0 (a / d) => below.
  have -> : a = (a / d * d)%R by field; lra.
  apply: Rmult_lt_compat_r => //; lra.
Qed.

(** ** Distances: a normed real vector space *)

Section Distances.
Context {V : NormedModule R_AbsRing} {K Y : Type}.

(** The distance of two points. *)
Definition distance (x y : V) : R := norm (x - y).
Arguments distance (x y)%plane.

Lemma distance_sym x y : distance x y = distance y x.
Proof. by rewrite /distance -norm_opp; congr norm; abelian. Qed.

Lemma distance_triangle z x y : (distance x y <= distance x z + distance z y)%R.
Proof.
  rewrite /distance; have -> : x - y = (x - z) + (z - y) by abelian.
  exact: norm_triangle.
Qed.

Lemma distance_self x : distance x x = 0%R.
Proof. by rewrite /distance minus_eq_zero norm_zero. Qed.

Lemma distance_ge_0 x y : (0 <= distance x y)%R.
Proof. exact: norm_ge_0. Qed.

Lemma distance_eq_0 x y : distance x y = 0%R -> x = y.
Proof.
  move=> none; have vanishes : x - y = zero by apply: norm_eq_zero.
  apply: (plus_reg_r (- y)); rewrite plus_opp_r; exact: vanishes.
Qed.

Lemma same_or_apart (x y : V) : x = y \/ (0 < distance x y)%R.
Proof.
  case: (Rle_lt_or_eq_dec _ _ (distance_ge_0 x y)) => [apart|none]; [by right|left].
  by apply: distance_eq_0.
Qed.

Lemma scal_minus (s : R) (x y : V) : s * (x - y) = s * x - s * y.
Proof. by rewrite /minus scal_distr_l scal_opp_r. Qed.

Lemma norm_scal_R (s : R) (x : V) : norm (s * x) = (Rabs s * norm x)%R.
Proof.
  apply: Rle_antisym; first exact: (norm_scal s x).
  case: (Req_dec s 0) => [-> | nonzero].
  { rewrite Rabs_R0 Rmult_0_l; exact: norm_ge_0. }
  have back : (/ s)%R * (s * x) = x.
  { rewrite scal_assoc /mult /= Rinv_l //; exact: (scal_one x). }
  have := norm_scal (/ s)%R (s * x); rewrite back /abs /= Rabs_inv => bound.
  have positive : (0 < Rabs s)%R by apply: Rabs_pos_lt.
  have := Rmult_le_compat_l (Rabs s) _ _ (Rlt_le _ _ positive) bound.
  by rewrite -Rmult_assoc Rinv_r ?Rmult_1_l //; lra.
Qed.

Lemma distance_scal (s : R) x y : distance (s * x) (s * y) = (Rabs s * distance x y)%R.
Proof. by rewrite /distance -scal_minus norm_scal_R. Qed.

(** f and g agree within distance r of x. *)
Definition agree_within (f g : V -> K) (x : V) (r : R) :=
  forall y, (distance y x <= r)%R -> f y = g y.

Variable X : class V K.

(** (G f)(x) depends only on f within distance R of x: the receptive field. *)
Definition semi_local (G : extractor V K Y) (R : R) :=
  forall f g x, X f -> X g -> agree_within f g x R -> G f x = G g x.

(** (G f)(x) depends only on f in an arbitrarily small neighbourhood of x - c. *)
Definition reads_only (G : extractor V K Y) (c : V) :=
  forall eps, (0 < eps)%R ->
  forall f g x, X f -> X g -> agree_within f g (x - c) eps -> G f x = G g x.

(** G filters space: there is no single place, relative to x, of which arbitrarily small
    neighbourhoods decide (G f)(x). *)
Definition filters_space (G : extractor V K Y) := ~ exists c, reads_only G c.

(** G feels the place at -p from where it stands: images that differ only there, within any eps > 0,
    can get different features. *)
Definition feels (G : extractor V K Y) (p : V) :=
  forall eps, (0 < eps)%R -> exists f g (x : V), X f /\ X g /\
    (forall y : V, (eps < distance y (x - p))%R -> f y = g y) /\ G f x <> G g x.

(** Of two images and two windows that are apart, the class has an image that shows the one in the
    first window and the other in the second. *)
Definition gluable := forall f g x y r, X f -> X g -> (2 * r < distance x y)%R ->
  exists k, X k /\ agree_within k f x r /\ agree_within k g y r.

(** An extractor that feels two places filters space. *)
Lemma two_places_filter_space G p q :
  feels G p -> feels G q -> p <> q -> filters_space G.
Proof.
  move=> feels_p feels_q differ [c only].
  have one : forall t, feels G t -> t = c.
  { move=> t feels_t; case: (same_or_apart t c) => // apart; exfalso.
    case: (feels_t (distance t c / 3)%R); first lra.
    move=> f [g [x [Xf [Xg [agree differs]]]]]; apply: differs.
    apply: (only (distance t c / 3)%R) => //; first lra.
    move=> y near; apply: agree.
    have far : distance (x - c) (x - t) = distance t c.
    { rewrite /distance; congr norm; abelian. }
    have := distance_triangle y (x - c) (x - t); rewrite (distance_sym _ y); lra. }
  by apply: differ; rewrite (one p) // (one q).
Qed.

End Distances.

Arguments distance {V} (x y)%plane.
Arguments agree_within {V K} (f g) x%plane r%R.

(** The class of all images is gluable. *)
Lemma all_images_gluable (V : NormedModule R_AbsRing) (K : Type) : gluable (@all_images V K).
Proof.
  move=> f g x y r _ _ apart.
  exists (fun z => if Rle_dec (distance z x) r then f z else g z); split; first by [].
  split=> z near; case: Rle_dec => // near_x.
  have := distance_triangle z x y; rewrite (distance_sym x z); lra.
Qed.

Lemma scaling_additive {V : NormedModule R_AbsRing} (s : R) (x y : V) :
  s * (x + y) = s * x + s * y.
Proof. exact: scal_distr_l. Qed.

Lemma scaling_back {V : NormedModule R_AbsRing} (s : R) (nonzero : s <> 0%R) (x : V) :
  (/ s)%R * (s * x) = x.
Proof.
  rewrite scal_assoc /mult /=; have -> : (/ s * s)%R = 1%R by field.
  exact: (scal_one x).
Qed.

Lemma scaling_forth {V : NormedModule R_AbsRing} (s : R) (nonzero : s <> 0%R) (x : V) :
  s * ((/ s)%R * x) = x.
Proof.
  rewrite scal_assoc /mult /=; have -> : (s * / s)%R = 1%R by field.
  exact: (scal_one x).
Qed.

(** s I, the scaling by s. *)
Definition scaling {V : NormedModule R_AbsRing} (s : R) (nonzero : s <> 0%R) : GL V :=
  {| forth := fun x => s * x; back := fun x => (/ s)%R * x;
     additive := scaling_additive s; back_forth := scaling_back s nonzero;
     forth_back := scaling_forth s nonzero |}.

(** On the line R the operations of the plane are those of the reals; for examples. *)
Ltac on_the_line :=
  cbv beta delta [T D warp minus]; cbn [inverse back forth scaling identity product fst snd];
  cbv beta iota delta [plus opp scal zero mult minus]; cbn.

Ltac as_real := match goal with |- @eq _ ?a ?b => change (@eq R a b) end.

Ltac by_cases :=
  repeat match goal with |- context [if ?c then _ else _] => destruct c; try lra end.

(** ** The lattice Z, for examples *)

Definition Z_AbelianGroup_mixin : AbelianGroup.mixin_of Z :=
  AbelianGroup.Mixin Z Z.add Z.opp 0%Z Z.add_comm Z.add_assoc Z.add_0_r Z.add_opp_diag_r.
Canonical Z_AbelianGroup := AbelianGroup.Pack Z Z_AbelianGroup_mixin Z.
