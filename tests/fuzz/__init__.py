"""Drawn arguments, texts, files and folders: only the package's own error may come out.

These tests run in a process of their own, as the checker of annotations that `tests.conftest`
installs would refuse wrong types before the package does. `tests.test_fuzz` starts it.
"""

from tests import profiles

profiles.load()
