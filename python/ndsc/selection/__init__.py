"""Which configurations to label, and how good the potential will be, known before the labels are paid for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
