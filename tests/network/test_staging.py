"""What moving operations read and return passes through modules that can be hooked."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invariance_probe.network.staging import Staged
from invariance_probe.network.watch import Watch


class Shrinking(nn.Module):
    """Halves a map and doubles it again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.interpolate(self.conv(x), scale_factor=0.5), scale_factor=2.0)


def test_a_staged_network_is_the_network_and_its_stages_can_be_replaced() -> None:
    """Not a bit differs, and a hook on a stage reaches what follows."""
    network = Shrinking().eval()
    images = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    watch = Watch(network)
    with torch.no_grad():
        watch.run(images)
        operations = list(watch.samplings)
        staged = Staged(network, operations).eval()
        assert len(operations) == 2
        assert torch.equal(staged(images), network(images))
        staged.returns[0].register_forward_hook(lambda *_: torch.zeros(2, 2, 6, 6))
        assert not staged(images).any()
