"""Fitting potentials: regularisation, Gaussian approximation potentials, and a model compared with its reference."""

from ndsc.fit.calculator import GapCalculator
from ndsc.fit.evaluate import Errors, Predictions, evaluate, predict
from ndsc.fit.gap import GapFit, fit_gap, load_fit
from ndsc.fit.linear_system import LinearSystem
from ndsc.fit.memory import FitSize, check_fit_memory, fit_memory
from ndsc.fit.presets import PRESETS
from ndsc.fit.regularisation import Regularisation, Sigma, apply_regularisation
from ndsc.fit.settings import SPARSE_METHODS, GapSettings

__all__ = [
    "PRESETS",
    "SPARSE_METHODS",
    "Errors",
    "FitSize",
    "GapCalculator",
    "GapFit",
    "GapSettings",
    "LinearSystem",
    "Predictions",
    "Regularisation",
    "Sigma",
    "apply_regularisation",
    "check_fit_memory",
    "evaluate",
    "fit_gap",
    "fit_memory",
    "load_fit",
    "predict",
]
