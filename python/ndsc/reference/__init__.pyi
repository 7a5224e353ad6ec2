# The public names of ndsc.reference, and the modules that they live in.
import ndsc.codes
import ndsc.codes.specification
import ndsc.kpoints

from .computing import compute_label as compute_label
from .driver import Failure as Failure
from .executors import ExecutorSettings as ExecutorSettings
from .executors import open_executor as open_executor
from .labelling import LabelReport as LabelReport
from .labelling import label_configurations as label_configurations
from .store import Label as Label
from .store import LabelStore as LabelStore
from .stored import StoredCalculator as StoredCalculator

CalculatorSpec = ndsc.codes.specification.CalculatorSpec
calculator_names = ndsc.codes.calculator_names
fold_kpoints = ndsc.kpoints.fold_kpoints
reduced_kpoints = ndsc.kpoints.reduced_kpoints
