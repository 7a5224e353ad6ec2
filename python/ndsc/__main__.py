"""``python -m ndsc`` is ``ndsc``."""

import sys

from ndsc.interrupts import INTERRUPTED, supervise


def main() -> None:
    """Run the program; Ctrl-C is answered before the modules of the command line are imported, which takes a while."""
    supervise()
    try:
        from ndsc.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    command_line()


if __name__ == "__main__":
    main()
