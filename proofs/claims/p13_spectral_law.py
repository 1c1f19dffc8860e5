"""P13. A first layer's residual follows from its weights and the images' spectrum.

Statement. Let f be stationary noise of mean 0 and power spectrum S, and let a linear layer have
filters l_c with Fourier transforms L_c. Warping the maps of T_h f back by h leaves the relative
mean squared residual

    rho_c(h) = int S abs(L_c(h^-T w) - L_c(w))^2 dw / int S abs(L_c(w))^2 dw.

P13b. If the noise is Gaussian, then after ReLU the relative mean squared residual is

    (v / 2 + v' / 2 - 2 k) / (v / 2),  k = (v v')^(1/2) (sin t + (pi - t) cos t) / (2 pi),
    v = int S abs(L_c(w))^2 dw,  v' = int S abs(L_c(h^-T w))^2 dw,
    (v v')^(1/2) cos t = int S Re(conj(L_c(w)) L_c(h^-T w)) dw.

Proof. By P5 the warped maps are W = f * U l_c with U l = abs(det h) l(h .), and F = f * l_c are
the reference, both filters on the *same* image f. Substituting z = h y, the transform of U l is
int l(h y) abs(det h) exp(-i w y) dy = int l(z) exp(-i w h^-1 z) dz = L(h^-T w). Filtering
stationary noise by d gives stationary noise of spectrum S abs(D)^2, whose variance is the integral
of that (Wiener and Khinchin). Take d = U l_c - l_c for the numerator and d = l_c for the
denominator. The same rule applied to the sum of both gives the covariance of F and W.

P13b. If f is Gaussian, F(x) and W(x) are jointly Gaussian with mean 0, variances v, v' and a
correlation cos t. ReLU(F)^2 has mean v / 2, by symmetry. For the mixed moment write F = v^(1/2) r
cos(a), W = v'^(1/2) r cos(a - t) with a uniform angle a and an independent radius r of density r
exp(-r^2 / 2), for which E r^2 = 2. Both are positive for a between t - pi / 2 and pi / 2, so

    E ReLU(F) ReLU(W) = 2 (v v')^(1/2) / (2 pi) int cos(a) cos(a - t) da
                      = (v v')^(1/2) / (2 pi) int (cos t + cos(2 a - t)) da
                      = (v v')^(1/2) / (2 pi) ((pi - t) cos t + sin t).

Expanding E (ReLU W - ReLU F)^2 gives the claim. A sampled filter has L(w) = sum_k l[k] exp(-i w k),
continued to all frequencies, as it acts on a band-limited image at any real position.

P13c. If the moved map G is known at the points q of a lattice only, and is read between them with a
kernel K, then W(x) = sum_q K(h x - q) G(q) in P13 and with ReLU(G(q)) in P13b. All covariances are
integrals again,

    E G(q) G(q') = int S abs(L_c(v))^2 exp(i v (q - q')) dw,  v = h^-T w,
    E F(x) G(q) = int S conj(L_c(w)) L_c(v) exp(i v (q - h x)) dw,

because G holds the wave w of the image as the wave v, times L_c(v). Both, or by P13b those of the
rectified values, summed with the weights K, give E W^2 and E F W, which depend on where h x lies
between lattice points and are averaged over the positions. QED

Check. Noise that consists of finitely many waves of random phase has exact means: over four phases
for each wave. There, the law is compared with forward passes of transformed waves to rounding, and
the mixed moment with a quadrature over the angle a. On 1/f noise, a 256 x 256 image at a time, P13c
must explain the measured residuals of all channels under all rotations and scalings, linear and
after ReLU, also of the stem at its own stride of 2, whose map cannot carry what the noise holds:
there the law without sampling fails, and is the control. Photographs are reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from jaxtyping import Float64

from proofs.claim import Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import kernels, linear_maps, quarters
from proofs.worlds import plane_maps, sampled_spectral, spectral
from proofs.worlds.packaged import photographs, stem_kernels
from proofs.worlds.plane_maps import Matrix
from proofs.worlds.sampled_spectral import Reading
from proofs.worlds.spectral import Bank

SIDE = 256
IMAGES = 8
TRANSFORMS = (
    *(plane_maps.rotation(a) for a in (5, 10, 20, 30, 45, 60, 90)),
    *(plane_maps.scaling(s) for s in (0.8, 0.9, 1.1, 1.2, 1.4)),
)


@dataclass(frozen=True)
class WaveCase:
    """Kernels, a linear map, and noise of one or two waves.

    Args:
        bank: C x 3 x 3.
        h: linear map.
        waves: (x, y, power) with frequencies in cycles per pixel.
    """

    bank: Bank
    h: Matrix
    waves: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, repr=False)
class NoiseCase:
    """A filter bank, noise and a stride.

    Args:
        entries: kernels of a random bank, channel by channel; empty for the packaged stem.
        cut: highest frequency of the noise, cycles per pixel.
        stride: of the layer.
    """

    entries: tuple[int, ...]
    cut: float
    stride: int

    def __repr__(self) -> str:
        bank = f"a bank of {len(self.bank)} drawn 5 x 5 kernels" if self.entries else "the stem"
        return f"{bank}, stride {self.stride}, noise up to {self.cut} cycles per pixel"

    @property
    def bank(self) -> Bank:
        """The kernels, C x k x k."""
        if not self.entries:
            return stem_kernels()
        return np.array(self.entries, dtype=np.float64).reshape(-1, 5, 5)


@st.composite
def wave_cases(draw: DrawFn) -> WaveCase:
    """Kernels that feel at least one of the waves."""
    frequency = quarters(0, 2).map(lambda q: q / 8 + 1 / 16)
    wave = st.tuples(frequency, frequency, st.sampled_from([1.0, 2.0, 0.5]))
    waves = draw(st.lists(wave, min_size=1, max_size=2, unique=True).map(tuple), "waves")
    bank = draw(kernels(2, 1, 3), "kernels")[:, 0]
    w = np.array(waves)
    assume((np.abs(spectral.response(bank, w[:, :2])) ** 2).max(axis=1).min() > 0.1)
    return WaveCase(bank, draw(linear_maps(), "h"), waves)


@st.composite
def random_banks(draw: DrawFn) -> NoiseCase:
    """Banks of eight 5 x 5 kernels."""
    entries = st.lists(st.integers(-4, 4), min_size=25, max_size=25).filter(
        lambda kernel: sum(map(abs, kernel)) >= 10
    )
    drawn = [draw(entries, f"kernel {c}") for c in range(8)]
    return NoiseCase(tuple(v for kernel in drawn for v in kernel), 0.35, 1)


stem_cases = st.sampled_from([NoiseCase((), 0.35, 1), NoiseCase((), 0.2, 2)])
aliased_cases = st.just(NoiseCase((), 0.35, 2))


def predicted(
    bank: Bank,
    frequencies: spectral.Frequencies,
    power: Float64[np.ndarray, "n"],
    transforms: Sequence[Matrix],
) -> Float64[np.ndarray, "2 transforms channels"]:
    """The law and P13b.

    Args:
        bank: C x k x k kernels.
        frequencies: n x 2.
        power: S, n values.
        transforms: linear maps.

    Returns:
        Relative mean squared residuals, linear and after ReLU.
    """
    moments = spectral.covariances(bank, frequencies, power, transforms)
    return np.stack([spectral.linear_residual(moments), spectral.rectified_residual(moments)])


def wave_moments(case: WaveCase) -> np.ndarray:
    """E F^2, E W^2, E F W and E (W - F)^2 over random phases, from forward passes at one place.

    Returns:
        C x 4.
    """
    x, back = np.array([0.3, -0.2]), plane_maps.inverse(case.h)
    taps = spectral.taps(case.bank.shape[-1])
    weights = case.bank.reshape(len(case.bank), -1)
    # the mean over four phases a quarter apart is that over all: of cos^2 it is 1 / 2, and of a
    # product of two waves, whose phases are independent, 0
    phases = list(product(np.arange(4) * np.pi / 2, repeat=len(case.waves)))

    def image(points: plane_maps.Points, phase: tuple[float, ...]) -> np.ndarray:
        terms = [
            np.sqrt(2 * power) * np.cos(2 * np.pi * (points @ [u, v]) + shift)
            for (u, v, power), shift in zip(case.waves, phase, strict=True)
        ]
        return np.asarray(sum(terms))

    before = np.array([weights @ image(x + taps, p) for p in phases])
    # W(x) = (G T_h f)(h x) = sum_t l(t) (T_h f)(h x + t) = sum_t l(t) f(h^-1 (h x + t))
    moved = plane_maps.move(back, plane_maps.move(case.h, x[None]) + taps)
    after = np.array([weights @ image(moved, p) for p in phases])
    products = before**2, after**2, before * after, (after - before) ** 2
    return np.stack([values.mean(axis=0) for values in products], axis=1)


def wave_residual(case: WaveCase) -> float:
    """The law against forward passes, and the mixed moment of P13b against a quadrature.

    Returns:
        The larger of the two relative differences.
    """
    w = np.array(case.waves)
    before, after, between, difference = wave_moments(case).T
    law, rectified = predicted(case.bank, w[:, :2], w[:, 2], [case.h])[:, 0]
    gap = np.abs(law - difference / before).max()
    nodes, node_weights = np.polynomial.legendre.leggauss(40)
    product_ = np.sqrt(before * after)
    t = np.arccos(np.clip(between / np.where(product_ > 0, product_, 1), -1, 1))[:, None]
    # 2 / (2 pi) int cos(a) cos(a - t) da over [t - pi / 2, pi / 2], the nodes' [-1, 1] stretched by
    # (pi - t) / 2 about t / 2
    a = t / 2 + (np.pi - t) / 2 * nodes
    mean = (np.pi - t[:, 0]) / 2 * ((np.cos(a) * np.cos(a - t)) @ node_weights) / np.pi * product_
    expected = (before / 2 + after / 2 - 2 * mean) / (before / 2)
    return float(max(gap, np.abs(expected - rectified).max()) / max(1.0, law.max()))


def inverse_read_residual(case: WaveCase) -> float:
    """The same for a law that reads the transform at h^T w instead of h^-T w."""
    w = np.array(case.waves)
    law, _ = predicted(case.bank, w[:, :2], w[:, 2], [plane_maps.inverse(case.h)])[:, 0]
    before, _, _, difference = wave_moments(case).T
    gap = np.abs(law - difference / before).max()
    return float(gap / max(1.0, law.max()))


def curves(
    bank: Bank, power: Float64[np.ndarray, "n"], transforms: Sequence[Matrix] = TRANSFORMS
) -> Float64[np.ndarray, "2 transforms channels"]:
    """`predicted` for a spectrum on the frequencies of a 256 x 256 image."""
    halved = spectral.one_of_each_pair(spectral.frequency_grid(SIDE), power)
    return predicted(bank, *halved, transforms)


def sampled_curves(
    bank: Bank,
    power: Float64[np.ndarray, "n"],
    transforms: Sequence[Matrix] = TRANSFORMS,
    *,
    stride: int = 1,
    radius: float = spectral.RADIUS,
) -> Float64[np.ndarray, "2 transforms channels"]:
    """P13c for bicubic reading and a spectrum on the frequencies of a 256 x 256 image."""
    halved = spectral.one_of_each_pair(spectral.frequency_grid(SIDE), power)
    reading = Reading(stride=stride, positions=spectral.disc(radius, spectral.STEP))
    return sampled_spectral.residuals(bank, *halved, transforms, reading)


@lru_cache(maxsize=8)
def noise_points(case: NoiseCase) -> np.ndarray:
    """Measured residuals on noise; kept, because the negative control asks for them again.

    Returns:
        2 (linear, ReLU) x transforms x C.
    """
    images = [spectral.noise(SIDE, case.cut, seed) for seed in range(IMAGES)]
    return spectral.measured_residuals(
        images, case.bank, TRANSFORMS, stride=case.stride, negatives=True
    )


def unexplained(case: NoiseCase, law: Float64[np.ndarray, "2 transforms channels"]) -> float:
    """What a prediction leaves of the variance over channels and transformations.

    Args:
        case: drawn case.
        law: what is predicted.

    Returns:
        1 - R^2, the larger of linear and ReLU.
    """
    measured = noise_points(case)
    return max(1 - spectral.explained(a, b) for a, b in zip(law, measured, strict=True))


def _power(case: NoiseCase) -> Float64[np.ndarray, "n"]:
    return spectral.noise_power(spectral.frequency_grid(SIDE), case.cut)


def noise_residual(case: NoiseCase) -> float:
    """1 - R^2: what the law leaves unexplained."""
    return unexplained(case, sampled_curves(case.bank, _power(case), stride=case.stride))


def white_residual(case: NoiseCase) -> float:
    """1 - R^2 for a law that does not know the spectrum."""
    return unexplained(case, sampled_curves(case.bank, np.ones(SIDE * SIDE), stride=case.stride))


def unsampled_residual(case: NoiseCase) -> float:
    """1 - R^2 for a law that takes the map to be known everywhere."""
    return unexplained(case, curves(case.bank, _power(case)))


def observations() -> dict[str, float]:
    """The law where its assumptions do not hold, as it is.

    Returns:
        R^2 on photographs, with and without sampling, by name.
    """
    stem = stem_kernels()
    bank = np.random.default_rng(0).standard_normal((8, 5, 5))
    images = photographs(SIDE)
    power = spectral.periodogram(images)
    found = {}
    for name, kernels_, stride in (
        ("stem, stride 1", stem, 1),
        ("stem, stride 2", stem, 2),
        ("random 5 x 5 bank", bank, 1),
    ):
        measured = spectral.measured_residuals(images, kernels_, TRANSFORMS, stride=stride)
        for law, predictions in (
            ("", sampled_curves(kernels_, power, stride=stride)),
            (", sampling left out", curves(kernels_, power)),
        ):
            for kind, a, b in zip(("linear", "after ReLU"), predictions, measured, strict=True):
                found[f"R^2 on photographs, {name}, {kind}{law}"] = spectral.explained(a, b)
    return found


CLAIM = Claim(
    id="P13",
    title="spectral law",
    statement="The residual that the best warp leaves in a first layer follows from its weights "
    "and the images' spectrum; after ReLU too, for Gaussian images; at a stride, with aliasing.",
    formula="rho_c(h) = int S |L_c(h^-T w) - L_c(w)|^2 dw / int S |L_c(w)|^2 dw",
    assumptions=(
        "one linear layer, perhaps with ReLU",
        "stationary images of mean 0; Gaussian for P13b",
        "no bias, for P13b",
    ),
    sources=(
        Source("this project, from P5", "spectral law"),
        Source("Cho and Saul (NIPS 2009)", "2, arc-cosine kernels"),
    ),
    proof=__doc__,
    formal=Formal(
        missing="A law about random fields: it needs stationary processes, their spectral measure "
        "and Gaussian integrals. No library of Debian's Coq has them; it stays numerical.",
    ),
    settings=(
        Setting(
            name="continuum, waves",
            cases=wave_cases(),
            residual=wave_residual,
            tolerance=1e-10,
            why="finite sums; the angle t is an arc cosine, which rounds by 1e-8 near 0, squared",
            control=Control(
                statement="the transform is read at h^T w",
                residual=inverse_read_residual,
            ),
        ),
        Setting(
            name="noise, EfficientNet-Lite0 stem",
            cases=stem_cases,
            residual=noise_residual,
            tolerance=5e-3,
            why="R^2 of 0.995: eight images of finite size, and bicubic warps",
            share=0.012,
            control=Control(
                statement="the spectrum does not matter: white will do",
                residual=white_residual,
                refuted_above=0.02,
            ),
        ),
        Setting(
            name="noise above what the stem's map can carry",
            cases=aliased_cases,
            residual=noise_residual,
            tolerance=5e-3,
            why="R^2 of 0.995: eight images of finite size, phases told to an eighth of a sample",
            share=0.004,
            control=Control(
                statement="the map is known between its samples",
                residual=unsampled_residual,
                refuted_above=0.1,
            ),
        ),
        Setting(
            name="noise, random banks",
            cases=random_banks(),
            residual=noise_residual,
            tolerance=5e-3,
            why="R^2 of 0.995: eight images of finite size, and bicubic warps",
            share=0.008,
            control=Control(
                statement="the spectrum does not matter: white will do",
                residual=white_residual,
                refuted_above=0.02,
            ),
        ),
    ),
    observations=observations,
)
