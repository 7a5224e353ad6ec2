"""Write Goedecker-Teter-Hutter pseudopotentials in the format of ABINIT, which Quantum ESPRESSO reads as .gth files.

They are read from CP2K's file GTH_POTENTIALS (S. Goedecker, M. Teter and J. Hutter, Phys. Rev. B 54, 1703 (1996);
M. Krack, Theor. Chem. Acc. 114, 145 (2005)), which Debian's package cp2k-data has.
Example: gth_potentials.py Mg-q2 W-q14 --out pseudo
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ase.data import atomic_numbers

SOURCE = Path("/usr/share/cp2k/GTH_POTENTIALS")
#: ABINIT's numbers of this format and of PBE.
FORMAT, PBE = 10, 11


def main() -> int:
    """Write one file for each pseudopotential; the exit code is 2 when one is not found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="SYMBOL-qN", help="element and number of electrons, such as Mg-q2")
    parser.add_argument("--source", type=Path, default=SOURCE, help=f"CP2K's file (default {SOURCE})")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files, which is made")
    given = parser.parse_args()
    try:
        lines = given.source.read_text(encoding="utf-8").splitlines()
        files = {f"{name}.gth": abinit_text(lines, name) for name in given.names}
        given.out.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (given.out / file).write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def abinit_text(lines: list[str], name: str) -> str:
    """One pseudopotential of PBE in ABINIT's format.

    CP2K gives the numbers of electrons of each angular momentum, the local part, and for each angular momentum a radius
    and the upper triangle of its projectors' matrix. ABINIT asks for a header, and for angular momenta above 0 for a
    second triangle, of spin-orbit coupling, which is zero.

    Parameters
    ----------
    lines : list of str
        CP2K's file.
    name : str
        Element and number of electrons, such as ``"Mg-q2"``.

    Raises
    ------
    ValueError
        When the file has no such pseudopotential of PBE.
    """
    symbol, _, electrons = name.partition("-q")
    starts = [i for i, line in enumerate(lines) if line.split()[:2] == [symbol, f"GTH-PBE-q{electrons}"]]
    if symbol not in atomic_numbers or not starts:
        known = [line.split()[1][7:] for line in lines if line.split()[:1] == [symbol] and "GTH-PBE-q" in line]
        found = ", ".join(f"{symbol}{one}" for one in dict.fromkeys(known)) or "none of this element"
        raise ValueError(f"There is no pseudopotential {name} of PBE. The file has {found}.")
    body = iter(lines[starts[0] + 1 :])
    n_electrons = sum(int(number) for number in next(body).split())
    local = next(body)
    n_channels = int(next(body).split()[0])
    lmax = max(n_channels - 1, 0)
    text = [
        f"{symbol} GTH-PBE-q{electrons}",
        f"{atomic_numbers[symbol]} {n_electrons} 0  zatom zion pspdat",
        f"{FORMAT} {PBE} {lmax} 0 2001 0  pspcod pspxc lmax lloc mmax r2well",
        local,
        str(n_channels),
    ]
    for momentum in range(n_channels):
        first = next(body)
        n_projectors = int(first.split()[1])
        text += [first, *(next(body) for _ in range(n_projectors - 1))]
        if momentum > 0:
            text += [" ".join(["0.0"] * (n_projectors - row)) for row in range(n_projectors)]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
