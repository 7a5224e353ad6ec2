"""The report of a run: figures in the paper's style, and one self-contained HTML file."""

from ndsc.report.dispersion import dispersion_figure
from ndsc.report.figures import cost_figure, elastic_figure, parity_figure
from ndsc.report.write import write_report

__all__ = ["cost_figure", "dispersion_figure", "elastic_figure", "parity_figure", "write_report"]
