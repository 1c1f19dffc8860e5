"""``python -m proofs``: says what will be done, then imports what does it."""

import sys

from proofs.announcing import announcement

if __name__ == "__main__":
    sys.stderr.write(announcement(sys.argv[1:]))
    from proofs.command import main

    main()
