(** * P8. Where the filter bank is closed under a group, a warp leaves the channels permuted. *)

From Coq Require Import ZArith Lia Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting.

Section P8.
Context {V : AbelianGroup} {K W : Type}.

(** The channels' names. *)
Variable C : Type.

(** A bank of filters. What channel c makes of the window that it sees: filter c F, where F(y) = f(x
    - y). For a convolution it is int F(y) l_c(y) dy, for a stencil the sum of l_c(y) F(y) over its
    taps y. *)
Variable filter : C -> (V -> K) -> W.

(** A group of linear maps, and what each does to the channels' names, g c. *)
Variable group : GL V -> Prop.
Variable shift : GL V -> C -> C.
Hypothesis inverses : forall g, group g -> group g^-1.

(** The bank is closed under the group: channel g c is channel c turned by g. For a convolution this
    is l_(g c)(y) = l_c(g^-1 y) / |det g|, see [P8_convolution]. *)
Hypothesis closed : forall g c F, group g -> filter (shift g c) F = filter c (fun y => F (g y)).

(** One nonlinearity for all channels. *)
Context {Y : Type}.
Variable nonlinearity : W -> Y.

(** The layer: (G f)(x, c). *)
Definition layer : extractor V K (C -> Y) := fun f x c =>
  nonlinearity (filter c (fun y => f (x - y))).

(** P8. For every h of the group: (G T_h f)(h x, c) = (G f)(x, h^-1 c). Warping back by h leaves
    channel c where h^-1 c should be. *)
Theorem P8_channel_shift : forall h f x c, group h ->
  layer (T h f) (h x) c = layer f x (shift h^-1 c).
Proof.
  move=> h f x c member; rewrite /layer closed; last exact: inverses.
  congr (nonlinearity (filter c _)); apply: functional_extensionality => y.
  by rewrite /T /= back_minus back_forth.
Qed.

(** The warp and that permutation of the channels together align exactly. *)
Theorem P8_warp_and_permutation : forall h f x c, group h ->
  shift h^-1 (shift h c) = c ->
  layer (T h f) (h x) (shift h c) = layer f x c.
Proof. by move=> h f x c member undone; rewrite P8_channel_shift // undone. Qed.

(** The warp alone aligns exactly if the channels c and h^-1 c have the same maps, for all c and all
    images. *)
Theorem P8_warp_alone : forall h (X : class V K), group h ->
  aligns X layer h (forth h) <->
  forall f, X f -> forall x c, layer f x (shift h^-1 c) = layer f x c.
Proof.
  move=> h X member; split => [aligned f Xf x c|coincide f Xf].
  - by rewrite -P8_channel_shift // -(aligned f Xf).
  - apply: functional_extensionality => x; apply: functional_extensionality => c.
    by rewrite /warp P8_channel_shift // coincide.
Qed.

End P8.

Section Convolution.
Context {V : AbelianGroup}.

(** The integral of a function over the plane; which functions have one; and how a linear map
    changes it: int F = |det g| int F(g y) dy. *)
Variable integral : (V -> R) -> R.
Variable integrable : (V -> R) -> Prop.
Variable abs_det : GL V -> R.
Variable g : GL V.
Hypothesis substitution : forall F, integrable F ->
  integrable (fun y => F (g y)) /\ (integral F = abs_det g * integral (fun y => F (g y)))%R.
Hypothesis homogeneous : forall k F, integrable F ->
  (integral (fun y => k * F y) = k * integral F)%R.
Hypothesis nonzero : abs_det g <> 0%R.

(** For convolutions the closed bank is the one with l_(g c)(y) = l_c(g^-1 y) / |det g|; in a finite
    group |det g| = 1. *)
Theorem P8_convolution (C : Type) (l : C -> V -> R) (shift : GL V -> C -> C) c F :
  (forall y, l (shift g c) y = l c (g^-1 y) / abs_det g)%R ->
  integrable (fun y => F y * l (shift g c) y)%R ->
  integral (fun y => F y * l (shift g c) y)%R = integral (fun y => F (g y) * l c y)%R.
Proof.
  move=> turned exists_.
  have [exists_back ->] := substitution _ exists_.
  rewrite -homogeneous //; congr integral; apply: functional_extensionality => y.
  rewrite turned /= back_forth; field; exact: nonzero.
Qed.

End Convolution.

(** ** An instance: quarter turns of the lattice Z^2 and four oriented differences *)

Definition lattice : AbelianGroup := prod_AbelianGroup Z_AbelianGroup Z_AbelianGroup.

Lemma quarter_additive (x y : lattice) :
  ((- snd (x + y)%plane)%Z, fst (x + y)%plane) =
  (((- snd x)%Z, fst x) : lattice) + ((- snd y)%Z, fst y).
Proof. by case: x y => [a b] [c d]; rewrite /= /plus /= /prod_plus /= /plus /= Z.opp_add_distr. Qed.

Lemma quarter_back_forth (x : lattice) : (fst x, (- - snd x)%Z) = x.
Proof. by case: x => a b; rewrite /= Z.opp_involutive. Qed.

Lemma quarter_forth_back (x : lattice) : ((- - fst x)%Z, snd x) = x.
Proof. by case: x => a b; rewrite /= Z.opp_involutive. Qed.

(** The turn by 90 degrees: (x, y) -> (-y, x). *)
Definition quarter : GL lattice :=
  {| forth := fun x : lattice => ((- snd x)%Z, fst x) : lattice;
     back := fun x : lattice => (snd x, (- fst x)%Z) : lattice;
     additive := quarter_additive; back_forth := quarter_back_forth; forth_back :=
       quarter_forth_back |}.

Inductive direction := East | North | West | South.

Definition step (c : direction) : lattice :=
  match c with East => (1, 0) | North => (0, 1) | West => (-1, 0) | South => (0, -1) end%Z.

Definition direction_of (x : lattice) : direction :=
  match x with (Zpos _, _) => East | (Zneg _, _) => West | (_, Zneg _) => South | _ => North end.

(** The bank: channel c is the difference to the neighbour in direction c, f(x - c) - f(x). *)
Definition difference (c : direction) (F : lattice -> R) : R := (F (step c) - F zero)%R.

(** The four turns by multiples of 90 degrees. *)
Definition turns (g : GL lattice) : Prop :=
  exists n, (n < 4)%nat /\ (forall x, g x = power quarter n x) /\
    (forall x, back g x = back (power quarter n) x).

Lemma quarter_turns : turns quarter.
Proof. by exists 1%nat; split; [lia | split]. Qed.

Definition turned (g : GL lattice) (c : direction) : direction := direction_of (g (step c)).

Lemma turn_inverses g : turns g -> turns g^-1.
Proof.
  move=> [n [small [same same_back]]].
  have opposite (x : lattice) : (- - fst x, - - snd x)%Z = x by case: x => a b;
    rewrite /= !Z.opp_involutive.
  exists (match n with O => 0 | S O => 3 | S (S O) => 2 | _ => 1 end)%nat.
  split; first by case: n small {same same_back} => [|[|[|[|n]]]]; lia.
  split=> x; rewrite /= ?same ?same_back; move: x; case: n small {same same_back} =>
    [|[|[|[|n]]]] small; try lia;
    case=> a b; by rewrite /= ?Z.opp_involutive.
Qed.

Lemma turn_closed g c F : turns g -> difference (turned g c) F = difference c (fun y => F (g y)).
Proof.
  move=> [n [small [same _]]]; rewrite /difference map_zero /turned same; congr (F _ - F _)%R.
  by case: n small {same} => [|[|[|[|n]]]] small; try lia; case: c.
Qed.

Definition differences : extractor lattice R (direction -> R) :=
  layer direction difference (fun v => v).

(** P8 for this bank: after a quarter turn channel North has what channel East had, and so on. *)
Theorem P8_instance : forall f x c,
  differences (T quarter f) (quarter x) c = differences f x (turned quarter^-1 c).
Proof.
  move=> f x c; apply: (P8_channel_shift direction difference turns turned turn_inverses
    turn_closed).
  exact: quarter_turns.
Qed.

(** Mutant: "the warp back aligns without the permutation". Refuted by this bank and one white
    pixel. *)
Theorem P8_mutant_warp_alone :
  ~ forall (V : AbelianGroup) (C : Type) (filter : C -> (V -> R) -> R) group
    (shift : GL V -> C -> C),
  (forall g, group g -> group g^-1) ->
  (forall g c F, group g -> filter (shift g c) F = filter c (fun y => F (g y))) ->
  forall h f x c, group h ->
  layer C filter (fun v => v) (T h f) (h x) c = layer C filter (fun v => v) f x c.
Proof.
  move=> claimed.
  have := claimed lattice direction difference turns turned turn_inverses turn_closed quarter
    (fun x => match x with (1, 0) => 1%R | _ => 0%R end%Z) zero West quarter_turns.
  rewrite /layer /difference /T /=; on_the_line; cbn; lra.
Qed.

(** Mutant: "the channels come back permuted by h", the inverse turned round. *)
Theorem P8_mutant_inverse :
  ~ forall (V : AbelianGroup) (C : Type) (filter : C -> (V -> R) -> R) group
    (shift : GL V -> C -> C),
  (forall g, group g -> group g^-1) ->
  (forall g c F, group g -> filter (shift g c) F = filter c (fun y => F (g y))) ->
  forall h f x c, group h ->
  layer C filter (fun v => v) (T h f) (h x) c = layer C filter (fun v => v) f x (shift h c).
Proof.
  move=> claimed.
  have := claimed lattice direction difference turns turned turn_inverses turn_closed quarter
    (fun x => match x with (1, 0) => 1%R | _ => 0%R end%Z) zero North quarter_turns.
  rewrite /layer /difference /T /=; on_the_line; cbn; lra.
Qed.
