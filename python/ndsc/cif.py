"""CIF files whose symmetry may be read wrongly: composition and setting are compared with what the file says."""

from __future__ import annotations

import logging
import re
from collections import Counter
from math import gcd
from pathlib import Path
from typing import Any

from ase import Atoms

from ndsc.errors import InputError

log = logging.getLogger(__name__)

OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_symmetry_equiv.pos_as_xyz",
)
#: Groups that the International Tables describe with two origins, and those with hexagonal and rhombohedral axes.
TWO_ORIGINS = frozenset(
    (48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130, 133, 134, 137, 138, 141, 142, 201, 203, 222, 224, 227, 228)
)
TWO_AXES = frozenset((146, 148, 155, 160, 161, 166, 167))


def check_cif(path: Path, atoms: Atoms, index: int) -> None:
    """Compare the crystal that ASE made of a CIF with what else the file says.

    A file without symmetry operations names a space group only. Where this has several settings, ASE takes the first.

    Parameters
    ----------
    path : path
        The file.
    atoms : ase.Atoms
        What ASE made of it.
    index : int
        Which of its structures.

    Raises
    ------
    InputError
        When the composition is not that of ``_chemical_formula_sum``, sites that are partially occupied aside.

    Warns
    -----
    Through logging, where only the name of a group with several settings decides where the atoms are.
    """
    from ase.io.cif import parse_cif

    blocks: list[Any] = [block for block in parse_cif(str(path)) if block.has_structure()]
    try:
        block = blocks[index]
    except IndexError:
        return
    unsure = _unsure_setting(block)
    said = block.get("_chemical_formula_sum")
    expected = _composition(str(said))
    if expected and not _partial(block) and expected != _reduced(Counter(atoms.get_chemical_symbols())):
        raise InputError(
            f"{path} says that its composition is {str(said).strip()!r} (_chemical_formula_sum), but its sites make "
            f"{atoms.get_chemical_formula()}. "
            + (
                unsure[:1].upper() + unsure[1:]
                or "Atoms are missing in the file, or its symmetry is not that of the sites"
            )
            + ". Write the symmetry operations into the file, or all atoms with space group P 1, or mend the formula."
        )
    if unsure:
        log.warning("%s: %s. Check the number of atoms, or write the operations into the file.", path.name, unsure)


def _unsure_setting(block: Any) -> str:
    """What ASE had to guess, as a part of a sentence; empty where the file has operations or its group one setting."""
    if any(name in block for name in OPERATIONS) or "_symmetry_space_group_setting" in block:
        return ""
    try:
        number = int(block.get_spacegroup(True).no)
    except Exception:  # ASE's reader raises anything; the file has been read by then
        return ""
    if number in TWO_ORIGINS:
        return (
            f"no symmetry operations are given, and space group {number} has two choices of origin, of which ASE takes "
            "the first"
        )
    if number in TWO_AXES and abs(float(block.get_cellpar()[5]) - 120.0) > 1e-3:
        return (
            f"no symmetry operations are given, and space group {number} has hexagonal and rhombohedral axes, of which "
            "ASE takes the hexagonal ones"
        )
    return ""


def _composition(formula: str) -> dict[str, int] | None:
    """Numbers of atoms by element, without common factor; None where the text is not such a formula."""
    counts: Counter[str] = Counter()
    words = re.findall(r"([A-Z][a-z]?)\s*(\d*)|(\S)", formula.strip().strip("'\""))
    for element, number, other in words:
        if other:
            return None
        counts["H" if element == "D" else element] += int(number or 1)
    return _reduced(counts) if any(counts.values()) else None


def _reduced(counts: Counter[str]) -> dict[str, int]:
    factor = gcd(*counts.values())
    return {element: number // factor for element, number in counts.items() if number}


def _partial(block: Any) -> bool:
    """Whether a site is not occupied by exactly one atom, which is refused with a message of its own."""
    for value in block.get("_atom_site_occupancy") or []:
        text = str(value).split("(")[0].strip()
        try:
            if text not in (".", "?") and abs(float(text) - 1.0) > 1e-3:
                return True
        except ValueError:
            return True
    return False
