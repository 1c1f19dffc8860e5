"""The type checker of the tests: beartype, with int where float is wanted, as PEP 484 has it."""

from collections.abc import Callable

from beartype import BeartypeConf, BeartypeHintOverrides, beartype
from hypothesis.strategies import DrawFn

check = beartype(
    conf=BeartypeConf(
        is_pep484_tower=True,
        # a protocol that cannot be asked at run time
        hint_overrides=BeartypeHintOverrides({DrawFn: Callable}),
    )
)
