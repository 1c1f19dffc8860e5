(** * P3. Translation covariance leaves only the input's own transformation, up to a shift. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting.

Section P3.
Context {V : AbelianGroup} {K Y : Type}.

(** Assumptions: the class of images is closed under shifts, and under h; G is translation covariant
    on it and separates points. *)
Variable X : class V K.
Variable G : extractor V K Y.
Variable h : GL V.
Hypothesis shifts : closed_under_shifts X.
Hypothesis moves : closed_under_map X h.
Hypothesis covariant : translation_covariant X G.
Hypothesis separating : separates_points X G.

(** P3. If one warp phi, the same for all images, aligns G under h, then phi(x) = h x + b. *)
Theorem P3_covariance_pins_the_warp :
  forall phi, aligns X G h phi -> exists b, forall x, phi x = h x + b.
Proof.
  move=> phi aligned; exists (phi zero) => x.
  (* G T_h f takes the same values at phi (x) - h x and at phi (0), for every f *)
  suff same : phi x - h x = phi zero.
  { rewrite -same; abelian. }
  apply: separating => f Xf.
  have [_ Xback] := moves f Xf.
  have whole g : X g -> G (T h g) (phi x - h x) = G (T h g) (phi zero).
  { move=> Xg.
    have moved := f_equal (fun F => F x) (aligned (D x g) (shifts g x Xg)).
    have here := f_equal (fun F => F zero) (aligned g Xg).
    rewrite /warp T_D covariant /D in moved; last exact: (proj1 (moves g Xg)).
    rewrite moved covariant // /D minus_eq_zero -here //. }
  by have := whole _ Xback; rewrite T_T_inverse.
Qed.

End P3.

Section Separation.
Context {V : NormedModule R_AbsRing} {K Y : Type}.

Variable X : class V K.
Variable G : extractor V K Y.
Hypothesis shifts : closed_under_shifts X.
Hypothesis glue : gluable X.
Hypothesis covariant : translation_covariant X G.

Fixpoint times (n : nat) (v : V) : V := match n with O => zero | S n => v + times n v end.

Lemma times_scal n v : times n v = INR n * v.
Proof.
  elim: n => [|n IH]; first by rewrite /= scal_zero_l.
  rewrite S_INR /= IH; have -> : (INR n + 1)%R = plus 1%R (INR n) by rewrite /plus /=; lra.
  by rewrite scal_distr_r (scal_one v : 1%R * v = v).
Qed.

(** P3, second part. Separating points costs nothing: a semi-local, translation covariant G that is
    not constant separates points. *)
Theorem P3_separation_is_automatic :
  forall R, semi_local X G R -> ~ constant X G -> separates_points X G.
Proof.
  move=> R local varies p q same.
  case: (same_or_apart p q) => // apart; exfalso; apply: varies => f g x Xf Xg.
  pose v := q - p.
  (* G f is the same at x and x + v, hence at x and x + n v *)
  have periodic : forall k y, X k -> G k (y + v) = G k y.
  { move=> k y Xk; have := same (D (p - y) k) (shifts _ _ Xk).
    rewrite covariant // /D.
    have -> : p - (p - y) = y by abelian.
    by have -> : q - (p - y) = y + v by rewrite /v; abelian. }
  have repeated : forall n k y, X k -> G k (y + times n v) = G k y.
  { move=> n k y Xk; elim: n => [|n IH] /=; first by rewrite plus_zero_r.
    have -> : y + (v + times n v) = (y + times n v) + v by abelian.
    by rewrite periodic. }
  have long : norm v = distance p q by rewrite distance_sym.
  (* for large n the windows about x and x + n v are apart *)
  have [n far] : exists n : nat, (2 * R < INR n * distance p q)%R.
  { have [n big] := archimedes (2 * R) _ apart; by exists n. }
  have distant : (2 * R < distance x (x + times n v))%R.
  { rewrite distance_sym /distance; have -> : x + times n v - x = times n v by abelian.
    rewrite times_scal norm_scal_R long Rabs_pos_eq //; exact: pos_INR. }
  have Xg' := shifts g (times n v) Xg.
  have [k [Xk [first second]]] := glue f (D (times n v) g) x (x + times n v) R Xf Xg' distant.
  rewrite -(local k f x Xk Xf first) -(repeated n k x Xk).
  rewrite (local k _ (x + times n v) Xk Xg' second) covariant // /D.
  congr (G g); abelian.
Qed.

End Separation.

(** The assumptions can be met: the extractor that shows the image is covariant, separates points,
    and is aligned by h itself. *)
Theorem P3_instance (V : AbelianGroup) (h : GL V) (decide : forall x y : V, {x = y} + {x <> y}) :
  let G : extractor V R R := fun f => f in
  translation_covariant all_images G /\ separates_points all_images G /\
  aligns all_images G h (forth h).
Proof.
  split; first by [].
  split.
  - move=> p q same; have := same (fun x => if decide x p then 1%R else 0%R) I.
    case: (decide p p); case: (decide q p) => //; lra.
  - move=> f _; apply: functional_extensionality => x; by rewrite /warp /T /= back_forth.
Qed.

(** Mutant: "phi is the inverse of h, up to a shift". Refuted on the line by the scaling by 2. (phi
    says where the warped map reads. Reading at phi(x) = h x moves the content by the inverse of h:
    as an operation on maps the warp is T_h^-1, as the papers say.) *)
Theorem P3_mutant_inverse : ~ forall (X : class R_AbelianGroup R) (G : extractor R_AbelianGroup R R)
  h,
  closed_under_shifts X -> closed_under_map X h ->
  translation_covariant X G -> separates_points X G ->
  forall phi, aligns X G h phi -> exists b, forall x, phi x = h^-1 x + b.
Proof.
  move=> claimed.
  have two : 2%R <> 0%R by lra.
  have [covariant [separating aligned]] :=
    P3_instance R_AbelianGroup (@scaling R_NormedModule 2 two) Req_EM_T.
  have [b wrong] := claimed all_images (fun f => f) _ (fun _ _ _ => I)
    (fun _ _ => conj I I) covariant separating _ aligned.
  have at_0 := wrong 0%R; have at_2 := wrong 2%R.
  move: at_0 at_2; on_the_line; lra.
Qed.

(** Mutant: "separating points is not needed". Refuted by a constant extractor: every warp aligns
    it, also x -> x^2. *)
Theorem P3_mutant_no_separation : ~ forall (X : class R_AbelianGroup R)
  (G : extractor R_AbelianGroup R R) h,
  closed_under_shifts X -> closed_under_map X h -> translation_covariant X G ->
  forall phi, aligns X G h phi -> exists b, forall x, phi x = h x + b.
Proof.
  move=> claimed.
  have [b wrong] := claimed all_images (fun _ _ => 0%R) identity (fun _ _ _ => I)
    (fun _ _ => conj I I) (fun _ _ _ => eq_refl) (fun x : R => (x * x)%R) (fun _ _ => eq_refl).
  have at_0 := wrong 0%R; have at_1 := wrong 1%R; have at_2 := wrong 2%R.
  move: at_0 at_1 at_2; on_the_line; lra.
Qed.
