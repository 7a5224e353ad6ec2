# The public names of ndsc.fit, and the modules that they live in.
from .calculator import GapCalculator as GapCalculator
from .evaluate import Errors as Errors
from .evaluate import Predictions as Predictions
from .evaluate import predict as predict
from .gap import GapFit as GapFit
from .gap import fit_gap as fit_gap
from .gap import load_fit as load_fit
from .linear_system import LinearSystem as LinearSystem
from .memory import FitSize as FitSize
from .memory import check_fit_memory as check_fit_memory
from .memory import fit_memory as fit_memory
from .presets import PRESETS as PRESETS
from .regularisation import Regularisation as Regularisation
from .regularisation import Sigma as Sigma
from .regularisation import apply_regularisation as apply_regularisation
from .settings import SPARSE_METHODS as SPARSE_METHODS
from .settings import GapSettings as GapSettings
