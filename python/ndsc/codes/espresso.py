"""Quantum ESPRESSO: pw.x.

Keywords of the namelists are written as they are, in Quantum ESPRESSO's own units (Ry, bohr). The line ``! total
energy`` of pw.x is the free energy when occupations are smeared, the one that its forces derive from.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.units import Rydberg

from ndsc.codes.base import nearest
from ndsc.codes.program import Array, Files, Keywords, Output, Program, pseudopotential_files, text_of
from ndsc.errors import InputError

log = logging.getLogger(__name__)

_SECTIONS = ("control", "system", "electrons", "ions", "cell", "fcp", "rism")
#: Keywords in the namelist system: what they mean, and the factor to the unit of the meaning.
_SYSTEM = {
    "input_dft": ("xc", 1.0), "ecutwfc": ("cutoff_ev", Rydberg), "ecutrho": ("density_cutoff_ev", Rydberg),
    "smearing": ("smearing", 1.0), "degauss": ("smearing_ev", Rydberg), "nbnd": ("bands", 1.0),
}  # fmt: skip
#: Parameters that are not keywords of namelists.
_NO_KEYWORDS = ("pseudopotentials", "additional_cards")
_ELECTRONS = {"conv_thr": ("scf_tolerance_ev", Rydberg)}


class Espresso(Program):
    """pw.x, one self-consistent calculation without symmetry, so that the k-points are taken as they are."""

    name = "espresso"
    title = "Quantum ESPRESSO"
    default_command = "pw.x"
    command_variable = "NDSC_ESPRESSO_COMMAND"
    pseudo_variable = "ESPRESSO_PSEUDO"
    not_converged = r"convergence NOT achieved.*"
    arguments = ("-in", "espresso.pwi")
    reserved = (
        "calculation tprnfor tstress outdir wfcdir prefix pseudo_dir nosym noinv nosym_evc ibrav nat ntyp "
        "kpts kspacing koffset crystal_coordinates"
    )
    # Namelists may stand among the parameters or in a table input_data, or their keywords without them.
    keywords: ClassVar[Mapping[str, tuple[str, float]]] = {
        f"{table}{name}": meaning
        for namelist, names in (("system", _SYSTEM), ("electrons", _ELECTRONS))
        for name, meaning in names.items()
        for table in (f"input_data.{namelist}.", "input_data.", f"{namelist}.", "")
    }
    unpolarised: ClassVar[Keywords] = {"nspin": 1}
    atom_drops = "occupations smearing degauss nbnd nspin tot_magnetization"

    def check_parameters(self, parameters: Keywords) -> None:
        given = {key: value for key, value in parameters.items() if key not in _NO_KEYWORDS}
        nested = given.pop("input_data", {})
        if not isinstance(nested, Mapping):
            raise InputError(f"The parameter input_data of Quantum ESPRESSO is a table of tables, not {nested!r}.")
        plain = {key: value for key, value in given.items() if key.lower() not in _SECTIONS}
        tables = [value for part in (nested, given) for value in part.values() if isinstance(value, Mapping)]
        for part in (nested, plain, *tables):
            self.refuse_reserved(part)
        placed = {key.lower() for section in _namelists(given | {"input_data": nested}).values() for key in section}
        if unknown := sorted(key for key in plain if key.lower() not in placed):
            from ase.io.espresso_namelist.keys import pw_keys

            known = [key for section in ("control", "system", "electrons") for key in pw_keys[section]]
            raise InputError(
                f"Quantum ESPRESSO has no keyword {', '.join(unknown)} in its namelists control, system and electrons."
                f"{nearest(unknown[0], known)}"
            )

    def check_complete(self, parameters: Keywords) -> None:
        super().check_complete(parameters)
        named = parameters.get("pseudopotentials")
        files = sorted(map(str, named.values())) if isinstance(named, Mapping) else []
        if wrong := [file for file in files if file.lower().endswith(".gth")]:
            log.warning(
                "With pseudopotentials of Goedecker, Teter and Hutter (%s), pw.x gives right energies and forces, but "
                "wrong stresses: in version 6.7, shear constants of silicon are wrong by 25 to 30 %%. Do not use the "
                "virials and elastic constants; ABINIT reads the same files, or take pseudopotentials in UPF.",
                ", ".join(wrong),
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
        from ase.io.espresso import write_espresso_in

        given = dict(parameters)
        files = pseudopotential_files(self, atoms, given.pop("pseudopotentials", None), pseudo_dir, here=here)
        folders = {path.parent for path in files.values()}
        if len(folders) > 1:
            raise InputError(f"Quantum ESPRESSO reads pseudopotentials from one folder, not from {len(folders)}.")
        cards = given.pop("additional_cards", None)
        namelists = _namelists(given)
        namelists["control"] |= {
            "calculation": "scf",
            "tprnfor": True,
            "tstress": True,
            "outdir": "./out",
            "prefix": "ndsc",
        }
        if here or pseudo_dir is not None:  # else pw.x asks $ESPRESSO_PSEUDO
            namelists["control"]["pseudo_dir"] = str(folders.pop())
        namelists["control"].setdefault("disk_io", "none")
        namelists["system"] |= {"nosym": True, "noinv": True}
        moments = np.abs(atoms.get_initial_magnetic_moments()).max()
        with (folder / "espresso.pwi").open("w", encoding="utf-8") as file:
            write_espresso_in(
                file,
                atoms,
                input_data=namelists,
                pseudopotentials={symbol: path.name for symbol, path in files.items()},
                kpts=kpoints,
                additional_cards=cards,
                # starting_magnetization is a part of the valence electrons, at most 1; it only starts the iteration.
                rescale_magmom_fac=max(1.0, float(moments)),
            )
        return files

    def parse(self, path: Path) -> Output:
        from ase.io import read

        text = text_of(path)
        if "convergence has been achieved" not in text:
            raise ValueError("it does not say that convergence has been achieved")
        computed = read(path, format="espresso-out")
        version = re.search(r"Program PWSCF\s+v\.?\s*(\S+)", text)
        named = f"Quantum ESPRESSO {version[1] if version else 'of unknown version'}"
        return Output.of(computed, computed.calc.results, named)

    def atom_settings(self, moment: float) -> dict[str, Any]:
        spin = {"nspin": 2, "tot_magnetization": moment} if moment else {}
        # In Ry, about as sharp as ATOM_WIDTH.
        return {"occupations": "smearing", "smearing": "gaussian", "degauss": 0.001, **spin}


def _namelists(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Keywords in their namelists, from ``input_data`` or straight from the parameters."""
    from ase.io.espresso import Namelist

    nested = given.pop("input_data", {})
    namelists = Namelist({**nested, **given})
    namelists.to_nested("pw")
    result = {section: dict(namelists.get(section, {})) for section in ("control", "system", "electrons")}
    return result | {section: dict(namelists[section]) for section in namelists if section not in result}
