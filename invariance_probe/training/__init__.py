"""Trainings of spatial transformer networks: resumable, measured, kept in run folders.

Differences to the papers and to the code of their authors (2020, and its successor of 2022), with
the reason for each:

- Presets but ``paper`` take AdamW with one rise and fall of the rate, fewer steps and narrower
  networks: localizers take off in minutes of a core, where the papers' 150 000 steps of plain
  gradient descent take hours of a GPU.
- Values are bytes over 255; the authors subtract a mean and divide by a deviation. One rule serves
  every data set, and what surrounds a digit stays 0, which shifts and rotations bring in.
- Test images keep one stored pose each, the same for every run, so that runs are compared in pairs;
  the authors draw new ones.
- Clutter is cut from training images at random, as theirs is, but never from the image it lies on.
- Trunks of DLX are drawn anew, as in 2022; ``trunk="copy"`` starts them as in 2020. Steps have
  localizers of their own, as in the paper; ``c0x2s`` shares one, as in 2022.
- Transformers of translated digits return half of the side in ``paper`` and ``standard``; shorter
  presets keep the whole (``output_share``), so that finding 1 compares motions and not sizes.
- With true poses such a transformer reads the middle at full size, where a learnt one begins with
  the whole image at half.
- Plankton: localizers are those of SVHN's kind or ``conv``, not the authors' of 3 x 3; images are
  not augmented, and no pose is measured against a medoid. Its images ask for an account,
  and no answer here rests on them.
- Poses of SVHN, street digits and plankton are not known, so that only errors are reported.
- There is no batch normalisation after transformers, which the authors tried in 2022.
"""
