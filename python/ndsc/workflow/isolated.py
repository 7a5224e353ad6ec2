"""Single atoms, whose energies are the zero of the potential's where ``[fit] e0 = "isolated"``.

With an empirical potential they are labelled like any configuration. A density-functional code needs other settings for
them (spin, sharp occupations, one k-point), so each has its own calculator; its label is in the same store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ase import Atoms

from ndsc.codes.base import magnetic_moment
from ndsc.config import RunConfig
from ndsc.reference import CalculatorSpec

#: Length of the cubic cell of an isolated atom of an empirical potential, Å.
ISOLATION = 20.0
#: Edges of the cell of a density-functional code, relative to the shortest: no two are equal, so that the orbitals of
#: an open shell are not degenerate and the iteration settles.
EDGES = (1.0, 1.02, 1.04)


@dataclass(frozen=True)
class IsolatedAtom:
    """A single atom with the calculator that it needs.

    Attributes
    ----------
    atoms : ase.Atoms
    spec : CalculatorSpec
    """

    atoms: Atoms
    spec: CalculatorSpec


def isolated_atoms(
    config: RunConfig, atoms: Atoms, spec: CalculatorSpec, *, others: Sequence[str] = ()
) -> list[IsolatedAtom]:
    """One atom of each element far from its images, where the fit's e0 are the energies of such atoms.

    Parameters
    ----------
    config : RunConfig
    atoms : ase.Atoms
        The crystal.
    spec : CalculatorSpec
        Of the crystal's labels.
    others : sequence of str
        Elements that atoms of the crystal are substituted by.

    Raises
    ------
    InputError
        When the calculator is a user's own that needs k-points: nothing is known about its settings.
    """
    if config.fit.method == "none" or config.fit.e0 != "isolated":
        return []
    symbols = sorted({*atoms.get_chemical_symbols(), *others})
    if spec.kgrid is None:
        return [IsolatedAtom(_atom(symbol, (ISOLATION,) * 3), spec) for symbol in symbols]
    section = config.reference
    found = []
    for symbol in symbols:
        atom = _atom(symbol, tuple(round(section.atom_box * edge, 6) for edge in EDGES))
        if moment := magnetic_moment(symbol):
            atom.set_initial_magnetic_moments([moment])
        parameters = {**spec.code.atom_parameters(spec.parameters, symbol), **section.atom_parameters}
        found.append(IsolatedAtom(atom, replace(spec, parameters=parameters, kgrid=(1, 1, 1))))
    return found


def _atom(symbol: str, edges: Sequence[float]) -> Atoms:
    atom = Atoms(symbol, cell=list(edges), positions=[[edge / 2 for edge in edges]], pbc=True)
    atom.info.update({"ndsc_name": f"isolated-{symbol}", "config_type": "isolated_atom"})
    return atom
