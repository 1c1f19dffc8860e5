"""From a question to a decision, on a real network.

**The question.** My classifier reads photographs that may be turned. Retraining is expensive. Could
a small spatial transformer inside the network, at some layer, undo the rotation? And if so, where?

The network is EfficientNet-Lite0 with its ImageNet weights; it comes with the extra `demo`, and so
do ten photographs.

## 1. Look at the layers

    invariance-probe layers --model efficientnet-lite0 --pattern '_blocks.[047]'

    name        channels        map   stride   offset
    _blocks.0         16  112 x 112        2        1
    _blocks.4         40    28 x 28        8        7
    _blocks.7         80    14 x 14       16       15

Stride and offset are measured: a cell of `_blocks.4` stands for 8 pixels, the first at pixel 7.

## 2. Measure

On the command line, with all ten photographs and six depths, within a minute on two cores:

    invariance-probe demo

Or in Python, here with fewer images and one layer, so that it is quick:

>>> import invariance_probe as ip
>>> model = ip.load_model("efficientnet-lite0")
>>> images, _ = ip.open_images("photographs", canvas=320)
>>> few = [images[number] for number in range(3)]
>>> result = ip.probe(model.module, few, layers="_blocks.4", transforms=ip.Rotation(90),
...                   crop=224, mean=model.mean, std=model.std)
>>> fvu = result.summary().query("metric == 'fvu'").set_index("method")["mean"]
>>> bool(fvu["floor"] < fvu["affine"] <= fvu["oracle"] < fvu["unrelated"])
True

## 3. Read: can any warp undo it?

![Residual of six layers of EfficientNet-Lite0 by angle](../../analyses/results/demo/rotation.png)

Rotations by up to 90 degrees, averaged; ten photographs, 95 % intervals in brackets:

| layer | `oracle` | `affine` | `floor` | `unrelated` |
|---|---|---|---|---|
| `_blocks.0` | 0.62 (0.45–0.76) | 0.57 (0.41–0.69) | 0.22 (0.14–0.30) | 1.71 (1.49–1.95) |
| `_blocks.2` | 0.98 (0.80–1.09) | 0.91 (0.74–1.02) | 0.22 (0.17–0.27) | 1.72 (1.58–1.86) |
| `_blocks.4` | 1.17 (0.98–1.26) | 0.91 (0.44–1.00) | 0.18 (0.06–0.24) | 1.81 (1.61–1.98) |
| `_blocks.7` | 0.97 (0.46–1.06) | 0.82 (0.34–0.91) | 0.15 (0.10–0.19) | 1.87 (1.73–2.02) |
| `_blocks.10` | 0.89 (0.83–0.93) | 0.69 (0.63–0.74) | 0.16 (0.12–0.21) | 1.86 (1.59–2.25) |
| `_blocks.15` | 0.58 (0.42–0.74) | 0.48 (0.33–0.63) | 0.09 (0.06–0.11) | 2.24 (1.80–4.61) |

A perfect layer would leave the floor. Every layer leaves 2.5 to 5.5
times that, and the middle ones nearly as much as if each channel were replaced by its mean. There is no layer at which a transformer
of the map could undo a rotation.

## 4. Ask why

![Parts of the residual of EfficientNet-Lite0, by layer](../../analyses/results/demo/parts.png)

Early, channels have mixed: a matrix learnt from other images takes `_blocks.2` from 0.98 to 0.36.
The information is there, but no warp moves it between channels. A group-equivariant layer would
need a permutation only, and that removes little (0.98 to 0.80). Deep, even the bound that is proven
for *every* warp stands at 0.44 of the 0.58 that the oracle leaves at `_blocks.15`.

![What becomes of the variance of six layers of EfficientNet-Lite0](../../analyses/results/demo/partition.png)

The same measures, asked of all that a map holds: what stays (blue: invariance), what is found again
where the image went or in other channels (orange, pink: equivariance), and what is not found again.

## 5. Ask what it costs

A residual is not yet a wrong answer. `invariance_probe.recover` puts the warped maps back and lets
the network finish:

    After a rotation by 90 the answer is the upright image's for 10 of 10 images if the image is
    warped back; if the map is, for 0 at _blocks.0, 0 at _blocks.2, 2 at _blocks.4, 3 at _blocks.7,
    6 at _blocks.10, 7 at _blocks.15; if nothing is, for 4 to 7.

The last words are the control. Warping the map back is no better than doing nothing, and early in
the network much worse: the layers behind it have never seen such maps.

## 6. Decide

Transform the *input*. If what predicts the pose should be deep, let the network's own first layers
predict it, and still move the image: `invariance_probe.guide.transformers` shows how. A transformer
on a map is fine for shifts alone.

What this does *not* say: that a retrained network could not arrange its channels otherwise; that
ImageNet's photographs behave as these ten; that a mixing which ten images did not teach does not
exist. `invariance_probe.guide.numbers` says how to tell.
"""
