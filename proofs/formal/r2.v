(** * The Euclidean plane R^2 as an instance of the setting: matrices, scalings, rotations *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting continuous_images.

(** R^2, with the usual sum, multiples and length. *)
Definition R2 : NormedModule R_AbsRing := prod_NormedModule _ R_NormedModule R_NormedModule.

Lemma R2_eq (a b c d : R) : a = c -> b = d -> ((a, b) : R2) = (c, d).
Proof. by move=> -> ->. Qed.

Lemma length_R2 (x : R2) : norm x = sqrt (fst x ^ 2 + snd x ^ 2).
Proof.
  case: x => a b; rewrite /norm /= /prod_norm /norm /= /abs /=.
  have square t : (Rabs t * (Rabs t * 1))%R = (t * (t * 1))%R by split_Rabs; ring.
  by rewrite !square.
Qed.

Definition dot_row (a b : R) (x : R2) : R := (a * fst x + b * snd x)%R.

Lemma matrix_additive a b c d (x y : R2) :
  ((dot_row a b (x + y), dot_row c d (x + y)) : R2) =
  ((dot_row a b x, dot_row c d x) : R2) + (dot_row a b y, dot_row c d y).
Proof.
  case: x y => [x1 x2] [y1 y2]; rewrite /dot_row /plus /= /prod_plus /plus /=; congr pair; ring.
Qed.

Lemma matrix_back_forth a b c d (invertible : (a * d - b * c)%R <> 0%R) (x : R2) :
  let det := (a * d - b * c)%R in
  let y := (dot_row a b x, dot_row c d x) : R2 in
  (dot_row (d / det) (- b / det) y, dot_row (- c / det) (a / det) y) = x.
Proof. case: x => x1 x2; rewrite /dot_row /=; congr pair; field; exact: invertible. Qed.

Lemma matrix_forth_back a b c d (invertible : (a * d - b * c)%R <> 0%R) (x : R2) :
  let det := (a * d - b * c)%R in
  let y := (dot_row (d / det) (- b / det) x, dot_row (- c / det) (a / det) x) : R2 in
  (dot_row a b y, dot_row c d y) = x.
Proof. case: x => x1 x2; rewrite /dot_row /=; congr pair; field; exact: invertible. Qed.

(** The matrix ((a, b), (c, d)) with determinant a d - b c other than 0, an element of GL(2). *)
Definition matrix a b c d (invertible : (a * d - b * c)%R <> 0%R) : GL R2 :=
  {| forth := fun x : R2 => (dot_row a b x, dot_row c d x) : R2;
     back := fun x : R2 => let det := (a * d - b * c)%R in
       (dot_row (d / det) (- b / det) x, dot_row (- c / det) (a / det) x) : R2;
     additive := matrix_additive a b c d;
     back_forth := matrix_back_forth a b c d invertible;
     forth_back := matrix_forth_back a b c d invertible |}.

(** What the setting calls the product is the product of matrices. *)
Lemma product_of_matrices a b c d i a' b' c' d' i' i'' (x : R2) :
  product (matrix a b c d i) (matrix a' b' c' d' i') x =
  matrix (a * a' + b * c') (a * b' + b * d') (c * a' + d * c') (c * b' + d * d') i'' x.
Proof. case: x => x1 x2; rewrite /= /dot_row /=; congr pair; ring. Qed.

(** What the setting calls a scaling is the matrix s I. *)
Lemma scaling_is_matrix s (nonzero : s <> 0%R) i (x : R2) :
  @scaling R2 s nonzero x = matrix s 0 0 s i x.
Proof.
  case: x => x1 x2; rewrite /= /dot_row /scal /= /prod_scal /scal /= /mult /=; congr pair; ring.
Qed.

(** (T_h f)(x, y) for a matrix h, written out. *)
Lemma T_matrix (A : Type) a b c d i (f : R2 -> A) x y :
  T (matrix a b c d i) f (x, y) =
  f (((d * x - b * y) / (a * d - b * c))%R, ((a * y - c * x) / (a * d - b * c))%R).
Proof. rewrite /T /= /dot_row /=; congr (f (_, _)); as_real; field; exact: i. Qed.

(** The rotation by the angle t. *)
Lemma rotation_invertible t : (cos t * cos t - - sin t * sin t)%R <> 0%R.
Proof. have := sin2_cos2 t; rewrite /Rsqr; lra. Qed.

Definition rotation (t : R) : GL R2 := matrix (cos t) (- sin t) (sin t) (cos t)
  (rotation_invertible t).

(** Rotations keep lengths. *)
Lemma rotation_isometry t (x : R2) : norm (rotation t x) = norm x.
Proof.
  rewrite !length_R2; case: x => x y; rewrite /= /dot_row /=; congr sqrt.
  have := sin2_cos2 t; rewrite /Rsqr => one.
  transitivity ((sin t * sin t + cos t * cos t) * (x ^ 2 + y ^ 2))%R; first by ring.
  by rewrite one Rmult_1_l /=.
Qed.

(** The shear ((1, k), (0, 1)). *)
Lemma shear_invertible k : (1 * 1 - k * 0)%R <> 0%R.
Proof. lra. Qed.

Definition shear (k : R) : GL R2 := matrix 1 k 0 1 (shear_invertible k).

(** Matrices take continuous images to continuous images. *)
Lemma continuous_dot_row a b (x : R2) : continuous (dot_row a b) x.
Proof.
  apply: (continuous_plus (fun x : R2 => (a * fst x)%R) (fun x : R2 => (b * snd x)%R)).
  - apply: (continuous_mult (fun _ : R2 => a) (fun x : R2 => fst x)); first exact: continuous_const.
    case: x => x1 x2; exact: continuous_fst.
  - apply: (continuous_mult (fun _ : R2 => b) (fun x : R2 => snd x)); first exact: continuous_const.
    case: x => x1 x2; exact: continuous_snd.
Qed.

Lemma continuous_images_matrix (K : NormedModule R_AbsRing) a b c d i :
  closed_under_map (continuous_images (V := R2) (K := K)) (matrix a b c d i).
Proof.
  apply: continuous_images_map => x;
    apply: (continuous_comp_2 _ _ (fun u v : R => (u, v) : R2)); try exact: continuous_dot_row;
    (apply: (continuous_ext (fun y => y)); [by case | exact: continuous_id]).
Qed.
