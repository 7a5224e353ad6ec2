"""ABINIT.

Keywords are written by ASE, in ASE's units: ``ecut``, ``pawecutdg``, ``tsmear`` and ``toldfe`` in eV, all others as
ABINIT has them. ``etotal`` of ABINIT holds the term -TS of smeared occupations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms

from ndsc.codes.base import ATOM_WIDTH
from ndsc.codes.program import Array, Files, Keywords, Output, Program, pseudopotential_files, text_of
from ndsc.errors import InputError

#: The functionals that ASE names, and ABINIT's numbers of them.
FUNCTIONALS = ("LDA", "PBE", "revPBE", "RPBE", "WC")
_TOLERANCES = ("toldfe", "toldff", "tolrff", "tolvrs", "tolwfr")


class Abinit(Program):
    """ABINIT, one self-consistent calculation without symmetry, so that the k-points are taken as they are."""

    name = "abinit"
    title = "ABINIT"
    default_command = "abinit"
    command_variable = "NDSC_ABINIT_COMMAND"
    pseudo_variable = "ABI_PSPDIR"
    results = "abinit.abo"  # errors are in what ABINIT prints
    not_converged = r"nstep=\s*\d+ was not enough.*"
    arguments = ("abinit.in",)
    reserved = (
        "kpts kptopt kpt kptnrm nkpt wtk ngkpt shiftk nshiftk kptrlatt kptrlen nsym symrel tnons spgroup ptgroupma "
        "ionmov optcell ntime ndtset jdtset optforces optstress natom ntypat typat znucl acell rprim angdeg xred xcart "
        "xangst pseudos pp_dirpath pp_paths pps raw nsppol spinat chkprim"
    )
    keywords: ClassVar[Mapping[str, tuple[str, float]]] = {
        "xc": ("xc", 1), "ecut": ("cutoff_ev", 1), "pawecutdg": ("density_cutoff_ev", 1), "tsmear": ("smearing_ev", 1),
        "nband": ("bands", 1), "toldfe": ("scf_tolerance_ev", 1),
    }  # fmt: skip
    atom_drops = "occopt tsmear smearing nband nbands spinmagntarget ngfft"

    def check_parameters(self, parameters: Keywords) -> None:
        super().check_parameters(parameters)
        if "ixc" not in parameters and (xc := parameters.get("xc", "PBE")) not in FUNCTIONALS:
            raise InputError(
                f"ABINIT's xc = {xc!r} is none of {', '.join(FUNCTIONALS)}. Give ABINIT's number of it as ixc."
            )

    def check_complete(self, parameters: Keywords) -> None:
        if "ecut" not in parameters:
            raise InputError("ABINIT needs ecut, the cutoff of the plane waves in eV.")

    def write(
        self,
        folder: Path,
        atoms: Atoms,
        parameters: Keywords,
        kpoints: Array,
        pseudo_dir: Path | None,
        *,
        here: bool = True,
    ) -> Files:
        from ase.io.abinit import write_abinit_in

        given = dict(parameters)
        files = pseudopotential_files(self, atoms, given.pop("pseudopotentials", None), pseudo_dir, here=here)
        if "ixc" not in given:
            given.setdefault("xc", "PBE")
        keywords: dict[str, Any] = {"prtwf": 0, "prtden": 0, "prteig": 0, "nstep": 60}
        if not any(key in given for key in _TOLERANCES):
            keywords["tolvrs"] = 1e-10
        keywords |= given
        keywords |= {
            # The identity alone: with other rotations the density would be symmetrised with the weights of a full grid.
            "nsym": 1,
            "kptopt": 0,
            "nkpt": len(kpoints),
            "kpt": kpoints[:, :3].tolist(),
            "wtk": kpoints[:, 3:].tolist(),  # a line each: ABINIT reads 264 columns
            "optforces": 1,
            "optstress": 1,
        }
        species = sorted(set(atoms.numbers.tolist()))
        symbols = {int(number): symbol for number, symbol in zip(atoms.numbers, atoms.symbols, strict=True)}
        with (folder / "abinit.in").open("w", encoding="utf-8") as file:
            write_abinit_in(
                file,
                atoms,
                param=keywords,
                species=species,
                pseudos=[str(files[symbols[number]]) for number in species],
            )
            if not here and pseudo_dir is None:
                file.write(f'pp_dirpath "${self.pseudo_variable}"\n')  # ABINIT asks the environment where it runs
        return files

    def parse(self, path: Path) -> Output:
        from ase.io.abinit import read_abinit_out

        if "Calculation completed." not in text_of(path):
            raise ValueError("it does not say that the calculation was completed")
        with path.open(encoding="utf-8", errors="replace") as file:
            results = read_abinit_out(file)
        return Output.of(results["atoms"], results, f"ABINIT {results['version']}")

    def atom_settings(self, moment: float) -> dict[str, Any]:
        spin = {"spinmagntarget": moment} if moment else {}
        return {"occopt": 7, "tsmear": ATOM_WIDTH, **spin}
