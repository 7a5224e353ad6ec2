"""Are the settings of a reference calculator good enough, for the configurations that a database holds?"""

from ndsc.convergence.bias import BiasPlan, BiasSettings, bias_table, plan_bias
from ndsc.convergence.bias_table import QUANTITIES, BiasRow, BiasTable, BiasTargets
from ndsc.convergence.differences import Difference, compare_labels
from ndsc.convergence.noise import NoisePlan, NoiseTable, noise_table, plan_noise
from ndsc.convergence.report import ConvergenceReport, Point, Scan, Tolerances
from ndsc.convergence.sample import sample_configurations, spread_over_supercells
from ndsc.convergence.scan import ConvergencePlan, converge, plan_convergence
from ndsc.convergence.settings import (
    ScannedSetting,
    kgrids_around,
    scanned_settings,
    setting_of,
    setting_path,
    with_setting,
    with_settings,
)

__all__ = [
    "QUANTITIES",
    "BiasPlan",
    "BiasRow",
    "BiasSettings",
    "BiasTable",
    "BiasTargets",
    "ConvergencePlan",
    "ConvergenceReport",
    "Difference",
    "NoisePlan",
    "NoiseTable",
    "Point",
    "Scan",
    "ScannedSetting",
    "Tolerances",
    "bias_table",
    "compare_labels",
    "converge",
    "kgrids_around",
    "noise_table",
    "plan_bias",
    "plan_convergence",
    "plan_noise",
    "sample_configurations",
    "scanned_settings",
    "setting_of",
    "setting_path",
    "spread_over_supercells",
    "with_setting",
    "with_settings",
]
