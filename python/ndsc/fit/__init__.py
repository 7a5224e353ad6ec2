"""Fitting potentials: regularisation, Gaussian approximation potentials, and a model compared with its reference.

The public names and their homes are listed in ``__init__.pyi``; each home is imported when one of its names is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
