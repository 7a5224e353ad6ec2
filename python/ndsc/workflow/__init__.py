"""Whole runs: from an input file to a benchmarked potential and its report."""

from ndsc.workflow.dry_run import DryRun, dry_run
from ndsc.workflow.elsewhere import MissingLabels, missing_labels
from ndsc.workflow.plan import Plan, make_plan
from ndsc.workflow.run import run_workflow

__all__ = ["DryRun", "MissingLabels", "Plan", "dry_run", "make_plan", "missing_labels", "run_workflow"]
