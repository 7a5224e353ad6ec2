"""Drawing and tabulating comparisons of potentials: the figures of Allen and Bartók (2022) from plain data.

Every ``*_figure`` returns a Matplotlib figure, and the function of the same stem that ends in ``_data`` the numbers
that it shows, from the same arguments; :func:`save_figure` writes both. ``markdown_table``, ``elastic_markdown`` and
``verdict_lines`` write Markdown. Nothing here runs a calculation.

====================================  ====================================================================
figure                                data
====================================  ====================================================================
``dispersion_comparison_figure``      ``dispersion_data``, ``density_data``
``dispersion_stack_figure``           the same
``learning_dispersion_figure``        ``learning_dispersion_data``
``learning_curve_figure``             ``learning_curve_data``
``elastic_errors_figure``             ``elastic_errors_data``
``phonon_error_figure``               ``mesh_data``; ``branch_errors`` and ``worst_qpoints`` as tables
``error_distribution_figure``         ``mesh_data`` of each potential
====================================  ====================================================================
"""

from ndsc.report.compared import dispersion_comparison_figure, dispersion_stack_figure
from ndsc.report.dispersion import density_data, dispersion_data
from ndsc.report.elastic_errors import elastic_errors_data, elastic_errors_figure
from ndsc.report.learning import learning_dispersion_data, learning_dispersion_figure
from ndsc.report.learning_curve import learning_curve_data, learning_curve_figure
from ndsc.report.markdown import Claim, elastic_markdown, markdown_table, verdict_lines
from ndsc.report.panels import DispersionPanel, LearningPoint, LearningStep, PhononCurves
from ndsc.report.phonon_errors import (
    branch_errors,
    error_distribution_figure,
    mesh_data,
    phonon_error_figure,
    worst_qpoints,
)
from ndsc.report.style import SavedFigure, save_figure
from ndsc.report.tidy import DataTable, write_data

__all__ = [
    "Claim",
    "DataTable",
    "DispersionPanel",
    "LearningPoint",
    "LearningStep",
    "PhononCurves",
    "SavedFigure",
    "branch_errors",
    "density_data",
    "dispersion_comparison_figure",
    "dispersion_data",
    "dispersion_stack_figure",
    "elastic_errors_data",
    "elastic_errors_figure",
    "elastic_markdown",
    "error_distribution_figure",
    "learning_curve_data",
    "learning_curve_figure",
    "learning_dispersion_data",
    "learning_dispersion_figure",
    "markdown_table",
    "mesh_data",
    "phonon_error_figure",
    "save_figure",
    "verdict_lines",
    "worst_qpoints",
    "write_data",
]
