"""VASP.

Keywords are ASE's: those of INCAR in lower case, with ``xc`` and ``setups``. The ``free energy TOTEN``
(``e_fr_energy``) is the energy that the forces derive from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms

from ndsc.codes.base import ATOM_WIDTH, check_names
from ndsc.codes.program import Array, Files, Keywords, Output, Program, text_of
from ndsc.errors import InputError

#: ASE's names of the folders of POTCAR files.
_FOLDERS = {"lda": "potpaw", "pbe": "potpaw_PBE"}


class Vasp(Program):
    """VASP, one calculation with ``ISYM = 0``: time reversal only, with which the k-points are given."""

    name = "vasp"
    title = "VASP"
    default_command = "vasp_std"
    command_variable = "NDSC_VASP_COMMAND"
    pseudo_variable = "VASP_PP_PATH"
    not_converged = ""
    reserved = (
        "kpts gamma reciprocal kspacing kgamma kpts_nintersections isym nsw ibrion isif txt command directory restart "
        "ignore_bad_restart_file ignore_constraints icharg istart"
    )
    keywords: ClassVar[Mapping[str, tuple[str, float]]] = {
        "xc": ("xc", 1), "encut": ("cutoff_ev", 1), "sigma": ("smearing_ev", 1), "nbands": ("bands", 1),
        "ediff": ("scf_tolerance_ev", 1),
    }  # fmt: skip
    unpolarised: ClassVar[Keywords] = {"ispin": 1}
    atom_drops = "ismear sigma ispin magmom nupdown nbands"

    def check_parameters(self, parameters: Keywords) -> None:
        from ase.calculators.vasp.create_input import GenerateVaspInput

        given = {key.lower(): value for key, value in parameters.items()}
        self.refuse_reserved(given)
        inputs = GenerateVaspInput()
        known = set(inputs.input_params).union(
            *(table for name, table in vars(inputs).items() if name.endswith("_params"))
        )
        check_names(self.title, given, known)

    def check_complete(self, parameters: Keywords) -> None:
        if not {"xc", "pp", "gga"} & {key.lower() for key in parameters}:
            raise InputError(
                "VASP needs xc, which sets the functional and the pseudopotentials, for example xc = 'PBE'."
            )

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
        from ase.calculators.vasp.create_input import GenerateVaspInput

        given = {key.lower(): value for key, value in parameters.items()}
        if here and pseudo_dir is None:
            raise InputError("VASP needs the folder that holds potpaw_PBE: [reference] pseudo_dir or VASP_PP_PATH.")
        inputs = GenerateVaspInput() if here or pseudo_dir is not None else _without_potcar()
        try:
            # The parameters in the order of their names, but what xc stands for comes first.
            inputs.set(**({"xc": given["xc"]} if "xc" in given else {}), lwave=False, lcharg=False)
            inputs.set(**{key: value for key, value in given.items() if key != "xc"})
            inputs.set(isym=0, nsw=0, ibrion=-1, isif=2, kpts=None)
            inputs.input_params["xc"] = given.get("xc")
            inputs.check_xc()
            if pseudo_dir is not None:
                inputs.input_params["pp"] = str(pseudo_dir / _pp_folder(inputs.input_params))
            inputs.initialize(atoms)
        except (ValueError, NotImplementedError, RuntimeError) as error:
            raise InputError(f"ASE cannot write the input of VASP: {' '.join(str(error).split())}") from error
        inputs.write_input(atoms, directory=str(folder))
        rows = [" ".join(f"{number:.14f}" for number in row) for row in kpoints]
        (folder / "KPOINTS").write_text(
            "\n".join(["folded k-points with weights", str(len(rows)), "Reciprocal", *rows]) + "\n", encoding="utf-8"
        )
        if not inputs.ppp_list:
            return {}
        return {symbol: Path(name) for (symbol, _), name in zip(inputs.symbol_count, inputs.ppp_list, strict=True)}

    def unconverged(self, folder: Path) -> str:
        """See :meth:`Program.unconverged`: by the last line of the steps, or their number."""
        return unconverged_steps(text_of(folder / "OUTCAR"), text_of(folder / "vasprun.xml"))

    def read(self, folder: Path, atoms: Atoms) -> Output:
        output = self.parse(folder / "vasprun.xml")
        return output.ordered(np.loadtxt(folder / "ase-sort.dat", dtype=int, ndmin=2)[:, 1].tolist())

    def parse(self, path: Path) -> Output:
        from ase.io import read

        xml = text_of(path)
        if "</modeling>" not in xml[-200:]:
            raise ValueError("vasprun.xml has no end")
        computed = read(path, format="vasp-xml")
        version = re.search(r'name="version"[^>]*>\s*([^<\s]+)', xml)
        named = f"VASP {version[1] if version else 'of unknown version'}"
        return Output.of(computed, computed.calc.results, named)

    def atom_settings(self, moment: float) -> dict[str, Any]:
        spin = {"ispin": 2, "nupdown": moment} if moment else {}
        return {"ismear": 0, "sigma": ATOM_WIDTH, **spin}


def unconverged_steps(outcar: str, xml: str) -> str:
    """Why a calculation is not self-consistent, from the texts of OUTCAR and vasprun.xml; empty when it is."""
    ends = re.findall(r"aborting loop.*", outcar)
    if ends:
        return "" if "EDIFF is reached" in ends[-1] else str(ends[-1]).strip(" -")
    steps = xml.count("<scstep>")
    limit = re.search(r'name="NELM">\s*(\d+)', xml)
    if limit and steps >= int(limit[1]):
        return f"all of NELM = {limit[1]} steps were done"
    return ""


def _without_potcar() -> Any:
    """ASE's writer for a machine on which there are no pseudopotentials: everything but the file POTCAR."""
    from ase.calculators.vasp.create_input import GenerateVaspInput

    class WithoutPotcar(GenerateVaspInput):  # type: ignore[misc]
        def _build_pp_list(self, *args: Any, **kwargs: Any) -> list[str]:
            return []

        def write_potcar(self, *args: Any, **kwargs: Any) -> None:
            """Nothing is written."""

    return WithoutPotcar()


def _pp_folder(inputs: Keywords) -> str:
    name, version = str(inputs["pp"]), inputs["pp_version"]
    known = _FOLDERS.get(name.lower())
    if known is None:
        return name
    return f"potpaw_{name.upper()}.{version}" if version else known
