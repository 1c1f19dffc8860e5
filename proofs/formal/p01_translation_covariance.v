(** * P1. Convolutional networks commute with shifts. *)

From Coq Require Import Reals Lra List FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting.

Section P1.
Context {V : AbelianGroup}.

(** A vector of channels: channel number -> value. *)
Definition channels := nat -> R.

(** The integral over the plane, or the sum over the lattice. Nothing about it is used. *)
Variable integral : (V -> R) -> R.

(** Convolution: channel c of the output is the sum over the n input channels k of the convolutions
    int f(x - y, k) l_(c k)(y) dy. *)
Definition convolution (n : nat) (l : nat -> nat -> V -> R) : extractor V channels channels :=
  fun f x c => fold_right Rplus 0%R
    (map (fun k => integral (fun y => (f (x - y)%plane k * l c k y)%R)) (seq 0 n)).

(** Pointwise nonlinearity: any function of the channels at a point. ReLU, bias, batch normalisation
    in eval mode and a 1 x 1 convolution are of this kind. *)
Definition nonlinearity (s : channels -> channels) : extractor V channels channels :=
  fun f x => s (f x).

(** Max pooling at stride 1: the supremum of each channel over the window x + B. *)
Definition max_pooling (B : V -> Prop) : extractor V channels channels :=
  fun f x c => real (Lub_Rbar (fun v => exists y, B y /\ v = f (x + y) c)).

(** Mean pooling at stride 1: the integral over the window x + B times a constant. *)
Definition mean_pooling (weight : V -> R) : extractor V channels channels :=
  fun f x c => integral (fun y => (weight y * f (x + y)%plane c)%R).

(** A network: any composition of these layers, of any depth. *)
Inductive network : extractor V channels channels -> Prop :=
  | Input : network (fun f => f)
  | Convolved n l G : network G -> network (fun f => convolution n l (G f))
  | Rectified s G : network G -> network (fun f => nonlinearity s (G f))
  | Max_pooled B G : network G -> network (fun f => max_pooling B (G f))
  | Mean_pooled w G : network G -> network (fun f => mean_pooling w (G f)).

Lemma D_convolution n l f d : convolution n l (D d f) = D d (convolution n l f).
Proof.
  apply: functional_extensionality => x; apply: functional_extensionality => c.
  rewrite /convolution /D; congr fold_right; apply: map_ext => k; congr integral.
  apply: functional_extensionality => y; congr (f _ k * _)%R; abelian.
Qed.

Lemma D_nonlinearity s f d : nonlinearity s (D d f) = D d (nonlinearity s f).
Proof. by []. Qed.

Lemma D_max_pooling B f d : max_pooling B (D d f) = D d (max_pooling B f).
Proof.
  apply: functional_extensionality => x; apply: functional_extensionality => c.
  rewrite /max_pooling /D; congr (real (Lub_Rbar _)); apply: functional_extensionality => v.
  congr ex; apply: functional_extensionality => y.
  by have -> : x + y - d = x - d + y by abelian.
Qed.

Lemma D_mean_pooling w f d : mean_pooling w (D d f) = D d (mean_pooling w f).
Proof.
  apply: functional_extensionality => x; apply: functional_extensionality => c.
  rewrite /mean_pooling /D; congr integral; apply: functional_extensionality => y.
  by have -> : x + y - d = x - d + y by abelian.
Qed.

(** P1. Convolution, pointwise nonlinearity and stride-1 pooling, and their compositions of any
    depth, commute with every shift: G D_d f = D_d G f, for all images. *)
Theorem P1_translation_covariance :
  forall G, network G -> translation_covariant all_images G.
Proof.
  move=> G layers f d _; elim: layers => {G} //.
  - by move=> n l G _ IH; rewrite IH D_convolution.
  - by move=> s G _ IH; rewrite IH D_nonlinearity.
  - by move=> B G _ IH; rewrite IH D_max_pooling.
  - by move=> w G _ IH; rewrite IH D_mean_pooling.
Qed.

(** Compositions of covariant extractors are covariant, whatever they are made of. *)
Theorem P1_composition (K Y Z : Type) (X : class V K) (X' : class V Y)
    (G : extractor V K Y) (H : extractor V Y Z) :
  (forall f, X f -> X' (G f)) ->
  translation_covariant X G -> translation_covariant X' H ->
  translation_covariant X (fun f => H (G f)).
Proof. by move=> into covariant_G covariant_H f d Xf; rewrite covariant_G // covariant_H //; exact:
  into. Qed.

End P1.

(** Mutant: "a layer that weights the positions by a fixed window commutes with shifts as well".
    Refuted on the line: the window that is 1 at the origin and 0 elsewhere. *)
Definition windowed (w : R -> R) : extractor R_AbelianGroup R R := fun f x => (w x * f x)%R.

Theorem P1_mutant_fixed_window : ~ forall w, translation_covariant all_images (windowed w).
Proof.
  move=> claimed.
  pose w (x : R) := if Req_EM_T x 0 then 1%R else 0%R.
  have := f_equal (fun F => F 0%R) (claimed w (fun _ => 1%R) 1%R I).
  rewrite /windowed /w; on_the_line; do 2 case: Req_EM_T; lra.
Qed.

(** Mutant: "with stride 2 a network still commutes with every shift of the lattice". *)
Definition strided : extractor Z_AbelianGroup R R := fun f n => f (2 * n)%Z.

Theorem P1_mutant_stride : ~ translation_covariant all_images strided.
Proof.
  move=> claimed.
  have := f_equal (fun F => F 1%Z) (claimed (fun n => IZR n) 1%Z I).
  rewrite /strided; on_the_line; lra.
Qed.
