"""``python -m invariance_probe.cli``."""

from invariance_probe.cli import main

main()
