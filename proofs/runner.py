"""Checks many claims, one setting at a time, in this process or in several."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from invariance_probe.machine import one_thread
from proofs.checking import Verdict, check_setting
from proofs.claims import CLAIMS

Observations = dict[str, dict[str, float]]


def run(ids: Sequence[str], examples: int, workers: int) -> tuple[list[Verdict], Observations]:
    """Check claims in all their settings, and measure what they report.

    Args:
        ids: of the claims.
        examples: cases asked for in each setting.
        workers: processes; the verdicts do not depend on their number.

    Returns:
        One verdict a setting, in the order of the claims, and the observations by claim.

    Raises:
        ValueError: fewer than one worker or example.
    """
    if workers < 1 or examples < 1:
        raise ValueError(f"workers = {workers}, examples = {examples}: both must be 1 or more.")
    # the expensive settings first, so that nobody is left with one at the end
    tasks = [(id_, number) for id_ in ids for number in range(len(CLAIMS[id_].settings))]
    order = sorted(tasks, key=lambda task: CLAIMS[task[0]].settings[task[1]].share)
    observing = [id_ for id_ in ids if CLAIMS[id_].observations is not None]
    found = _shared_out(
        [
            *(partial(observed, id_) for id_ in observing),
            *(partial(judged, *task, examples) for task in order),
        ],
        workers,
    )
    reports = dict(zip(observing, found, strict=False))
    verdicts = dict(zip(order, found[len(observing) :], strict=True))
    return [verdicts[task] for task in tasks], reports


def _shared_out(calls: Sequence[Callable[[], Any]], workers: int) -> list[Any]:
    """Results of calls, made by this process and `workers` - 1 others."""
    with one_thread():
        if workers == 1:
            return [call() for call in calls]
        context = get_context("spawn")  # forking after torch has started threads can hang
        with ProcessPoolExecutor(
            workers - 1, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            pending = [pool.submit(call) for call in calls]
            # this process begins at the end, before the others have started, and goes on to meet
            # them: what can be cancelled nobody has begun
            own = {
                number: calls[number]()
                for number in reversed(range(len(calls)))
                if pending[number].cancel()
            }
            return [own[n] if n in own else pending[n].result() for n in range(len(calls))]


def judged(id_: str, number: int, examples: int) -> Verdict:
    """Check one setting of one claim.

    Args:
        id_: of the claim.
        number: of the setting.
        examples: cases asked for.

    Returns:
        The verdict.
    """
    return check_setting(CLAIMS[id_], CLAIMS[id_].settings[number], examples)


def observed(id_: str) -> dict[str, float]:
    """Measure what a claim reports without judging it.

    Args:
        id_: of the claim.

    Returns:
        Values by name; empty if it reports nothing.
    """
    measure = CLAIMS[id_].observations
    return {} if measure is None else measure()
