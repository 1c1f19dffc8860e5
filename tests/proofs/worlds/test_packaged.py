"""What comes in the wheels of other packages."""

import pytest

from proofs.claims.p13_spectral_law import NoiseCase
from proofs.worlds.packaged import photographs, stem_kernels


def test_stem() -> None:
    """The packaged stem has 32 kernels of 3 x 3, and a drawn bank is shown in words."""
    assert stem_kernels().shape == (32, 3, 3)
    assert NoiseCase((), 0.2, 2).bank.shape == (32, 3, 3)
    assert "drawn 5 x 5" in repr(NoiseCase((1,) * 25, 0.35, 1))


def test_photographs() -> None:
    """Crops are squares without a mean; a crop that is too large is refused."""
    crops = photographs(64)
    assert {crop.shape for crop in crops} == {(64, 64)}
    assert max(abs(crop.mean()) for crop in crops) < 1e-12
    with pytest.raises(ValueError, match="side = 5000"):
        photographs(5000)
