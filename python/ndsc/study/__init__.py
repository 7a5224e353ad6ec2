"""Studies: many potentials from existing databases, judged against their references, with checks of claims."""

from ndsc.study.results import CheckResult, Evaluation, Outcome, RunFacts, StudyResults, Variant
from ndsc.study.run import Planned, compute_study, plan_study, run_study

__all__ = [
    "CheckResult",
    "Evaluation",
    "Outcome",
    "Planned",
    "RunFacts",
    "StudyResults",
    "Variant",
    "compute_study",
    "plan_study",
    "run_study",
]
