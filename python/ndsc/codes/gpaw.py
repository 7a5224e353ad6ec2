"""GPAW, which runs inside Python. Parameters are keywords of ``gpaw.GPAW``, in eV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.codes.base import ATOM_WIDTH, Code, nearest
from ndsc.errors import InputError, MissingExtraError
from ndsc.kpoints import fold_kpoints

if TYPE_CHECKING:
    from ndsc.codes.specification import CalculatorSpec


#: Keywords of GPAW (26.7), to find misspelt ones; those similar to none of them are passed on, as GPAW has more.
KEYWORDS = (
    "background_charge basis charge convergence eigensolver environment experimental extensions external gpts h hund "
    "interpolation magmoms maxiter mixer mode nbands occupations parallel poissonsolver random setups soc spinpol "
    "symmetry txt verbose xc"
)


class Gpaw(Code):
    """GPAW, without the rotations of the crystal."""

    name = "gpaw"
    title = "GPAW"
    package: ClassVar[str] = "gpaw"
    has_kpoints: ClassVar[bool] = True
    keywords: ClassVar[Mapping[str, tuple[str, float]]] = {
        "xc": ("xc", 1), "mode": ("basis", 1), "mode.name": ("basis", 1), "mode.ecut": ("cutoff_ev", 1),
        "occupations.name": ("smearing", 1), "occupations.order": ("smearing_order", 1),
        "occupations.width": ("smearing_ev", 1), "nbands": ("bands", 1),
        "convergence.energy": ("scf_tolerance_per_electron_ev", 1), "convergence.density": ("scf_density_tolerance", 1),
    }  # fmt: skip
    unpolarised: ClassVar[Mapping[str, Any]] = {"spinpol": False}
    atom_drops: ClassVar[str] = "occupations nbands magmoms spinpol hund charge"

    def create(self, spec: CalculatorSpec, atoms: Atoms, directory: Path) -> Calculator:
        from ndsc.codes.specification import supercell_matrix

        try:
            from gpaw import GPAW
        except ImportError as error:
            raise MissingExtraError(
                "The calculator 'gpaw' needs GPAW, which is not installed, and the label asked for is not in the "
                "store. Install it (make dft, or pip install 'ndsc[gpaw]' beside libxc and BLAS), or use stored labels."
            ) from error
        # Operations of a non-diagonal supercell that mix its axes would enlarge the real-space grid many times over.
        defaults: dict[str, Any] = {"xc": "PBE", "symmetry": {"point_group": False}, "txt": str(directory / "gpaw.txt")}
        kpoints = fold_kpoints(supercell_matrix(atoms), spec.kgrid or 1)
        return GPAW(**{**defaults, **spec.parameters, "kpts": kpoints})

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        if "kpts" in parameters:
            raise InputError("The parameters of GPAW contain kpts, but k-points come from kgrid. Remove kpts.")
        known = KEYWORDS.split()
        unknown = [name for name in parameters if name not in known and nearest(name, known, likeness=0.8)]
        if unknown:
            raise InputError(f"GPAW has no parameter {unknown[0]!r}.{nearest(unknown[0], known)}")

    def atom_settings(self, moment: float) -> dict[str, Any]:
        occupations = {"name": "fermi-dirac", "width": ATOM_WIDTH}
        if not moment:
            return {"occupations": occupations}
        return {"occupations": {**occupations, "fixmagmom": True}, "hund": True}
