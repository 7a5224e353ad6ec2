"""The input file of ``ndsc run``: its sections, how it is read and checked, and how it is written back.

Everything that can be wrong with an input file is found when it is read, before anything runs, and reported in one
:class:`~ndsc.errors.InputError` that names each key. The public names are listed in ``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
