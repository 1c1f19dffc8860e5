'''Put a SpatialTransformer into your network.

`invariance_probe.SpatialTransformer` is a module: it predicts a motion from what it sees, by a
localizer of yours, and undoes it. It starts as the identity, so that a trained network works as
before on the day it is put in.

## At the input, where theory wants it (C0)

>>> import torch
>>> from torch import nn
>>> import invariance_probe as ip
>>> localizer = nn.Sequential(
...     nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
... )
>>> classifier = nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
...                            nn.Flatten(), nn.Linear(16, 10))
>>> network = nn.Sequential(ip.SpatialTransformer(localizer, features=8 * 16), classifier)
>>> images = torch.rand(2, 3, 64, 64)
>>> torch.allclose(network(images), classifier(images), atol=1e-4)  # before training
True

It is trained with the rest, by the same loss; no pose is ever shown to it. Give the localizer a
smaller learning rate if it jumps, and let `parametrisation` allow the motions that occur
(``"affine"`` by default).

## On a map (CX)

The same module takes maps: ``nn.Sequential(first, ip.SpatialTransformer(...), rest)``. For shifts
this is as good as at the input. For rotations and scalings the maps do not come back: that is what
this toolkit measures, and what the papers prove (P3, P11).

## Deep eyes, shallow hands (SLX)

What sees the pose may be deep (P15). Let the classifier's own first layers feed the localizer, and
move the *image*:

>>> class Shared(nn.Module):
...     """Looks through its first layer, turns the image, and begins again."""
...
...     def __init__(self):
...         super().__init__()
...         self.first = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU())
...         self.rest = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
...         localizer = nn.Sequential(self.first, nn.AdaptiveAvgPool2d(4), nn.Flatten())
...         self.transformer = ip.SpatialTransformer(localizer, features=8 * 16)
...
...     def forward(self, images):
...         return self.rest(self.first(self.transformer(images)))
>>> Shared()(images).shape
torch.Size([2, 10])

## Has it learnt anything?

Look at the predicted pose before you look at the error. Over the test set, the slope of predicted
against applied pose is 1 for a transformer that undoes everything and 0 for one that never took
off; comparing errors of transformers that have not taken off compares luck.

>>> poses = network[0].predict(images)  # pull-backs in normalised coordinates
>>> poses.shape
torch.Size([2, 3, 3])

The papers' own networks, with seeds, poses and intervals, are one command:
``invariance-probe train --data mnist-5k --perturbation rotation --variant cnn c0 c1 sl1``.
'''
