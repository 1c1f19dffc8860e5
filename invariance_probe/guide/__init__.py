"""The guide: pages to read, beside the reference of every public name.

- `invariance_probe.guide.tutorial`: from a question to a decision, on a real network.
- `invariance_probe.guide.numbers`: how to read the numbers.
- `invariance_probe.guide.choosing`: which method when, and what it costs.
- `invariance_probe.guide.machines`: many images, many machines.
- `invariance_probe.guide.transformers`: put a SpatialTransformer into your network.
- `invariance_probe.guide.glossary`: C0, CX, DLX, SLX, fvu, oracle, floor and the rest.
- `proofs`: the theory, from each claim to the code that checks it (in a checkout).
- `invariance_probe.guide.papers`: what differs from the papers.
- `invariance_probe`: the reference. `invariance_probe.controls`: networks whose answer is known.

From a checkout with the extra `docs`, `python -m analyses site` makes pages of all this.
"""
