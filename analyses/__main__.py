"""``python -m analyses``: says what will be done, then imports what does it."""

import sys

from analyses.announcing import announcement

if __name__ == "__main__":
    sys.stderr.write(announcement(sys.argv[1:]))
    from analyses.command import main

    main()
