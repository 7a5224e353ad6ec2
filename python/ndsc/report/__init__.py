"""Figures of phonons, elastic constants and costs, their data, and the HTML report of a run."""

from ndsc.report.band_structure import BandStructure, band_structure, band_structure_figure
from ndsc.report.bands import DispersionPanel
from ndsc.report.compare import write_comparison
from ndsc.report.dispersions import (
    LearningStep,
    density_data,
    dispersion_comparison_figure,
    dispersion_data,
    dispersion_figure,
    dispersion_stack_figure,
    learning_dispersion_figure,
)
from ndsc.report.elastic_errors import elastic_errors_data, elastic_errors_figure
from ndsc.report.elastic_shape import elastic_figure
from ndsc.report.figures import cost_data, cost_figure, parity_data, parity_figure
from ndsc.report.learning_curve import learning_curve_figure, learning_curve_summary
from ndsc.report.phonon_errors import (
    branch_errors,
    error_distribution_figure,
    mesh_data,
    phonon_error_figure,
    worst_qpoints,
)
from ndsc.report.predicted_errors import predicted_errors_figure, predicted_errors_summary
from ndsc.report.several import write_several_report
from ndsc.report.style import SavedFigure, save_figure, write_figure
from ndsc.report.tables import markdown_table, write_data
from ndsc.report.write import write_report
from ndsc.report.zone import zone_data, zone_figure

__all__ = [
    "BandStructure",
    "DispersionPanel",
    "LearningStep",
    "SavedFigure",
    "band_structure",
    "band_structure_figure",
    "branch_errors",
    "cost_data",
    "cost_figure",
    "density_data",
    "dispersion_comparison_figure",
    "dispersion_data",
    "dispersion_figure",
    "dispersion_stack_figure",
    "elastic_errors_data",
    "elastic_errors_figure",
    "elastic_figure",
    "error_distribution_figure",
    "learning_curve_figure",
    "learning_curve_summary",
    "learning_dispersion_figure",
    "markdown_table",
    "mesh_data",
    "parity_data",
    "parity_figure",
    "phonon_error_figure",
    "predicted_errors_figure",
    "predicted_errors_summary",
    "save_figure",
    "worst_qpoints",
    "write_comparison",
    "write_data",
    "write_figure",
    "write_report",
    "write_several_report",
    "zone_data",
    "zone_figure",
]
