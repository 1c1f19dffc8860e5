"""Networks whose moving operations are layers, so that what they read and return can be probed."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.network.operations import Operation, Sampling
from invariance_probe.network.watch import Watch


class Staged(nn.Module):
    """A network that passes what some of its operations read and return through modules of its own.

    So `reads.0`, `returns.0`, `reads.1`, ... are layers like any other for `probe` and `recover`;
    the network's own are `network.NAME`. An operation that reads the same several times shows what
    it reads once, and each time what comes out.

    Args:
        network: Any module, which is not copied.
        operations: What `Watch` found in it.

    Attributes:
        network: What was given.
        operations: What was given.
        reads: What each operation reads passes through these.
        returns: What each operation returns passes through these.
    """

    def __init__(self, network: nn.Module, operations: Sequence[Operation]) -> None:
        super().__init__()
        self.network, self.operations = network, tuple(operations)
        self.reads = nn.ModuleList(nn.Identity() for _ in operations)
        self.returns = nn.ModuleList(nn.Identity() for _ in operations)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Any:
        """Run the network.

        Args:
            images: Its input.

        Returns:
            What it returns.
        """
        return _Stages(self).run(images)


class _Stages(Watch):  # type: ignore[no-untyped-call]
    """Shows what is read and returned to the modules of a staged network."""

    def __init__(self, staged: Staged) -> None:
        super().__init__(staged.network)
        self._numbers = {each: number for number, each in enumerate(staged.operations)}
        self._reads, self._returns = staged.reads, staged.returns
        self._raised: BaseException | None = None

    def run(self, images: Tensor) -> object:
        try:
            return super().run(images)
        except Exception:
            # within what torch.jit compiled, an error of ours becomes one of its own
            if self._raised is not None:
                raise self._raised from None
            raise

    def reads(self, operation: Operation, maps: Tensor) -> Tensor:
        return self._through(self._reads, operation, maps)

    def returns(self, operation: Operation, maps: Tensor) -> Tensor:
        return self._through(self._returns, operation, maps)

    def _saw(self, sampling: Sampling, *_: object) -> None:
        """Nothing is kept: the modules' hooks do that."""

    def _through(self, stages: nn.ModuleList, operation: Operation, maps: Tensor) -> Tensor:
        number = self._numbers.get(operation)
        if number is None:
            return maps
        try:
            passed: Tensor = stages[number](maps)
        except BaseException as error:
            self._raised = error
            raise
        return passed
