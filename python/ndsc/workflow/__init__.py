"""Whole runs: from an input file to a benchmarked potential and its report."""

from ndsc.workflow.plan import DryRun, Plan, dry_run, make_plan
from ndsc.workflow.run import run_workflow

__all__ = ["DryRun", "Plan", "dry_run", "make_plan", "run_workflow"]
