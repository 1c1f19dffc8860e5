(** * P2. Undoing the transformation of the input suffices. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting.

(** P2. For any extractor G and any invertible h, transforming the input back restores the features:
    G T_h^-1 T_h f = G f. Nothing is asked of G, not even covariance. *)
Theorem P2_input_alignment_suffices (V : AbelianGroup) (K Y : Type) (G : extractor V K Y) (h : GL V)
  f :
  G (T h^-1 (T h f)) = G f.
Proof. by rewrite T_inverse_T. Qed.

(** Mutant: "h in place of its inverse restores the features". Refuted on the line by the scaling
    by 2 and the extractor that shows the image. *)
Theorem P2_mutant_twice : ~ forall (V : AbelianGroup) (K Y : Type) (G : extractor V K Y) (h : GL V)
  f,
  G (T h (T h f)) = G f.
Proof.
  move=> claimed.
  have two : 2%R <> 0%R by lra.
  have := f_equal (fun F => F 4%R)
    (claimed R_NormedModule R R (fun f => f) (scaling 2 two) (fun x => x)).
  on_the_line; lra.
Qed.
