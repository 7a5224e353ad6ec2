# The public names of ndsc.config, and the modules that they live in.
from .files import dump_config as dump_config
from .files import load_config as load_config
from .files import load_fit_settings as load_fit_settings
from .files import parse_config as parse_config
from .files import write_config as write_config
from .fitting import FitSections as FitSections
from .sections import ConfigurationsConfig as ConfigurationsConfig
from .sections import CrystalConfig as CrystalConfig
from .sections import ElasticSettings as ElasticSettings
from .sections import ExecutorSettings as ExecutorSettings
from .sections import PhononSettings as PhononSettings
from .sections import ReferenceSettings as ReferenceSettings
from .sections import RunConfig as RunConfig
from .sections import SupercellsConfig as SupercellsConfig
