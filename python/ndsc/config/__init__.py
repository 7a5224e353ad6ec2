"""The input file of ``ndsc run``: its sections, how it is read and checked, and how it is written back.

Everything that can be wrong with an input file is found when it is read, before anything runs, and told in one
:class:`~ndsc.errors.InputError` that names each key.
"""

from __future__ import annotations

from ndsc.benchmark_settings import ElasticSettings, PhononSettings
from ndsc.codes.settings import ReferenceSettings
from ndsc.config.files import dump_config, load_config, load_fit_settings, parse_config, write_config
from ndsc.config.fitting import FitSections
from ndsc.config.sections import (
    ConfigurationsConfig,
    CrystalConfig,
    RunConfig,
    SupercellsConfig,
)
from ndsc.reference.executors import ExecutorSettings

__all__ = [
    "ConfigurationsConfig",
    "CrystalConfig",
    "ElasticSettings",
    "ExecutorSettings",
    "FitSections",
    "PhononSettings",
    "ReferenceSettings",
    "RunConfig",
    "SupercellsConfig",
    "dump_config",
    "load_config",
    "load_fit_settings",
    "parse_config",
    "write_config",
]
