"""Studies: many potentials from existing databases, compared with their references, with checks of claims."""

from ndsc.claims import CheckResult
from ndsc.study.results import Evaluation, PotentialResult, RunFacts, StudyResults, Variant
from ndsc.study.run import compute_study, plan_study, run_study

__all__ = [
    "CheckResult",
    "Evaluation",
    "PotentialResult",
    "RunFacts",
    "StudyResults",
    "Variant",
    "compute_study",
    "plan_study",
    "run_study",
]
