"""A run in shards, wherever they are carried out, is the run of one process, bit for bit."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import invariance_probe as ip
from invariance_probe import files
from invariance_probe.engines import Engine, Lost, Processes
from invariance_probe.machine import one_thread
from invariance_probe.probing import journal, passes, probe
from invariance_probe.probing.journal import Journal
from tests.probing.runs import assert_same

METHODS = (
    *("identity", "input", "oracle", "affine", "floor", "unrelated"),
    *("oracle+permutation", "affine+linear", "joint+orthogonal", "unrelated+linear"),
)


@dataclass(frozen=True, kw_only=True)
class Copies(Engine):
    """Carries every shard out with a copy of what is shared, as another machine has it.

    Attributes:
        lost: Numbers of shards, of the stage `of`, whose machines die.
        done: What was carried out.
    """

    lost: tuple[int, ...] = ()
    of: str = ""
    done: list[tuple[str, int]] = field(default_factory=list)

    def map(self, work: Callable[..., Any], shared: Any, items: Sequence[Any]) -> Iterator[Any]:
        """Work on the last item first.

        Args:
            work: What to do.
            shared: A stage.
            items: Numbers of shards.

        Yields:
            What the shards bring.
        """
        held = pickle.dumps(shared)
        # pickled as `torch.NAME` of a module that holds torch, such as a script no other can import
        assert b"torch.channels_last" not in held
        assert b"torch.contiguous_format" not in held
        found = {}
        for item in reversed(items):
            if shared.name == self.of and item in self.lost:
                found[item] = Lost(why="out of memory")
                continue
            self.done.append((shared.name, item))
            found[item] = pickle.loads(pickle.dumps(work(pickle.loads(held), item)))
        yield from (found[item] for item in items)


def net() -> nn.Module:
    """Make a small CNN.

    Returns:
        The same each time.
    """
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1, stride=2)
    )


def _probe(out: Path | None = None, **changes: Any) -> ip.ProbeResult:
    images = torch.rand(13, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    images[4] = images[1]  # so that the order is not the shuffled one
    options = {"methods": METHODS, "crop": 17, "batch_size": 3, "seed": 0} | changes
    return ip.probe(
        net(),
        images,
        layers=["0", "2"],
        transforms=[ip.Rotation(0), ip.Rotation(90), ip.Scaling(0.7)],
        out=out,
        **options,
    )


@pytest.fixture(autouse=True)
def _few_images_make_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "PAIRS_AT_ONCE", 8)
    monkeypatch.setattr(passes, "CHUNKS", 2)
    monkeypatch.setattr(probe, "JOINT_ROUNDS", 2)


@lru_cache
def _alone() -> ip.ProbeResult:
    """What one process finds."""
    return _probe()


def test_copies_that_know_nothing_of_each_other_find_the_same() -> None:
    """Three shards of each stage, the last one first: table, maps and permutations are the same."""
    others = Copies()
    assert_same(_probe(engine=others), _alone())
    stages = {name for name, _ in others.done}
    assert {"originals", "look", "turn 0", "score"} <= stages
    assert {shard for name, shard in others.done if name == "look"} == {0, 1, 2}


def test_processes_find_the_same() -> None:
    """Real ones, with a thread each, as this one has."""
    methods = ("oracle", "affine", "floor", "unrelated", "oracle+linear")
    with one_thread():
        assert_same(_probe(engine=Processes(count=2), methods=methods), _probe(methods=methods))


def test_the_order_of_additions_decides_on_bits() -> None:
    """What the shards' order is laid down for: added up otherwise, sums have other last digits."""
    moments = torch.rand(3, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert ((moments[0] + moments[1]) + moments[2] != moments[0] + (moments[1] + moments[2])).any()


def test_each_image_is_compared_with_one_of_its_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners go round within a shard, so that no shard asks for another's maps."""
    partners = _alone().config["partners"]
    known = [(one, other) for one, other in enumerate(partners) if other is not None]
    assert len(known) >= 11
    monkeypatch.setattr(passes, "CHUNKS", 100)
    together = _probe(methods=("unrelated",)).config["partners"]
    moved = sum(one != other for one, other in zip(partners, together, strict=True))
    assert 0 < moved <= 4  # the first image of each shard has another one, and no other image


def test_a_run_goes_on_with_another_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped amid a shard in this process, after some elsewhere, and so on, it ends the same."""
    monkeypatch.setattr(journal, "PAUSE", 0.0)
    monkeypatch.setattr(journal, "SHARE", float("inf"))
    monkeypatch.setattr(journal, "LOSS", 0.0)
    original, calls = Journal._commit, [0]

    def stopping(*given: Any) -> None:
        original(*given)
        calls[0] += 1
        if calls[0] % 4 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "_commit", stopping)
    stops = 0
    while stops < 50:
        try:
            got = _probe(tmp_path / "run", engine="here" if stops % 2 else Copies())
        except KeyboardInterrupt:
            stops += 1
        else:
            break
    assert 3 < stops < 50
    assert_same(got, _alone())


def test_a_lost_shard_is_named_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of its stage is carried out and is there when the same is run again."""
    out = tmp_path / "run"
    monkeypatch.setattr(journal, "PAUSE", 0.0)  # a run of two seconds leaves nothing behind
    with pytest.raises(ip.InvalidInputError, match=r"shard 2 of 3 was lost.*out of memory"):
        _probe(out, engine=Copies(lost=(1,), of="look"))
    assert (out / files.UNFINISHED).is_dir()
    again = Copies()
    got = _probe(out, engine=again)
    assert [shard for name, shard in again.done if name == "look"] == [1]
    assert "originals" not in {name for name, _ in again.done}
    assert_same(got, _alone())
    assert_same(ip.ProbeResult.load(out), _alone())
    assert not (out / files.UNFINISHED).exists()


def test_what_cannot_be_sent_is_refused_in_a_line() -> None:
    """A model of a closure does not go to another process."""

    class Inner(nn.Conv2d):
        """A class that no other process can import."""

    with pytest.raises(ip.InvalidInputError, match="cannot be sent to another process"):
        ip.probe(
            nn.Sequential(Inner(3, 4, 3)),
            torch.rand(4, 3, 16, 16),
            layers=["0"],
            transforms=[ip.Rotation(90)],
            methods=["oracle"],
            engine=Processes(count=1),
        )
