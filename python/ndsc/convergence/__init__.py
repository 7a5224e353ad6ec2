"""Are the settings of a reference calculator good enough, for the configurations that a database holds?"""

from ndsc.convergence.differences import Difference, compare_labels
from ndsc.convergence.noise import NoisePlan, NoiseTable, noise_table, plan_noise, spread_over_supercells
from ndsc.convergence.settings import setting_of, with_setting, with_settings

__all__ = [
    "Difference",
    "NoisePlan",
    "NoiseTable",
    "compare_labels",
    "noise_table",
    "plan_noise",
    "setting_of",
    "spread_over_supercells",
    "with_setting",
    "with_settings",
]
