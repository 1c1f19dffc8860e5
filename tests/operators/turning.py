"""What the tests of several operators share."""

import torch
from torch import Tensor


def turned_boxes(boxes: Tensor, degrees: float, side: int) -> Tensor:
    """Boxes of a square image after it was turned counter-clockwise about its centre."""
    angle = torch.tensor(degrees, dtype=boxes.dtype).deg2rad()
    x, y = boxes[:, 0] - side / 2, boxes[:, 1] - side / 2
    turned = boxes.clone()
    turned[:, 0] = side / 2 + angle.cos() * x + angle.sin() * y
    turned[:, 1] = side / 2 - angle.sin() * x + angle.cos() * y
    turned[:, 4] += degrees
    return turned
