"""``python -m ndsc`` is ``ndsc``."""

from ndsc.cli import main

main()
