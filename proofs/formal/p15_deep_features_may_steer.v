(** * P15. Deep features may say how to move the image, as long as the image is what moves. *)

From Coq Require Import Reals Lra FunctionalExtensionality ssreflect.
From Coquelicot Require Import Coquelicot.
From Formal Require Import setting r2.

Section P15.
Context {V : AbelianGroup} {K F Y : Type}.

(** Deep features, shared with the classifier or not; any extractor. *)
Variable features : extractor V K F.

(** A localizer predicts a linear map from them; any function. *)
Variable localizer : (V -> F) -> GL V.

(** The prediction q(f), and the image that is transformed by its inverse. *)
Definition prediction (f : V -> K) : GL V := localizer (features f).
Definition straightened (f : V -> K) : V -> K := T (prediction f)^-1 f.

(** P15. If the prediction is right, q(T_h f) = h q(f), then transforming the input aligns exactly,
    whatever the features and the classifier G are: G T_(q(T_h f)^-1) T_h f = G T_(q(f)^-1) f. *)
Theorem P15_deep_features_may_steer : forall (G : extractor V K Y) (h : GL V) f,
  (forall x, prediction (T h f) x = product h (prediction f) x) ->
  G (straightened (T h f)) = G (straightened f).
Proof.
  move=> G h f right; congr G; apply: functional_extensionality => x.
  by rewrite /straightened /T /= right /= back_forth.
Qed.

End P15.

(** Right is a condition on the pair (f, h): where T_h f = f no prediction is right, unless h is the
    identity. That deep features can tell it, say by the moments of the maps of a linear layer, is
    shown by numbers in the Python claim.

    The assumption can be met, for every scaling of every ramp f(x) = a x on the line: the slope
    tells the scale. *)
Definition slope_scale (f : R -> R) : GL R_NormedModule :=
  match Req_EM_T (f 1) 0 with
  | left _ => identity
  | right nonzero => scaling (/ f 1%R) (Rinv_neq_0_compat _ nonzero)
  end.

Theorem P15_instance : forall a s (nonzero : s <> 0%R), a <> 0%R ->
  let f := (fun x : R => a * x)%R in
  forall x, slope_scale (T (scaling s nonzero) f) x = product (scaling s nonzero) (slope_scale f) x.
Proof.
  move=> a s nonzero a_nonzero f x.
  have slope : f 1%R = a by rewrite /f Rmult_1_r.
  have scaled_slope : T (scaling (V := R_NormedModule) s nonzero) f 1%R = (a / s)%R.
  { rewrite /f; on_the_line; field; exact: nonzero. }
  rewrite /slope_scale; case: (Req_EM_T (T _ f 1%R) 0) => [flat|steep].
  { exfalso; rewrite scaled_slope in flat.
    exact: (Rmult_integral_contrapositive_currified _ _ a_nonzero (Rinv_neq_0_compat _ nonzero)). }
  case: (Req_EM_T (f 1%R) 0) => [flat|steep'].
  { by exfalso; rewrite slope in flat. }
  cbn [forth product scaling]; rewrite scaled_slope slope; on_the_line; as_real; field; by split.
Qed.

(** Mutant: "right means q(T_h f) = q(f) h", the factors exchanged. Refuted on R^2 by the exchange
    of the axes and a stretch of one of them. *)
Theorem P15_mutant_order : ~ forall (V : AbelianGroup) (K Y : Type) (q : (V -> K) -> GL V)
  (G : extractor V K Y) h f,
  (forall x, q (T h f) x = product (q f) h x) ->
  G (T (q (T h f))^-1 (T h f)) = G (T (q f)^-1 f).
Proof.
  move=> claimed.
  have two : (2 * 1 - 0 * 0)%R <> 0%R by lra.
  have exchange : (0 * 0 - 1 * 1)%R <> 0%R by lra.
  pose h := matrix 2 0 0 1 two; pose k := matrix 0 1 1 0 exchange.
  pose f (x : R2) : R := fst x.
  pose q (g : R2 -> R) : GL R2 := if Req_EM_T (g (2%R, 0%R)) 2 then k else product k h.
  have here : q f = k by rewrite /q /f /=; case: Req_EM_T.
  have there : q (T h f) = product k h.
  { rewrite /q /f /h T_matrix /=; case: Req_EM_T => // wrong; exfalso; lra. }
  have right : forall x, q (T h f) x = product (q f) h x by move=> x; rewrite here there.
  have := f_equal (fun F => F (1%R, 1%R)) (claimed R2 R R q (fun f => f) h f right).
  rewrite here there /h /k /f /T /= /dot_row /=; lra.
Qed.

(** Mutant: "the right parameters align the feature maps as well". Refuted on the line by the
    difference of neighbours, f(x) - f(x - 1), of a ramp. *)
Theorem P15_mutant_moved_features : ~ forall (V : AbelianGroup) (K Y : Type) (q : (V -> K) -> GL V)
  (G : extractor V K Y) h f,
  (forall x, q (T h f) x = product h (q f) x) ->
  T (q (T h f))^-1 (G (T h f)) = T (q f)^-1 (G f).
Proof.
  move=> claimed.
  have two : 2%R <> 0%R by lra.
  have one : 1%R <> 0%R by lra.
  have := f_equal (fun F => F 0%R) (claimed R_NormedModule R R slope_scale
    (fun f x => f x - f (x - 1))%R _ _ (P15_instance 1%R 2%R two one)).
  rewrite /slope_scale /T /=; on_the_line; case: Req_EM_T => [|steep]; first lra.
  case: Req_EM_T => [|steep']; first lra.
  cbn; lra.
Qed.
