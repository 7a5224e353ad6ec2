"""Calculations that run elsewhere: a folder of input for each label, and the outputs back into the store of labels."""

from ndsc.elsewhere.asking import MissingCalculator
from ndsc.elsewhere.inputs import WRITTEN_FOR, WriteReport, write_inputs
from ndsc.elsewhere.manifest import MANIFEST, Manifest, Wanted
from ndsc.elsewhere.take import ReadReport, read_labels

__all__ = [
    "MANIFEST",
    "WRITTEN_FOR",
    "Manifest",
    "MissingCalculator",
    "ReadReport",
    "Wanted",
    "WriteReport",
    "read_labels",
    "write_inputs",
]
