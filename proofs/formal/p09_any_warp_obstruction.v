(** * P9. What no warp can beat, whether or not it depends on the image. *)

From Coq Require Import ZArith Lia Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting p08_channel_shift.

(** ** Warps of the plane: each sample is one feature vector *)

Section P9.
Context {V : AbelianGroup} {K : Type} {Y : NormedModule R_AbsRing}.

(** P9. A spatial warp only rearranges feature vectors. If (G f)(x) lies at distance d or more from
    every vector that G T_h f offers, the residual at x is at least d, whatever phi is; phi may
    depend on the image in any way. Nothing is asked of G or h. *)
Theorem P9_any_warp_obstruction (G : extractor V K Y) (h : GL V) (f : V -> K) (x : V) (d : R) :
  (forall p, (d <= distance (G f x) (G (T h f) p))%R) ->
  forall phi : V -> V, (d <= distance (G f x) (warp phi (G (T h f)) x))%R.
Proof. by move=> far phi; exact: far. Qed.

(** P9, the image-dependent form of the main theorem. If for some image of the class one feature
    vector of G f is none of those that G T_h f offers, then G is not even alignable image by image.
    *)
Theorem P9_not_alignable_image_by_image (X : class V K) (G : extractor V K Y) (h : GL V) :
  (exists f x, X f /\ forall p, G (T h f) p <> G f x) -> ~ alignable_image_by_image X G h.
Proof.
  move=> [f [x [Xf missing]]] aligned; have [phi same] := aligned f Xf.
  exact: (missing (phi x) (f_equal (fun F => F x) same)).
Qed.

End P9.

(** A warp that aligns all images aligns each: what no image-dependent warp can do, no fixed warp
    can. *)
Lemma alignable_all_at_once (V : AbelianGroup) (K Y : Type) (X : class V K) (G : extractor V K Y)
  h :
  alignable X G h -> alignable_image_by_image X G h.
Proof. by move=> [phi aligned] f Xf; exists phi; exact: aligned. Qed.

(** ** Bilinear sampling: each sample mixes the four corners of a cell *)

Section Bilinear.
Context {Y : NormedModule R_AbsRing}.

(** The convex hull of four feature vectors. *)
Definition hull (a b c d v : Y) : Prop :=
  exists p q r s, (0 <= p)%R /\ (0 <= q)%R /\ (0 <= r)%R /\ (0 <= s)%R /\ (p + q + r + s = 1)%R /\
  v = p * a + q * b + (r * c + s * d).

(** The bilinear sample at fractional coordinates u, v of a cell with corners a, b, c, d. *)
Definition bilinear (a b c d : Y) (u v : R) : Y :=
  ((1 - u) * (1 - v))%R * a + (u * (1 - v))%R * b + (((1 - u) * v)%R * c + (u * v)%R * d).

Lemma bilinear_in_hull a b c d u v : (0 <= u <= 1)%R -> (0 <= v <= 1)%R ->
  hull a b c d (bilinear a b c d u v).
Proof.
  move=> [u0 u1] [v0 v1].
  exists ((1 - u) * (1 - v))%R, (u * (1 - v))%R, ((1 - u) * v)%R, (u * v)%R.
  do 4 (split; first by apply: Rmult_le_pos; lra).
  by split; first by ring.
Qed.

(** The position of a sample: the cell's lower left pixel (i, j), and where in the cell. *)
Record position := {
  cell : lattice; across : R; up : R;
  across_range : (0 <= across <= 1)%R; up_range : (0 <= up <= 1)%R;
}.

(** A map on the lattice, sampled bilinearly. A finite map surrounded by zeros is a map on the
    whole lattice. *)
Definition corner (i j : Z) (F : lattice -> Y) (x : lattice) : Y := F (x + ((i, j) : lattice)).
Definition sample (F : lattice -> Y) (p : position) : Y :=
  bilinear (corner 0 0 F (cell p)) (corner 1 0 F (cell p)) (corner 0 1 F (cell p))
    (corner 1 1 F (cell p))
    (across p) (up p).

(** P9 for bilinear sampling, between any two maps: F is that of the image, moved is that of the
    image after any motion, a scaling by 2 or a turn by 30 degrees as well, since nothing is asked
    of where moved comes from. If F(x) lies at distance d or more from the convex hull of the four
    corners of every cell of moved, the residual at x is at least d, whatever the warp is: it may
    depend on the image, tear it, or fold it. *)
Theorem P9_bilinear (F moved : lattice -> Y) x d :
  (forall n v, hull (corner 0 0 moved n) (corner 1 0 moved n) (corner 0 1 moved n)
    (corner 1 1 moved n) v -> (d <= distance (F x) v)%R) ->
  forall phi : lattice -> position, (d <= distance (F x) (sample moved (phi x)))%R.
Proof.
  move=> far phi; apply: (far (cell (phi x))); apply: bilinear_in_hull.
  - exact: across_range.
  - exact: up_range.
Qed.

End Bilinear.

(** ** There are images with d > 0: a single oriented edge *)

(** The bank: the horizontal difference in channel 1, the vertical one in channel 2. *)
Definition gradient : extractor lattice R (R * R) :=
  fun f x => (f x - f (x - ((1, 0)%Z : lattice))%plane, f x - f (x - ((0, 1)%Z : lattice))%plane)%R.

(** A vertical edge: 1 to the right of 0, 0 to the left. *)
Definition edge : lattice -> R := fun x => if Z_le_dec 0 (fst x) then 1%R else 0%R.

Lemma gradient_of_edge : gradient edge zero = (1%R, 0%R).
Proof.
  have -> : (1%R, 0%R) = ((1 - 0)%R, (1 - 1)%R) by congr pair; ring.
  reflexivity.
Qed.

(** After a quarter turn the edge is horizontal: channel 1 is 0 everywhere. *)
Lemma gradient_of_turned_edge x : fst (gradient (T quarter edge) x) = 0%R.
Proof.
  by case: x => a b; rewrite /gradient /T /edge; on_the_line; cbn; rewrite Z.add_0_r; ring.
Qed.

Lemma hull_of_turned_edge a b c d v : fst a = 0%R -> fst b = 0%R -> fst c = 0%R -> fst d = 0%R ->
  hull (Y := prod_NormedModule _ R_NormedModule R_NormedModule) a b c d v -> fst v = 0%R.
Proof.
  move=> a0 b0 c0 d0 [p [q [r [s [_ [_ [_ [_ [_ ->]]]]]]]]].
  rewrite /plus /scal /= /plus /scal /= /mult /= a0 b0 c0 d0; ring.
Qed.

(** P9, existence. For the single edge, a quarter turn and this bank, no bilinear warp,
    image-dependent or not, leaves a residual below 1 on the edge. *)
Theorem P9_edge : forall phi : lattice -> position,
  (1 <= distance (V := prod_NormedModule _ R_NormedModule R_NormedModule)
    (gradient edge zero) (sample (gradient (T quarter edge)) (phi zero)))%R.
Proof.
  apply: (P9_bilinear (gradient edge)) => n v inside.
  have none := hull_of_turned_edge _ _ _ _ _ (gradient_of_turned_edge _) (gradient_of_turned_edge _)
    (gradient_of_turned_edge _) (gradient_of_turned_edge _) inside.
  rewrite gradient_of_edge /distance; case: v none {inside} => v1 v2 /= ->.
  apply: Rle_trans (proj1 (sqrt_plus_sqr _ _)).
  apply: Rle_trans (Rmax_l _ _); rewrite /norm /= /abs /=; on_the_line.
  have -> : (1 + - 0)%R = 1%R by ring.
  rewrite (Rabs_pos_eq 1) ?(Rabs_pos_eq 1); lra.
Qed.

(** In particular the bank is not alignable under a quarter turn, not even image by image. *)
Theorem P9_edge_not_alignable : ~ alignable_image_by_image all_images gradient quarter.
Proof.
  apply: (P9_not_alignable_image_by_image (Y := prod_NormedModule _ R_NormedModule R_NormedModule)).
  exists edge, zero; split => // p same.
  have := gradient_of_turned_edge p; rewrite same gradient_of_edge /=; lra.
Qed.

(** An extractor for the mutant below: it tells from the pixel (1, 0) what to show. *)
Definition checkered : extractor lattice bool R_NormedModule := fun f x =>
  if Bool.bool_dec (f ((1, 0)%Z : lattice)) true then 0%R
  else match x with (0, 0)%Z => 1%R | _ => (- 1)%R end.

Lemma half_way : (0 <= / 2 <= 1)%R. Proof. lra. Qed.
Lemma at_start : (0 <= 0 <= 1)%R. Proof. lra. Qed.

(** Mutant: "with bilinear sampling, no warp comes closer than the nearest single feature vector".
    Refuted by the map that is 1 at the pixel (0, 0) and -1 elsewhere: half way between two
    pixels the sample is 0, the vector that is asked for. *)
Theorem P9_mutant_nearest_vector :
  ~ forall (K : Type) (G : extractor lattice K R_NormedModule) (h : GL lattice) f x d,
  (forall p, (d <= distance (G f x) (G (T h f) p))%R) ->
  forall phi : lattice -> position, (d <= distance (G f x) (sample (G (T h f)) (phi x)))%R.
Proof.
  move=> claimed.
  pose f (x : lattice) := match x with (1, 0)%Z => true | _ => false end.
  have offered : forall p, checkered (T quarter f) p = match p with (0, 0)%Z => 1%R | _ =>
    (- 1)%R end by [].
  have wanted : checkered f zero = 0%R by [].
  have far : forall p, (1 <= distance (checkered f zero) (checkered (T quarter f) p))%R.
  { move=> p; rewrite offered wanted /distance /norm /= /abs /=; on_the_line.
    have one : Rabs (0 + - (1)) = 1%R by rewrite Rplus_0_l Rabs_Ropp Rabs_R1.
    have minus_one : Rabs (0 + - - (1)) = 1%R by rewrite Rplus_0_l Ropp_involutive Rabs_R1.
    case: p => [[|a|a] [|b|b]]; rewrite ?one ?minus_one; lra. }
  have := claimed bool checkered quarter f zero 1%R far
    (fun _ => {| cell := zero; across := / 2; up := 0; across_range := half_way; up_range :=
      at_start |}).
  rewrite /sample /bilinear /corner !offered wanted /distance /norm /= /abs /=; on_the_line.
  match goal with |- (_ <= Rabs ?v)%R -> _ => have -> : v = 0%R by field end.
  rewrite Rabs_R0; lra.
Qed.
