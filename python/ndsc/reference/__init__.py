"""Reference calculations: k-points, calculators, the store of labels, and how labels are computed."""

from ndsc.reference.calculators import CalculatorSpec, calculator_names
from ndsc.reference.kpoints import fold_kpoints
from ndsc.reference.labelling import Failure, LabelReport, StoredCalculator, compute_label, label_configurations
from ndsc.reference.store import Label, LabelStore

__all__ = [
    "CalculatorSpec",
    "Failure",
    "Label",
    "LabelReport",
    "LabelStore",
    "StoredCalculator",
    "calculator_names",
    "compute_label",
    "fold_kpoints",
    "label_configurations",
]
