(** * P5. Which filters one linear layer may have if a warp is to align it.

    Here for continuous filters of bounded support and continuous images, so that no integral beyond
    Riemann's is needed and "almost every" is "every". The theorem is about any normed plane with an
    integral that has four named properties. They are proven for the line, with Coquelicot's Riemann
    integral. What is missing for the plane R^2 is a proof of the substitution rule for all of
    GL(2), which needs Fubini's theorem; for integrable filters, Lebesgue's integral. *)

From Coq Require Import Reals Lra Lia FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting p03_covariance_pins_the_warp continuous_images
  p06_no_scaling_no_shear.

(** Continuous and 0 outside some ball. *)
Definition compactly_supported {V : NormedModule R_AbsRing} (F : V -> R) :=
  (forall y, continuous F y) /\ bounded_support F.

Section P5.
Context {V : NormedModule R_AbsRing}.

(** An integral on the plane, and abs(det h). *)
Variable integral : (V -> R) -> R.
Variable h : GL V.
Variable abs_det : R.

(** int |det h| F(h y + b) dy = int F *)
Hypothesis substitution : forall F b, compactly_supported F ->
  integral (fun y => abs_det * F (h y + b)%plane)%R = integral F.
(** int (F - E) = int F - int E *)
Hypothesis difference : forall F E, compactly_supported F -> compactly_supported E ->
  integral (fun y => F y - E y)%R = (integral F - integral E)%R.
(** If F >= 0 and int F = 0 then F = 0. *)
Hypothesis definite : forall F, compactly_supported F -> (forall y, 0 <= F y)%R ->
  integral F = 0%R -> forall y, F y = 0%R.
(** h and h^-1 are continuous. *)
Hypothesis continuous_h : forall y : V, continuous (forth h) y.
Hypothesis bounded_back : exists M, forall y, (norm (back h y) <= M * norm y)%R.
Hypothesis continuous_back : forall y : V, continuous (back h) y.

(** One linear layer with filters l_c: (G f)(x, c) = (f * l_c)(x) = int f(x - y) l_c(y) dy. *)
Variable C : Type.
Variable l : C -> V -> R.
Hypothesis filters : forall c, compactly_supported (l c).
Definition linear_layer : extractor V R (C -> R) :=
  fun f x c => integral (fun y => f (x - y)%plane * l c y)%R.

Let X : class V R_NormedModule := continuous_images.

Lemma compactly_supported_times (f F : V -> R) : (forall y, continuous f y) ->
  compactly_supported F -> compactly_supported (fun y => f y * F y)%R.
Proof.
  move=> continuous_f [continuous_F [r outside]]; split.
  - by move=> y; apply: (continuous_mult f F).
  - by exists r => y far; rewrite outside // Rmult_0_r.
Qed.

Lemma continuous_affine b y : continuous (fun y => h y + b) y.
Proof. by apply: (continuous_plus (forth h) (fun _ => b)); last exact: continuous_const. Qed.

(** The filter that is seen after warping back, U l = |det h| l(h . + b). *)
Definition seen (b : V) (F : V -> R) : V -> R := fun y => (abs_det * F (h y + b)%plane)%R.

Lemma compactly_supported_seen b F : compactly_supported F -> compactly_supported (seen b F).
Proof.
  move=> [continuous_F [r outside]]; split.
  - move=> y; apply: (continuous_mult (fun _ => abs_det) (fun y => F (h y + b))); first exact:
    continuous_const.
    apply: (continuous_comp (fun y => h y + b) F); [exact: continuous_affine | exact: continuous_F].
  - have [M bound] := bounded_back; exists (Rabs M * (Rabs r + norm b))%R => y far.
    rewrite /seen outside ?Rmult_0_r //.
    case: (Rlt_le_dec r (norm (h y + b))) => // near; exfalso.
    have size : (norm y <= Rabs M * (Rabs r + norm b))%R.
    { apply: (Rle_trans _ (M * norm (h y))%R); first by rewrite -{1}(back_forth h y).
      apply: (Rle_trans _ (Rabs M * norm (h y))%R).
      { apply: Rmult_le_compat_r; [exact: norm_ge_0 | exact: Rle_abs]. }
      apply: Rmult_le_compat_l; first exact: Rabs_pos.
      have -> : h y = (h y + b) + - b by abelian.
      apply: (Rle_trans _ _ _ (norm_triangle _ _)); rewrite norm_opp; have := Rle_abs r; lra. }
    lra.
Qed.

Lemma continuous_turned_back (f : V -> R) (x : V) : (forall y, continuous f y) ->
  forall y : V, continuous (fun y : V => f (x - y)) y.
Proof.
  move=> continuous_f y; apply: (continuous_comp (fun y : V => x - y) f); last exact: continuous_f.
  apply: (continuous_minus (fun _ : V => x) (fun y : V => y));
    [exact: continuous_const | exact: continuous_id].
Qed.

(** Warping back by h x + b turns every filter l_c into U l_c, whatever the image is. *)
Lemma warped_layer b f x c : X f ->
  linear_layer (T h f) (h x + b) c = integral (fun y => f (x - y)%plane * seen b (l c) y)%R.
Proof.
  move=> Xf; rewrite /linear_layer.
  have moved : forall y, continuous (T h f) y by move=> y; apply: (continuous_comp (back h) f).
  rewrite -(substitution _ b); last first.
  { apply: compactly_supported_times; [exact: continuous_turned_back | exact: filters]. }
  congr integral; apply: functional_extensionality => y; rewrite /seen /T.
  have -> : h x + b - (h y + b) = h (x - y) by rewrite map_minus; abelian.
  rewrite /= back_forth; ring.
Qed.

(** P5. The warp h x + b aligns the layer under h, for all continuous images, if and only if for
    every channel c and every y: |det h| l_c(h y + b) = l_c(y). *)
Theorem P5_linear_criterion : forall b,
  aligns X linear_layer h (fun x => h x + b) <-> forall c, criterion abs_det h b (l c).
Proof.
  move=> b; split => [aligned c y|meets f Xf]; last first.
  { apply: functional_extensionality => x; apply: functional_extensionality => c.
    rewrite /warp warped_layer // /linear_layer; congr integral; apply: functional_extensionality =>
      y.
    by rewrite /seen meets. }
  (* the image that shows the difference of the two filters, turned about the origin *)
  pose d y := (seen b (l c) y - l c y)%R.
  have supported_seen := compactly_supported_seen b (l c) (filters c).
  have continuous_d : forall y, continuous d y.
  { move=> y'; apply: (continuous_minus (seen b (l c)) (l c));
    [exact: (proj1 supported_seen) | exact: (proj1 (filters c))]. }
  pose f y := d (zero - y).
  have Xf : X f by exact: continuous_turned_back.
  have continuous_f := continuous_turned_back f zero Xf.
  have shown : forall y, f (zero - y) = d y by move=> y'; rewrite /f; congr d; abelian.
  have same := f_equal (fun F => F zero c) (aligned f Xf).
  rewrite /warp warped_layer // /linear_layer in same.
  have square : integral (fun y => d y * d y)%R = 0%R.
  { have -> : (fun y => d y * d y)%R =
      (fun y => f (zero - y)%plane * seen b (l c) y - f (zero - y)%plane * l c y)%R.
    { apply: functional_extensionality => y'; rewrite shown /d; ring. }
    rewrite difference; [rewrite same; ring | |];
      apply: compactly_supported_times => //; exact: filters. }
  have supported_d : compactly_supported d.
  { split => //; have [_ [r outside]] := supported_seen; have [_ [r' outside']] := filters c.
    exists (Rmax r r') => y' far; rewrite /d outside ?outside'; first ring;
      apply: Rle_lt_trans far; [exact: Rmax_r | exact: Rmax_l]. }
  have none : (d y * d y)%R = 0%R.
  { apply: (definite (fun y => d y * d y)%R) => //; first exact: compactly_supported_times.
    move=> y'; exact: Rle_0_sqr. }
  have : d y = 0%R by case: (Rmult_integral _ _ none).
  rewrite /d /seen; lra.
Qed.

End P5.

(** ** The line: Coquelicot's Riemann integral has these properties *)

(** int F over the line, for F that is 0 outside some interval: the limit of the integrals from -n
    to n. *)
Definition line_integral (F : R_NormedModule -> R) : R :=
  real (Lim_seq (fun n => RInt F (- INR n) (INR n))).

Section Line.

Lemma integrable (F : R -> R) a b : (forall y : R, continuous F y) -> ex_RInt F a b.
Proof. by move=> continuous_F; apply: (ex_RInt_continuous (V := R_CompleteNormedModule)). Qed.

Lemma RInt_outside (F : R -> R) a b r : (forall y, (r < Rabs y)%R -> F y = 0%R) ->
  (forall y, (Rmin a b < y < Rmax a b)%R -> (r < Rabs y)%R) -> RInt F a b = 0%R.
Proof.
  move=> outside beyond; rewrite (RInt_ext F (fun _ => 0%R)); last by move=> y inside; apply:
    outside; exact: beyond.
  rewrite RInt_const; exact: Rmult_0_r.
Qed.

(** Any two intervals that cover the support give the same integral. *)
Lemma RInt_covering (F : R -> R) r a b : (0 <= r)%R -> (forall y : R, continuous F y) ->
  (forall y, (r < Rabs y)%R -> F y = 0%R) -> (a <= - r)%R -> (r <= b)%R ->
  RInt F a b = RInt F (- r) r.
Proof.
  move=> r0 continuous_F outside left_ right_.
  rewrite -(RInt_Chasles F a (- r) b); try exact: integrable.
  rewrite -(RInt_Chasles F (- r) r b); try exact: integrable.
  rewrite (RInt_outside F a (- r) r) //; last first.
  { move=> y; rewrite Rmin_left // Rmax_right //; move=> inside; rewrite Rabs_left; lra. }
  rewrite (RInt_outside F r b r) //; last first.
  { move=> y; rewrite Rmin_left // Rmax_right //; move=> inside; rewrite Rabs_pos_eq; lra. }
  rewrite /plus /=; ring.
Qed.

Lemma line_integral_on (F : R_NormedModule -> R) r : (0 <= r)%R -> (forall y : R, continuous F y) ->
  (forall y, (r < Rabs y)%R -> F y = 0%R) -> line_integral F = RInt F (- r) r.
Proof.
  move=> r0 continuous_F outside; rewrite /line_integral.
  have [N [_ above]] := nfloor_ex r r0.
  rewrite (Lim_seq_ext_loc _ (fun _ => RInt F (- r) r)) ?Lim_seq_const //.
  exists (S N) => n late; apply: RInt_covering => //;
    have := le_INR _ _ late; rewrite S_INR; lra.
Qed.

(** A common interval for the support, as large as one likes. *)
Lemma support_interval (F : R_NormedModule -> R) : compactly_supported F ->
  exists r, (0 <= r)%R /\ forall s, (r <= s)%R -> forall y, (s < Rabs y)%R -> F y = 0%R.
Proof.
  move=> [_ [r outside]]; exists (Rabs r); split; first exact: Rabs_pos.
  move=> s large y far; apply: outside; rewrite /norm /= /abs /=; have := Rle_abs r; lra.
Qed.

Lemma line_difference F E : compactly_supported F -> compactly_supported E ->
  line_integral (fun y => F y - E y)%R = (line_integral F - line_integral E)%R.
Proof.
  move=> supported_F supported_E.
  have [r [r0 outside_F]] := support_interval F supported_F.
  have [r' [r0' outside_E]] := support_interval E supported_E.
  have [continuous_F _] := supported_F; have [continuous_E _] := supported_E.
  have large : (0 <= Rmax r r')%R by apply: Rle_trans (Rmax_l _ _).
  rewrite !(line_integral_on _ (Rmax r r')) //.
  - apply: (RInt_minus F E); exact: integrable.
  - by apply: outside_E; exact: Rmax_r.
  - by apply: outside_F; exact: Rmax_l.
  - by move=> y; apply: (continuous_minus F E).
  - move=> y far; rewrite (outside_F (Rmax r r')) ?(outside_E (Rmax r r')) //;
    [ring | exact: Rmax_r | exact: Rmax_l].
Qed.

Lemma line_definite F : compactly_supported F -> (forall y, 0 <= F y)%R ->
  line_integral F = 0%R -> forall y, F y = 0%R.
Proof.
  move=> supported positive none y.
  have [r [r0 outside]] := support_interval F supported; have [continuous_F _] := supported.
  case: (Rle_lt_or_eq_dec _ _ (positive y)) => // up; exfalso.
  have near : locally (F y) (fun t => (0 < t)%R).
  { exists (mkposreal _ up) => t; rewrite /ball /= /AbsRing_ball /= /abs /minus /plus /opp /=.
    move/Rabs_def2; lra. }
  have [e within] := continuous_F y _ near.
  have e0 := cond_pos e.
  pose s := (r + Rabs y + e)%R.
  have s0 : (0 <= s)%R by rewrite /s; have := Rabs_pos y; lra.
  rewrite (line_integral_on F s s0) // in none; last by apply: outside; rewrite /s; have :=
    Rabs_pos y; lra.
  have low : (- s <= y - e / 2)%R.
  { rewrite /s; have := Rle_abs (- y); rewrite Rabs_Ropp; lra. }
  have high : (y + e / 2 <= s)%R by rewrite /s; have := Rle_abs y; lra.
  rewrite -(RInt_Chasles F (- s) (y - e / 2) s) in none; try exact: integrable.
  rewrite -(RInt_Chasles F (y - e / 2) (y + e / 2) s) in none; try exact: integrable.
  have first : (0 <= RInt F (- s) (y - e / 2))%R by apply: RInt_ge_0 => //; exact: integrable.
  have last_ : (0 <= RInt F (y + e / 2) s)%R by apply: RInt_ge_0 => //; exact: integrable.
  have middle : (0 < RInt F (y - e / 2) (y + e / 2))%R.
  { apply: RInt_gt_0; first lra.
    - move=> t inside; apply: within; rewrite /ball /= /AbsRing_ball /= /abs /minus /plus /opp /=.
      apply: Rabs_def1; lra.
    - by move=> t _. }
  move: none; rewrite /plus /=; lra.
Qed.

(** The substitution rule, for y -> s y + b. *)
Lemma line_substitution s (nonzero : s <> 0%R) F (b : R_NormedModule) : compactly_supported F ->
  line_integral (fun y => Rabs s * F (@scaling R_NormedModule s nonzero y + b)%plane)%R =
    line_integral F.
Proof.
  move=> supported; have [r [r0 outside]] := support_interval F supported; have [continuous_F _] :=
    supported.
  have positive : (0 < Rabs s)%R by apply: Rabs_pos_lt.
  pose q := ((r + Rabs b) / Rabs s)%R.
  have q0 : (0 <= q)%R.
  { apply: Rmult_le_pos; first by have := Rabs_pos b; lra.
    exact/Rlt_le/Rinv_0_lt_compat. }
  have sq : (Rabs s * q)%R = (r + Rabs b)%R by rewrite /q; field; lra.
  have inner : forall y : R, continuous (fun y : R => F (s * y + b)%R) y.
  { move=> y; apply: (continuous_comp (fun y : R => (s * y + b)%R) F); last exact: continuous_F.
    apply: (continuous_plus (fun y : R => (s * y)%R) (fun _ => b)); last exact: continuous_const.
    apply: (continuous_mult (fun _ => s) (fun y : R => y));
      [exact: continuous_const | exact: continuous_id]. }
  rewrite (line_integral_on _ q) //; last first.
  { move=> y far; on_the_line; rewrite (outside r) ?Rmult_0_r //; first lra.
    have := Rmult_lt_compat_l _ _ _ positive far; rewrite sq -Rabs_mult => bound.
    have := Rabs_triang_inv (s * y) (- b); rewrite Rabs_Ropp.
    have -> : (s * y - - b)%R = (s * y + b)%R by ring.
    lra. }
  { move=> y; apply: (continuous_mult (fun _ => Rabs s) (fun y : R => F (s * y + b)%R));
    [exact: continuous_const | exact: inner]. }
  have change_ := RInt_comp_lin F s b (- q) q (integrable F _ _ continuous_F).
  have below : (- Rabs b <= b <= Rabs b)%R.
  { have := Rle_abs b; have := Rle_abs (- b); rewrite Rabs_Ropp; lra. }
  rewrite (line_integral_on F r) //; last by move=> y; apply: outside; lra.
  have outside_r := outside r (Rle_refl r).
  case: (Rle_lt_dec 0 s) => sign.
  - rewrite (Rabs_pos_eq s sign) in sq *.
    have left_ : (s * (- q) + b <= - r)%R by lra.
    have right_ : (r <= s * q + b)%R by lra.
    rewrite -(RInt_covering F r _ _ r0 continuous_F outside_r left_ right_).
    exact: change_.
  - rewrite (Rabs_left s sign) in sq *.
    have left_ : (s * q + b <= - r)%R by lra.
    have right_ : (r <= s * (- q) + b)%R by lra.
    rewrite -(RInt_covering F r _ _ r0 continuous_F outside_r left_ right_).
    rewrite -(opp_RInt_swap F); last exact: integrable.
    rewrite -change_ -RInt_opp; last first.
    { apply: (ex_RInt_scal (fun y : R => F (s * y + b)%R)); exact: integrable. }
    apply: RInt_ext => y _; on_the_line; ring.
Qed.

(** P5 on the line, with nothing assumed: for continuous filters of bounded support and a scaling s
    (s = -1 is the reflection), s x + b aligns the layer exactly if |s| l_c(s y + b) = l_c(y) for
    all c and y. *)
Theorem P5_on_the_line (s : R) (nonzero : s <> 0%R) (C : Type) (l : C -> R_NormedModule -> R)
  (b : R_NormedModule) :
  (forall c, compactly_supported (l c)) ->
  aligns continuous_images (linear_layer line_integral C l) (scaling s nonzero)
    (fun x => scaling s nonzero x + b) <->
  forall c, criterion (Rabs s) (scaling s nonzero) b (l c).
Proof.
  move=> filters; apply: P5_linear_criterion => //.
  - exact: line_substitution.
  - exact: line_difference.
  - exact: line_definite.
  - move=> y; apply: (continuous_scal_r _ (fun y : R_NormedModule => y)); exact: continuous_id.
  - exists (Rabs (/ s)) => y; rewrite /= norm_scal_R; exact: Rle_refl.
  - move=> y; apply: (continuous_scal_r _ (fun y : R_NormedModule => y)); exact: continuous_id.
Qed.

(** With P6: on the line no layer with a nonzero filter is aligned by s x + b under a scaling, |s|
    other than 1. *)
Corollary P5_and_P6_on_the_line (s : R) (nonzero : s <> 0%R) (C : Type)
  (l : C -> R_NormedModule -> R) (b : R_NormedModule) :
  (forall c, compactly_supported (l c)) -> Rabs s <> 1%R ->
  aligns continuous_images (linear_layer line_integral C l) (scaling s nonzero)
    (fun x => scaling s nonzero x + b) ->
  forall c y, l c y = 0%R.
Proof.
  move=> filters scales /(P5_on_the_line s nonzero C l b filters) meets c.
  have [continuous_l bounded] := filters c.
  have one : (1%R : R_NormedModule) <> zero by rewrite /zero /=; lra.
  exact: (P6_no_scaling (Rabs s) s nonzero b _ (l c) scales (Rabs_no_R0 _ nonzero) one continuous_l
    bounded (meets c)).
Qed.

End Line.

(** Mutant: "l_c(h y) = l_c(y), without the determinant and without the shift". Refuted on the line
    by the hat about 1 and the reflection: the warp 2 - x aligns it, though l(-y) is not l(y). *)
Theorem P5_mutant_no_shift : ~ forall (s : R) (nonzero : s <> 0%R) (l : R_NormedModule -> R)
  (b : R_NormedModule),
  compactly_supported l ->
  aligns continuous_images (linear_layer line_integral unit (fun _ => l)) (scaling s nonzero)
    (fun x => scaling s nonzero x + b) <->
  criterion (Rabs s) (scaling s nonzero) zero l.
Proof.
  move=> claimed.
  have nonzero : (- 1)%R <> 0%R by lra.
  pose l (y : R_NormedModule) : R := hat (y - 1)%R.
  have supported : compactly_supported l.
  { split.
    - move=> y; apply: (continuous_comp (fun y : R => (y - 1)%R) hat); last exact: continuous_hat.
      apply: (continuous_minus (fun y : R => y) (fun _ => 1%R));
        [exact: continuous_id | exact: continuous_const].
    - exists 2%R => y; rewrite /norm /= /abs /= /l /hat => far; apply: clamp_low.
      have := Rabs_triang_inv y 1; rewrite Rabs_R1; lra. }
  have one : Rabs (- 1) = 1%R by rewrite Rabs_Ropp Rabs_R1.
  have meets : forall c : unit, criterion (Rabs (- 1)) (@scaling R_NormedModule (- 1) nonzero) 2%R
    l.
  { move=> _ y; rewrite one Rmult_1_l /l /hat; on_the_line; congr clamp.
    by have -> : (- (1) * y + 2 - 1)%R = (- (y - 1))%R; [ring | rewrite Rabs_Ropp]. }
  have aligned := proj2 (P5_on_the_line (- 1) nonzero unit (fun _ => l) 2%R (fun _ => supported))
    meets.
  have := proj1 (claimed (- 1)%R nonzero l 2%R supported) aligned 1%R.
  rewrite one /l /hat; on_the_line.
  have -> : clamp (1 - Rabs (1 - 1)) = 1%R by rewrite clamp_high // Rminus_eq_0 Rabs_R0; lra.
  have -> : clamp (1 - Rabs (- (1) * 1 + 0 - 1)) = 0%R.
  { rewrite clamp_low //; have -> : (- (1) * 1 + 0 - 1)%R = (- (2))%R by ring.
    rewrite Rabs_Ropp Rabs_pos_eq; lra. }
  lra.
Qed.
