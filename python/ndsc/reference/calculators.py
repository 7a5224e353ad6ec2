"""Moved to :mod:`ndsc.codes`."""

from ndsc.codes.specification import CalculatorSpec, calculator_names, canonical, supercell_matrix

__all__ = ["CalculatorSpec", "calculator_names", "canonical", "supercell_matrix"]
