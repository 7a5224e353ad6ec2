"""Versions of what the numbers depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

REPORTED_PACKAGES = (
    "ndsc", "numpy", "scipy", "ase", "spglib", "phonopy", "symfc", "matscipy", "matplotlib", "quippy-ase", "gpaw",
)  # fmt: skip


def package_version(package: str) -> str | None:
    """The version of a package; None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that the numbers depend on."""
    found = {package: package_version(package) for package in REPORTED_PACKAGES}
    return {"python": platform.python_version()} | {name: number for name, number in found.items() if number}
