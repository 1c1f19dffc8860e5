"""Prints what the public functions make of values that no computation stands.

Run as a program, where nothing but the package itself looks at what it is given.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

import invariance_probe as ip

NAN, INF = float("nan"), float("inf")
NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
IMAGES, MAPS = torch.rand(2, 3, 16, 16), torch.rand(2, 4, 9, 9)
REGION = torch.ones(2, 9, 9, dtype=torch.bool)
UNFIT: dict[str, object] = {
    "three dimensions": MAPS[0],
    "a list": [1, 2],
    "numpy": MAPS.numpy(),
    "sparse": MAPS.to_sparse(),
    "meta": MAPS.to("meta"),
    "complex": MAPS.to(torch.complex64),
}
NO_MAPS = UNFIT | {
    "integers": MAPS.long(),
    "bytes": MAPS.to(torch.uint8),
    "float8": MAPS.to(torch.float8_e4m3fn),
}


class Raising(nn.Module):
    """Raises in forward."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Fail."""
        raise KeyError("a key\nof two lines")


class _Stream(IterableDataset[torch.Tensor]):
    """Images without a length."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Give them."""
        return iter(IMAGES)


class _Raising(Dataset[torch.Tensor]):
    """Two images that cannot be loaded."""

    def __len__(self) -> int:
        """Count them."""
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        """Fail."""
        raise KeyError("a key\nof two lines")


def _probe(**given: object) -> object:
    usual: dict[str, object] = {
        "model": NET,
        "images": IMAGES,
        "layers": "0",
        "transforms": [ip.Rotation(90)],
        "methods": ["oracle"],
    }
    return ip.probe(**(usual | given))  # type: ignore[arg-type]  (bad on purpose)


def cases() -> dict[str, Callable[[], object]]:
    """Name calls of public functions with something that cannot be used."""
    found: dict[str, Callable[[], object]] = {}
    options: dict[str, tuple[object, ...]] = {
        "seed": (-1, 1.5, "a", None),
        "crop": (-5, 0, 8.5, 17),
        "batch_size": (0, 1.5),
        "margin": (NAN, INF, -1, "a"),
        "mean": (NAN, "a", [0.1, 0.2]),
        "std": (0.0, NAN, -1),
        "fill": (INF,),
        "layers": ([], [3], "nope", nn.ReLU()),
        "methods": ([], ["nope"]),
        "transforms": ([], ["rotation"], 90, None),
        "images": (IMAGES[0], IMAGES[:0], IMAGES[..., :0], IMAGES * NAN, IMAGES * INF, [1], None),
        "model": (None, nn.Conv2d(3, 4, 3, device="meta"), Raising()),
    }
    for name, values in options.items():
        for number, value in enumerate(values):
            found[f"probe {name} {number}"] = lambda n=name, v=value: _probe(**{n: v})
    for name, value in UNFIT.items():
        found[f"probe images {name}"] = lambda v=value: _probe(images=v)
        found[f"list_layers {name}"] = lambda v=value: ip.list_layers(NET, v)
    for kind, value in {
        "a generator": iter(IMAGES),
        "a dict": {"images": IMAGES},
        "an array": MAPS.numpy(),
        "arrays": list(MAPS.numpy()),
        "dicts": [{"image": IMAGES[0]}],
        "no files": ["/nope/a.png"],
        "no folder": "/nope",
        "a stream": _Stream(),
        "batches of vectors": [IMAGES, torch.rand(2, 3)],
        "batches of two sizes": [IMAGES, IMAGES[..., :9]],
        "a data set that raises": _Raising(),
        "a number": 3,
    }.items():
        found[f"probe images of {kind}"] = lambda v=value: _probe(images=v)
    found["list_layers channels"] = lambda: ip.list_layers(NET, IMAGES[:, :1])
    found["list_layers model"] = lambda: ip.list_layers(None, IMAGES)
    found["recover labels"] = lambda: ip.recover(
        NET, IMAGES, layers="0", transforms=[ip.Rotation(3)], labels=["a", "b"]
    )
    for function in (ip.align, ip.align_flow):
        named = function.__name__
        for name, value in NO_MAPS.items():
            found[f"{named} reference {name}"] = lambda f=function, v=value: f(v, MAPS)
            found[f"{named} moved {name}"] = lambda f=function, v=value: f(MAPS, v)
        for number, warp in enumerate((
            torch.zeros(2, 3),
            torch.full((2, 3), NAN),
            torch.eye(3),
            torch.zeros(3, 2, 3),
            [[1, 0, 0], [0, 1, 0]],
        )):
            found[f"{named} oracle {number}"] = lambda f=function, v=warp: f(MAPS, MAPS, oracle=v)
        for key, value in {
            "region": REGION[:, :3],
            "channel_mean": torch.rand(3),
            "max_distortion": NAN,
        }.items():
            found[f"{named} {key}"] = lambda f=function, k=key, v=value: f(MAPS, MAPS, **{k: v})
        found[f"{named} region type"] = lambda f=function: f(MAPS, MAPS, region=REGION.float())
    for name, value in NO_MAPS.items():
        found[f"any_warp_bound {name}"] = lambda v=value: ip.any_warp_bound(v, MAPS, REGION)
        one = value[0] if isinstance(value, torch.Tensor) and value.dim() == 4 else value
        if name != "three dimensions":  # which a certificate is for
            found[f"certify {name}"] = lambda v=one: ip.certify(v, MAPS[0])
    found["any_warp_bound region"] = lambda: ip.any_warp_bound(MAPS, MAPS, REGION.float())
    found["certify oracle"] = lambda: ip.certify(MAPS[0], MAPS[0], oracle=torch.zeros(2, 3))
    for kind in (ip.Rotation, ip.Scaling, ip.Shear, ip.Translation, ip.Reflection):
        for value in (NAN, INF, "a", None):
            found[f"{kind.__name__} {value}"] = lambda k=kind, v=value: k(v).matrix
    for number, matrix in enumerate((None, torch.zeros(2, 3), torch.full((2, 3), NAN), "a")):
        found[f"Affine {number}"] = lambda m=matrix: ip.Affine(m).matrix
    for sweep in ((0, 1e9, 1), (0, 1, 1e-320), (0, INF, 1), (5, 1, 1), (0, 1, 0), ("a", 1, 1)):
        found[f"sweep {sweep}"] = lambda s=sweep: ip.sweep("rotation", *s)
    for name in (3, None, "nope", ":", "json:loads", "invariance_probe_broken:x"):
        found[f"load_model {name}"] = lambda n=name: ip.load_model(n)
    for folder in (3, None, "/nope", "a\0b"):
        found[f"open_images {folder!r}"] = lambda n=folder: ip.open_images(n, 8)
    found["open_images canvas"] = lambda: ip.open_images("photographs", 0)
    found["open_images channels"] = lambda: ip.open_images("photographs", 8, channels=2)
    return found


def main() -> None:
    """Print, by name, the error that each call raised and its message."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        broken = "raise RuntimeError('no\\nlicence')"
        Path(folder, "invariance_probe_broken.py").write_text(broken, encoding="utf-8")
        sys.path.append(folder)
        said = {}
        for name, call in cases().items():
            try:
                call()
            except BaseException as error:
                said[name] = type(error).__name__, str(error)
            else:
                said[name] = "nothing", ""
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
