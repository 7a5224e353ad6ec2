"""Start a calculation process quickly: ``python start.py DESCRIPTOR``.

Computing a label needs a small part of ndsc. The package's own ``__init__`` imports all of it, which takes most of a
second, so here it is run only when something of it is asked for: by a user's calculator that says ``from ndsc import``.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def light_package() -> None:
    """Register the package ``ndsc`` with its folder, and leave its ``__init__`` for later."""
    folder = Path(__file__).resolve().parents[1]
    spec = spec_from_file_location("ndsc", folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        return
    package, loader = module_from_spec(spec), spec.loader

    def load(name: str) -> Any:
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    vars(package)["__getattr__"] = load
    sys.modules["ndsc"] = package


if __name__ == "__main__":
    light_package()
    from ndsc.reference.worker import main

    main()
