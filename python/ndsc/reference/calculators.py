"""Moved to :mod:`ndsc.codes`."""

from ndsc.codes import calculator_names
from ndsc.codes.specification import CalculatorSpec, canonical, supercell_matrix

__all__ = ["CalculatorSpec", "calculator_names", "canonical", "supercell_matrix"]
