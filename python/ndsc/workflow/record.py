"""What a run has so far, from one stage to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from ase import Atoms

from ndsc.config import RunConfig
from ndsc.elastic import ElasticConstants
from ndsc.fit import GapFit
from ndsc.force_constants import HarmonicModel, SupercellPhonons
from ndsc.phonons import PhononComparison
from ndsc.reference import LabelReport
from ndsc.workflow.plan import Plan


@dataclass(frozen=True)
class HarmonicBaseline:
    """The harmonic model of the database beside the reference's phonons.

    Attributes
    ----------
    model : HarmonicModel
    rmse_mesh_thz : float, THz
    """

    model: HarmonicModel
    rmse_mesh_thz: float


@dataclass
class RunRecord:
    """What a run has so far; the summary is made of it.

    Attributes
    ----------
    config : RunConfig
    plan : Plan
    report : LabelReport
        Labels of the configurations and of the reference's phonons.
    database : list of ase.Atoms
        The labelled configurations.
    stages : dict of str to float
        Wall time of each stage, s.
    warnings : list of str
    fit, model_crystal, reference_phonons, harmonic, phonons, elastic
        What the later stages found; None or empty before them, and where they failed or were left out.
    """

    config: RunConfig
    plan: Plan
    report: LabelReport
    database: list[Atoms]
    stages: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    fit: GapFit | None = None
    reference_phonons: SupercellPhonons | None = None
    model_crystal: Atoms | None = None
    harmonic: HarmonicBaseline | None = None
    phonons: PhononComparison | None = None
    elastic: dict[str, ElasticConstants] = field(default_factory=dict)
