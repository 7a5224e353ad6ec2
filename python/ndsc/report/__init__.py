"""Figures of phonons, elastic constants and costs, their data, and the HTML report of a run.

The names and their homes are listed in ``__init__.pyi``; each home is imported when one of its names is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
