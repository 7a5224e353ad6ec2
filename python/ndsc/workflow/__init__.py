"""Whole runs: from an input file to a benchmarked potential and its report."""

from ndsc.workflow.dry_run import DryRun, SeveralDryRun, dry_run, dry_run_of_several
from ndsc.workflow.elsewhere import MissingLabels, missing_labels
from ndsc.workflow.plan import Plan, make_plan
from ndsc.workflow.run import run_workflow
from ndsc.workflow.several import run_several

__all__ = [
    "DryRun",
    "MissingLabels",
    "Plan",
    "SeveralDryRun",
    "dry_run",
    "dry_run_of_several",
    "make_plan",
    "missing_labels",
    "run_several",
    "run_workflow",
]
