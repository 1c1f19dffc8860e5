"""Every claim has a picture, and every picture can be drawn."""

from pathlib import Path

import numpy as np
from PIL import Image

from proofs import command
from proofs.claims import CLAIMS
from proofs.gallery import PICTURES, draw


def test_every_claim_has_a_picture(tmp_path: Path) -> None:
    """All sixteen are drawn, none of them blank, none of them the same."""
    assert list(PICTURES) == list(CLAIMS)
    files = draw(list(CLAIMS), tmp_path / "gallery")
    assert len(files) == 16
    seen = set()
    for path in files:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert pixels.std() > 5, f"{path.name} is blank"
        seen.add(pixels.tobytes())
    assert len(seen) == 16


def test_gallery_of_chosen_claims(tmp_path: Path, capsys) -> None:
    """The command draws what it is asked for and names the files."""
    command.main(["P8", "--gallery", str(tmp_path)])
    assert capsys.readouterr().out.strip() == str(tmp_path / "p8_channels_swap.png")
