# The public names of ndsc.potentials, and the modules that they live in.
from .ace_calculator import AceCalculator as AceCalculator
from .ace_settings import AceSettings as AceSettings
from .base import Basis as Basis
from .base import FitOptions as FitOptions
from .base import Fitted as Fitted
from .base import Fitter as Fitter
from .base import Job as Job
from .base import Trained as Trained
from .fitting import PotentialFit as PotentialFit
from .fitting import TrainedFitter as TrainedFitter
from .fitting import fit_potential as fit_potential
from .fitting import load_fit as load_fit
from .registry import fitter as fitter
from .registry import installed_methods as installed_methods
from .settings import FITTERS as FITTERS
from .settings import settings_of as settings_of
