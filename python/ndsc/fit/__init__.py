"""Fitting potentials: regularisation, Gaussian approximation potentials, and a model beside its reference."""

from ndsc.fit.calculator import GapCalculator
from ndsc.fit.evaluate import Errors, Predictions, evaluate, predict
from ndsc.fit.gap import GapFit, fit_gap, load_fit
from ndsc.fit.linear_system import LinearSystem
from ndsc.fit.regularisation import Regularisation, Sigma, apply_regularisation
from ndsc.fit.settings import PRESETS, SPARSE_METHODS, GapSettings, Preset

__all__ = [
    "PRESETS",
    "SPARSE_METHODS",
    "Errors",
    "GapCalculator",
    "GapFit",
    "GapSettings",
    "LinearSystem",
    "Predictions",
    "Preset",
    "Regularisation",
    "Sigma",
    "apply_regularisation",
    "evaluate",
    "fit_gap",
    "load_fit",
    "predict",
]
