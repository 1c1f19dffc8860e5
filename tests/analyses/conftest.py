"""Trainings, made once for all questions that rest on them."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

from tests.analyses.planting import Planted
from tests.analyses.trainings import QUESTIONS


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all questions look for their trainings."""
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(scope="session")
def frames(folder: Path) -> Iterator[dict[ModuleType, pd.DataFrame]]:
    """What the tiny preset of each question measures, in this order."""
    threads = torch.get_num_threads()
    # trainings as small as these are slower on several threads
    torch.set_num_threads(1)
    yield {
        question: question.measure(replace(question.PRESETS["tiny"], trainings=folder))
        for question in QUESTIONS
    }
    torch.set_num_threads(threads)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """An analysis in the place of `speed`."""
    module = Planted()
    monkeypatch.setitem(sys.modules, "analyses.questions.speed", module)
    return module
