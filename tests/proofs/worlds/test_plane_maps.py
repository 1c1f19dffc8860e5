"""Maps of the plane."""

import numpy as np
import pytest

from proofs.worlds import plane_maps


def test_plane() -> None:
    """Positive angles turn counter-clockwise as displayed, quarter turns are exact."""
    right = np.array([[1.0, 0.0]])
    assert plane_maps.move(plane_maps.rotation(90), right).tolist() == [[0.0, -1.0]]
    assert np.allclose(plane_maps.reflection(45) @ plane_maps.reflection(45), np.eye(2))
    assert len(plane_maps.cyclic_group(3)) == 3
    with pytest.raises(ValueError, match="not a finite angle"):
        plane_maps.rotation(float("nan"))
    with pytest.raises(ValueError, match="singular"):
        plane_maps.scaling(0)
    with pytest.raises(ValueError, match="at least one element"):
        plane_maps.cyclic_group(0)
