"""Reference calculations: the store of labels, and how labels are computed.

The public names and their homes are listed in ``__init__.pyi``; each module of this package is imported when one of its
names is used, so that a worker process starts quickly.
"""

import lazy_loader

from ndsc.codes import calculator_names
from ndsc.codes.specification import CalculatorSpec
from ndsc.kpoints import fold_kpoints, reduced_kpoints

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += [name.__name__ for name in (CalculatorSpec, calculator_names, fold_kpoints, reduced_kpoints)]
