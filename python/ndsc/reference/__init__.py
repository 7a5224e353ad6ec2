"""Reference calculations: k-points, calculators, the store of labels, and how labels are computed."""

from ndsc.codes import calculator_names
from ndsc.codes.specification import CalculatorSpec
from ndsc.kpoints import fold_kpoints, reduced_kpoints
from ndsc.reference.computing import compute_label
from ndsc.reference.executors import ExecutorSettings, open_executor
from ndsc.reference.labelling import Failure, LabelReport, label_configurations
from ndsc.reference.store import Label, LabelStore
from ndsc.reference.stored import StoredCalculator

__all__ = [
    "CalculatorSpec",
    "ExecutorSettings",
    "Failure",
    "Label",
    "LabelReport",
    "LabelStore",
    "StoredCalculator",
    "calculator_names",
    "compute_label",
    "fold_kpoints",
    "label_configurations",
    "open_executor",
    "reduced_kpoints",
]
