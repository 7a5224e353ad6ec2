"""Non-diagonal supercells, optimal databases and benchmarked interatomic potentials.

The public names and their homes are listed in ``__init__.pyi``; each home is imported when one of its names is used.
"""

import lazy_loader

from ndsc._core import __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
