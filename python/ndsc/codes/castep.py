"""CASTEP.

Parameters are keywords of the ``.param`` file as CASTEP has them; those of the ``.cell`` file are a table of their own,
``cell = {…}``. ``Final free energy (E-TS)`` is the energy that the forces derive from; with a dispersion correction it
is the corrected one, which ASE's reader (3.29) leaves out.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms

from ndsc.codes.base import ATOM_WIDTH, species_labels
from ndsc.codes.program import Array, Files, Keywords, Output, Program, pseudopotential_files, text_of
from ndsc.errors import InputError

#: The lines that hold the energy, by precedence.
ENERGIES = (
    r"Dispersion corrected final free energy.*?=\s*(\S+)\s+eV",
    r"Final free energy \(E-TS\)\s*=\s*(\S+)\s+eV",
    r"Dispersion corrected final energy.*?=\s*(\S+)\s+eV",
    r"Final energy(?:, E)?\s*=\s*(\S+)\s+eV",
)


class Castep(Program):
    """CASTEP, one single-point calculation; without symmetry unless it is asked for, so k-points are as given."""

    name = "castep"
    title = "CASTEP"
    default_command = "castep.serial"
    command_variable = "NDSC_CASTEP_COMMAND"
    pseudo_variable = "CASTEP_PP_PATH"
    output = results = "ndsc.castep"
    not_converged = r"max\. SCF cycles performed.*|electronic minimi[sz]ation did not converge.*"
    arguments = ("ndsc",)
    reserved = (
        "task calculate_stress reuse continuation kpoints_list kpoint_list kpoints_mp_grid kpoint_mp_grid "
        "kpoints_mp_spacing kpoint_mp_spacing kpoints_mp_offset kpoint_mp_offset symmetry_generate symmetry_ops "
        "lattice_cart lattice_abc positions_abs positions_frac species_pot ionic_constraints cell_constraints"
    )
    keywords: ClassVar[Mapping[str, tuple[str, float]]] = {
        "xc_functional": ("xc", 1), "cut_off_energy": ("cutoff_ev", 1), "smearing_scheme": ("smearing", 1),
        "smearing_width": ("smearing_ev", 1), "nbands": ("bands", 1),
        "elec_energy_tol": ("scf_tolerance_per_atom_ev", 1),
    }  # fmt: skip
    unpolarised: ClassVar[Keywords] = {"spin_polarized": False, "spin_polarised": False}
    atom_drops = (
        "fix_occupancy smearing_width smearing_scheme nextra_bands perc_extra_bands nbands spin spin_fix "
        "spin_polarized spin_polarised"
    )

    def check_parameters(self, parameters: Keywords) -> None:
        cell = parameters.get("cell", {})
        if not isinstance(cell, Mapping):
            raise InputError(f"The parameter cell of CASTEP is a table of keywords of the .cell file, not {cell!r}.")
        named = parameters.get("pseudopotentials", {})
        if not isinstance(named, Mapping):
            raise InputError(f"The parameter pseudopotentials of CASTEP is a table of file names, not {named!r}.")
        self.refuse_reserved([*parameters, *cell])

    def check_complete(self, parameters: Keywords) -> None:
        if not ({"cut_off_energy", "basis_precision"} & {key.lower() for key in parameters}):
            raise InputError("CASTEP needs cut_off_energy, the cutoff of the plane waves in eV.")

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
        given = dict(parameters)
        cell = given.pop("cell", {})
        named = given.pop("pseudopotentials", {})
        # What ends in a bracket or is a number is no file: a recipe for a potential on the fly, or a library's name.
        files = {
            symbol: name for symbol, name in named.items() if str(name).lower().endswith((".usp", ".recpot", ".uspcc"))
        }
        found = pseudopotential_files(self, atoms, files, pseudo_dir, required=False, here=here)
        moments = atoms.get_initial_magnetic_moments()
        keywords: dict[str, Any] = {
            "write_checkpoint": "none",
            "num_dump_cycles": 0,
            # The stress is that of a constant number of plane waves or cutoff alike; a corrected energy is another one.
            "finite_basis_corr": 0,
        }
        keywords |= {key.lower(): value for key, value in given.items()}
        keywords |= {"task": "SinglePoint", "calculate_stress": True}
        if moments.any():
            keywords.setdefault("spin_polarized", True)
        lines = [f"{key.upper()} : {_value(value)}" for key, value in keywords.items()]
        (folder / "ndsc.param").write_text("\n".join(lines) + "\n", encoding="utf-8")

        blocks = cell_blocks(atoms) | {"KPOINTS_LIST": [_row(row) for row in kpoints]}
        pots = {symbol: str(found.get(symbol, named[symbol])) for symbol in named if symbol in set(atoms.symbols)}
        if pots:
            blocks["SPECIES_POT"] = [f"{symbol} {name}" for symbol, name in sorted(pots.items())]
        text = blocks_text(blocks)
        for key, value in cell.items():
            if isinstance(value, list):
                text += blocks_text({key.upper(): [str(row) for row in value]})
            else:
                text += f"{key.upper()} : {_value(value)}\n"
        (folder / "ndsc.cell").write_text(text, encoding="utf-8")
        return found

    def read(self, folder: Path, atoms: Atoms) -> Output:
        output = self.parse(folder / self.results)
        return output.ordered(_order(atoms.get_chemical_symbols(), output.atoms.get_chemical_symbols()))

    def parse(self, path: Path) -> Output:
        from ase.io import read

        text = text_of(path)
        with warnings.catch_warnings():
            # Each warning in the file would be one here.
            warnings.simplefilter("ignore")
            computed = read(path, format="castep-castep")
        energies = [found[-1] for pattern in ENERGIES if (found := re.findall(pattern, text))]
        if not energies:
            raise ValueError("it has no final energy")
        results = dict(computed.calc.results) | {"free_energy": energies[0]}
        version = re.search(r"CASTEP version\s+([\w.]+)", text)
        return Output.of(computed, results, f"CASTEP {version[1] if version else 'of unknown version'}")

    def atom_settings(self, moment: float) -> dict[str, Any]:
        spin = {"spin_polarized": True, "spin": moment, "spin_fix": -1} if moment else {}
        return {"fix_occupancy": False, "smearing_scheme": "Gaussian", "smearing_width": ATOM_WIDTH, **spin}


def cell_blocks(atoms: Atoms, *, masses: bool = False) -> dict[str, list[str]]:
    """The blocks of a structure in a ``.cell`` file, by their names: lattice, positions with moments, and masses.

    Parameters
    ----------
    atoms : ase.Atoms
        With collinear moments; others are left out.
    masses : bool
        Whether masses are written, and atoms of one element with different masses are made species of their own.
    """
    symbols = atoms.get_chemical_symbols()
    moments = atoms.get_initial_magnetic_moments()
    spins = [f" SPIN={moment:.10g}" if moment else "" for moment in moments] if moments.ndim == 1 else [""] * len(atoms)
    kinds = list(zip(symbols, atoms.get_masses().tolist() if masses else [None] * len(atoms), strict=True))
    labels = species_labels(kinds, ":")
    blocks = {
        "LATTICE_CART": ["ang", *(_row(row) for row in atoms.cell.array)],
        "POSITIONS_ABS": [
            "ang",
            *(
                f"{labels[kind]} {_row(position)}{spin}"
                for kind, position, spin in zip(kinds, atoms.positions, spins, strict=True)
            ),
        ],
    }
    if masses:
        blocks["SPECIES_MASS"] = [f"{label} {mass:.10g}" for (_, mass), label in labels.items()]
    return blocks


def blocks_text(blocks: Mapping[str, list[str]]) -> str:
    """Blocks of a ``.cell`` file as its text."""
    return "".join("\n".join([f"%BLOCK {name}", *rows, f"%ENDBLOCK {name}", "", ""]) for name, rows in blocks.items())


def _order(asked: list[str], computed: list[str]) -> list[int]:
    """Where each atom is in the output, in which the elements are sorted and the order within each is kept."""
    places: dict[str, list[int]] = {}
    for place, symbol in enumerate(computed):
        places.setdefault(symbol, []).append(place)
    if sorted(asked) != sorted(computed):
        raise ValueError(f"it has the atoms {''.join(computed)} instead of {''.join(asked)}")
    return [places[symbol].pop(0) for symbol in asked]


def _row(numbers: Any) -> str:
    return " ".join(f"{number:.14f}" for number in numbers)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)
