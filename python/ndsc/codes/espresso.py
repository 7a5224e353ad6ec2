"""Quantum ESPRESSO: pw.x.

Keywords of the namelists are written as they are, in Quantum ESPRESSO's own units (Ry, bohr). The line ``! total
energy`` of pw.x is the free energy when occupations are smeared, the one that its forces derive from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.codes.program import Output, Program, pseudopotential_files, text_of, words
from ndsc.errors import InputError

_SECTIONS = ("control", "system", "electrons", "ions", "cell", "fcp", "rism")


class Espresso(Program):
    """pw.x, one self-consistent calculation without symmetry, so that the k-points are taken as they are."""

    title: ClassVar[str] = "Quantum ESPRESSO"
    default_command: ClassVar[str] = "pw.x"
    command_variable: ClassVar[str] = "NDSC_ESPRESSO_COMMAND"
    pseudo_variable: ClassVar[str] = "ESPRESSO_PSEUDO"
    output: ClassVar[str] = "stdout.txt"
    reserved: ClassVar[frozenset[str]] = words(
        "calculation tprnfor tstress outdir wfcdir prefix pseudo_dir nosym noinv nosym_evc ibrav nat ntyp "
        "kpts kspacing koffset crystal_coordinates"
    )

    def write(
        self,
        folder: Path,
        atoms: Atoms,
        parameters: Mapping[str, Any],
        kpoints: NDArray[np.float64],
        pseudo_dir: Path | None,
    ) -> dict[str, Path]:
        """See :meth:`Program.write`."""
        from ase.io.espresso import write_espresso_in

        given = dict(parameters)
        files = pseudopotential_files(self, atoms, given.pop("pseudopotentials", None), pseudo_dir)
        folders = {path.parent for path in files.values()}
        if len(folders) > 1:
            raise InputError(f"Quantum ESPRESSO reads pseudopotentials from one folder, not from {len(folders)}.")
        cards = given.pop("additional_cards", None)
        namelists = self._namelists(given)
        namelists["control"] |= {
            "calculation": "scf",
            "tprnfor": True,
            "tstress": True,
            "outdir": "./out",
            "prefix": "ndsc",
            "pseudo_dir": str(folders.pop()),
        }
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

    def _namelists(self, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Keywords in their namelists, from ``input_data`` or straight from the parameters."""
        from ase.io.espresso import Namelist

        nested = given.pop("input_data", {})
        if not isinstance(nested, Mapping):
            raise InputError(f"The parameter input_data of Quantum ESPRESSO is a table of tables, not {nested!r}.")
        flat = {key: value for key, value in given.items() if key.lower() not in _SECTIONS}
        sections = [given[key] for key in given if key.lower() in _SECTIONS]
        for part in (nested, flat, *sections):
            self.refuse_reserved(list(part))
            for inner in part.values():
                if isinstance(inner, Mapping):
                    self.refuse_reserved(list(inner))
        namelists = Namelist({**nested, **given})
        namelists.to_nested("pw")
        result = {section: dict(namelists.get(section, {})) for section in ("control", "system", "electrons")}
        result |= {section: dict(namelists[section]) for section in namelists if section not in result}
        placed = {key.lower() for section in result.values() for key in section}
        if unknown := sorted(key for key in flat if key.lower() not in placed):
            raise InputError(
                f"Quantum ESPRESSO has no keyword {', '.join(unknown)} in its namelists control, system and electrons."
            )
        return result

    def arguments(self) -> list[str]:
        """See :meth:`Program.arguments`."""
        return ["-in", "espresso.pwi"]

    def unconverged(self, folder: Path) -> str:
        """See :meth:`Program.unconverged`."""
        found = re.search(r"convergence NOT achieved.*", text_of(folder / self.output))
        return found[0].strip() if found else ""

    def read(self, folder: Path, atoms: Atoms) -> Output:
        """See :meth:`Program.read`."""
        from ase.io import read

        text = text_of(folder / self.output)
        if "convergence has been achieved" not in text:
            raise ValueError("it does not say that convergence has been achieved")
        computed = read(folder / self.output, format="espresso-out")
        results = computed.calc.results
        version = re.search(r"Program PWSCF\s+v\.?\s*(\S+)", text)
        return Output(
            atoms=computed,
            free_energy=float(results["free_energy"]),
            forces=np.asarray(results["forces"], dtype=float),
            stress=np.asarray(results["stress"], dtype=float),
            version=f"Quantum ESPRESSO {version[1] if version else 'of unknown version'}",
        )
