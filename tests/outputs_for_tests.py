"""Output files of programs, made of what EMT says of a structure, in the layouts that the programs write."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, GPa, Hartree

from ndsc.kpoints import reduced_kpoints


class Result:
    """What EMT says of a structure, or what is given, with the atoms in the order that a program gives them.

    Given are the free energy (eV), the forces (eV/Å) in the order of the atoms, and the (3, 3) stress (eV/Å³).
    """

    def __init__(self, atoms: Atoms, order=None, given=None):
        computed = atoms.copy()
        computed.set_constraint()
        order = list(range(len(atoms))) if order is None else order
        if given is None:
            computed.calc = EMT()
            stress = voigt_6_to_full_3x3_stress(computed.get_stress())
            given = computed.get_potential_energy(force_consistent=True), computed.get_forces(), stress
        self.energy, forces, self.stress = given
        self.forces = forces[order]
        self.atoms = computed[order]


def kpoints_of(atoms: Atoms, kgrid=(2, 2, 2)):
    """The folded k-points of a structure as rows of four numbers."""
    matrix = np.array(atoms.info.get("ndsc_matrix", np.eye(3))).reshape(3, 3).astype(int)
    points, weights = reduced_kpoints(matrix, kgrid)
    return np.column_stack([points, weights])


def vasprun(atoms, order=None, *, encut=400.0, steps=5, kpoints=None, stress=True, isym=0, given=None):
    """vasprun.xml of a single point."""
    result = Result(atoms, order, given)
    kpoints = kpoints_of(atoms) if kpoints is None else kpoints

    def varray(name, rows):
        lines = "".join("<v>" + " ".join(f"{x:.10f}" for x in row) + "</v>\n" for row in rows)
        return f'<varray name="{name}">\n{lines}</varray>\n'

    def energy():
        values = {"e_fr_energy": result.energy, "e_wo_entrp": result.energy + 0.2, "e_0_energy": result.energy + 0.1}
        return "<energy>" + "".join(f'<i name="{name}">{value:.8f}</i>' for name, value in values.items()) + "</energy>"

    scaled = result.atoms.get_scaled_positions()
    crystal = f"<crystal>{varray('basis', result.atoms.cell)}</crystal>{varray('positions', scaled)}"
    symbols = "".join(f"<rc><c>{symbol} </c><c>1</c></rc>" for symbol in result.atoms.get_chemical_symbols())
    types = "".join(
        f"<rc><c>1</c><c>{symbol}</c><c>0</c><c>0</c><c> PAW_PBE {symbol} 04Jan2001</c></rc>"
        for symbol in dict.fromkeys(result.atoms.get_chemical_symbols())
    )
    tensor = varray("stress", -10 * result.stress / GPa) if stress else ""
    return (
        '<?xml version="1.0"?>\n<modeling><generator><i name="version" type="string">6.3.0  </i></generator>\n'
        f'<incar><i type="string" name="PREC">accurate</i><i name="ENCUT">{encut:.8f}</i></incar>\n'
        f"<kpoints>{varray('kpointlist', kpoints[:, :3])}{varray('weights', kpoints[:, 3:])}</kpoints>\n"
        '<parameters><i type="string" name="PREC">accura</i><i type="int" name="NELM">    60</i>'
        f'<i type="int" name="ISYM">{isym}</i>'
        f'<i name="ENMAX">    {encut:.8f}</i><i type="int" name="ISMEAR">1</i><i name="SIGMA">0.20000000</i>'
        '<i name="EDIFF">0.00000100</i><i type="string" name="GGA">PE</i></parameters>\n'
        f'<atominfo><array name="atoms"><set>{symbols}</set></array>'
        f'<array name="atomtypes"><set>{types}</set></array></atominfo>\n'
        f'<structure name="initialpos">{crystal}</structure>\n<calculation>'
        + "".join(f"<scstep>{energy()}</scstep>" for _ in range(steps))
        + f"<structure>{crystal}</structure>{varray('forces', result.forces)}{tensor}"
        + f"{energy()}</calculation>\n</modeling>\n"
    )


def outcar(atoms, *, encut=400.0, converged=True, whole=True, kpoints=None):
    """OUTCAR of a single point; atoms must be grouped by element."""
    result = Result(atoms)
    kpoints = kpoints_of(atoms) if kpoints is None else kpoints
    symbols = result.atoms.get_chemical_symbols()
    species = list(dict.fromkeys(symbols))
    lines = [" vasp.6.3.0 18Jan22 (build Mar 01 2022) complex", " executed on  LinuxGNU date 2026.11.28  10:00:00"]
    lines += [f" POTCAR:    PAW_PBE {symbol} 04Jan2001" for symbol in species * 2]
    lines += [f"   TITEL  = PAW_PBE {symbol} 04Jan2001" for symbol in species]
    n = len(kpoints)
    lines += [
        f"   k-points           NKPTS = {n:6d}   k-points in BZ     NKDIM = {n:6d}   number of bands    NBANDS=     12",
        "   ions per type =  " + " ".join(f"{symbols.count(symbol):6d}" for symbol in species),
        "   PREC   = accura    normal or accurate (medium, high low for compatibility)",
        "   ISPIN  =      1    spin polarized calculation?",
        f"   ENCUT  =  {encut:.1f} eV  29.40 Ry    5.42 a.u.  10.0 10.0 10.0*2*pi/ulx,y,z",
        "   EDIFF  = 0.1E-05   stopping-criterion for ELM",
        "   ISMEAR =     1;   SIGMA  =   0.20  broadening in eV -4-tet -1-fermi 0-gaus",
        "   GGA     =    PE    GGA type",
        " k-points in reciprocal lattice and weights: folded",
        *(" ".join(f"{x:11.8f}" for x in row) for row in kpoints),
        "",
        "--------------------------------------- Iteration      1(   1)  ---------------------------------------",
    ]
    reached = "because EDIFF is reached" if converged else "EDIFF was not reached (unconverged)"
    lines += [f"------------------------ aborting loop {reached} ----------------------------------------", ""]
    kilobars = (-10 * result.stress / GPa)[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
    lines += ["  in kB  " + " ".join(f"{x:11.5f}" for x in kilobars)]
    lines += ["      direct lattice vectors                 reciprocal lattice vectors"]
    lines += [" ".join(f"{x:14.9f}" for x in [*row, 0, 0, 0]) for row in result.atoms.cell]
    lines += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " " + "-" * 80]
    rows = np.hstack([result.atoms.get_positions(wrap=True), result.forces])
    lines += [" ".join(f"{x:13.5f}" for x in row[:3]) + " ".join(f"{x:15.6f}" for x in row[3:]) for row in rows]
    lines += [" " + "-" * 80, "", "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)", "  " + "-" * 50]
    lines += [f"  free  energy   TOTEN  = {result.energy:18.8f} eV", ""]
    lines += [
        f"  energy  without entropy= {result.energy + 0.2:17.8f}  energy(sigma->0) = {result.energy + 0.1:17.8f}",
        "",
        "",
    ]
    if whole:
        lines += [" General timing and accounting informations for this job:", "   Elapsed time (sec):       12.345"]
    return "\n".join([*lines, ""])


def castep(atoms, *, cutoff=400.0, converged=True, kpoints=None, given=None):
    """The .castep file of a single point, elements in the order of their numbers."""
    result = Result(atoms, np.argsort(atoms.numbers, kind="stable"), given)
    symbols, counts = result.atoms.get_chemical_symbols(), {}
    lines = [
        " | Welcome to Academic Release CASTEP version 23.1 |",
        " ***** Title *****",
        "",
        " ******************",
        "",
        " using functional                               : Perdew Burke Ernzerhof",
        f" plane wave basis set cut-off                   : {cutoff:10.4f}   eV",
        " smearing scheme                                : Gaussian",
        " smearing width                                 : 0.2000       eV",
        "",
        "                                      Unit Cell",
        "                     Real Lattice(A)        Reciprocal lattice(1/A)",
        *(" ".join(f"{x:14.7f}" for x in [*row, 0, 0, 0]) for row in result.atoms.cell),
        "",
        "                   Cell Contents",
        f"          Total number of ions in cell = {len(atoms):4d}",
        "",
        "            x  Element    Atom        Fractional coordinates of atoms    x",
        "            x            Number           u          v          w        x",
        "            x------------------------------------------------------------x",
    ]
    for symbol, row in zip(symbols, result.atoms.get_scaled_positions(), strict=True):
        counts[symbol] = counts.get(symbol, 0) + 1
        lines.append(
            f"            x  {symbol:2s} {counts[symbol]:10d} " + " ".join(f"{x:10.6f}" for x in row) + "     x"
        )
    kpoints = kpoints_of(atoms) if kpoints is None else kpoints
    lines += [f"             Number of kpoints used =    {len(kpoints)}"]
    if not converged:
        lines.append(" *Warning* max. SCF cycles performed but system has not reached the groundstate.")
    lines += [
        f"Final energy, E             = {result.energy + 0.2:16.9f}     eV",
        f"Final free energy (E-TS)    = {result.energy:16.9f}     eV",
        f"NB est. 0K energy (E-0.5TS)      = {result.energy + 0.1:16.9f}     eV",
        "",
        " ************************************** Forces **************************************",
        " *                           Cartesian components (eV/A)                            *",
    ]
    for symbol, row in zip(symbols, result.forces, strict=True):
        lines.append(f" * {symbol:2s} {1:14d} " + " ".join(f"{x:18.5f}" for x in row) + "         *")
    lines += [
        "",
        " ***************** Stress Tensor *****************",
        " *          Cartesian components (GPa)           *",
    ]
    for axis, row in zip("xyz", result.stress / GPa, strict=True):
        lines.append(f" *  {axis} " + " ".join(f"{x:13.6f}" for x in row) + "  *")
    lines += [
        " *                                               *",
        " *  Pressure:   -20.0000                            *",
    ]
    return "\n".join([*lines, "", "Finalisation time   =      0.18 s", "Total time          =      9.33 s", ""])


def aims(atoms, *, converged=True, old=False, forces=True):
    """The main output of FHI-aims, as of 2022 or of 2018."""
    result = Result(atoms)
    lines = [
        "          Invoking FHI-aims ...",
        "          Version 180126" if old else "          FHI-aims version      : 221103",
        "  xc               pbe",
        f'  #  Suggested "light" defaults for {atoms[0].symbol} atom (to be pasted into control.in file)',
        "",
    ]
    lines += [
        f"  | Number of atoms                   : {len(atoms):8d}",
        "  | Number of spin channels           :        1",
    ]
    lines += [f"  The structure contains {len(atoms):8d} atoms,  and a total of         52.000 electrons."]
    lines += ["  | Number of Kohn-Sham states (occupied + empty):       40", "  Input geometry:", "  | Unit cell: "]
    lines += ["  |   " + " ".join(f"{x:16.8f}" for x in row) for row in result.atoms.cell]
    lines += ["  | Atomic structure: ", "  |       Atom                x [A]            y [A]            z [A]"]
    for number, atom in enumerate(result.atoms, 1):
        lines.append(f"  | {number:4d}: Species {atom.symbol:2s} " + " ".join(f"{x:16.8f}" for x in atom.position))
    lines += ["", "  Begin self-consistency iteration #    1", ""]
    lines += ["  Self-consistency cycle converged." if converged else "  Self-consistency cycle not converged.", ""]
    lines += ["  +-------------------------------------------------------------------+"]
    lines += ["  |              Analytical stress tensor - Symmetrized               |"]
    lines += ["  |                  Cartesian components [eV/A**3]                   |"]
    lines += ["  +-------------------------------------------------------------------+"]
    lines += ["  |                x                y                z                |", "  |" + " " * 67 + "|"]
    for axis, row in zip("xyz", result.stress, strict=True):
        lines.append(f"  |  {axis} " + " ".join(f"{x:16.8f}" for x in row) + "             |")
    lines += ["", "  Energy and forces in a compact form:"]
    lines += [f"  | Total energy uncorrected      : {result.energy + 0.2:28.15E} eV"]
    lines += [f"  | Electronic free energy        : {result.energy:28.15E} eV"]
    lines += ["  Total atomic forces (unitary forces cleaned) [eV/Ang]:"] if forces else []
    for number, row in enumerate(result.forces if forces else [], 1):
        lines.append(f"  | {number:4d} " + " ".join(f"{x:28.15E}" for x in row))
    return "\n".join([*lines, "", "          Have a nice day.", ""])


def cp2k(atoms, *, converged=True, new=False, old=False, forces=True):
    """The main output of an ENERGY_FORCE calculation of CP2K: in the layout of 6.1 (`old`), of 8.1, or of 2025."""
    result = Result(atoms)
    lines = ["  **** **** ******  **  PROGRAM STARTED AT               2026-11-28 09:59:00.000"]
    lines += [f" CP2K| version string:                    CP2K version {'6.1' if old else '2025.1' if new else '8.1'}"]
    for axis, row in zip("abc", result.atoms.cell, strict=True):
        vector = " ".join(f"{x:9.3f}" if old else f"{x:14.9f}" for x in row)
        lines.append(f" CELL| Vector {axis} [angstrom]: {vector}    |{axis}| = {np.linalg.norm(row):11.3f}")
    lines += [" FUNCTIONAL| PBE:", " QS|   Density cutoff [a.u.]:                          200.0"]
    for number, symbol in enumerate(dict.fromkeys(atoms.get_chemical_symbols()), 1):
        lines += [
            f"  {number}. Atomic kind: {symbol}                                Number of atoms:       1",
            "     Orbital Basis Set                                        DZVP-MOLOPT-SR-GTH",
            "     GTH Potential information for                                    GTH-PBE-q11",
        ]
    lines += [" MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM", "", "  Atom Kind Element  X  Y  Z  Z(eff)  Mass", ""]
    for number, atom in enumerate(result.atoms, 1):
        place = " ".join(f"{x:13.6f}" for x in atom.position)
        lines.append(f" {number:6d} {1:5d} {atom.symbol:2s} {atom.number:4d} {place} {3.0:12.4f} {atom.mass:10.4f}")
    lines += ["  *** SCF run converged in    12 steps ***" if converged else " *** WARNING: SCF run NOT converged ***"]
    unit = "hartree" if new else "a.u."
    lines += [f" ENERGY| Total FORCE_EVAL ( QS ) energy [{unit}]:        {result.energy / Hartree:20.15f}"]
    printed, forces = forces, result.forces * Bohr / Hartree
    if not printed:
        pass
    elif new:
        lines += [
            " FORCES| Atomic forces [hartree/bohr]",
            " FORCES|   Atom     x               y               z   |f|",
        ]
        for number, force in enumerate(forces, 1):
            row = [*force, np.linalg.norm(force)]
            lines.append(f" FORCES| {number:6d} " + " ".join(f"{x:15.8E}" for x in row))
        lines += [" FORCES| Sum     0.00000000E+00  0.00000000E+00  0.00000000E+00  0.00000000E+00"]
    else:
        lines += [" ATOMIC FORCES in [a.u.]", "", " # Atom   Kind   Element          X              Y              Z"]
        for number, (atom, force) in enumerate(zip(result.atoms, forces, strict=True), 1):
            lines.append(f" {number:6d} {1:6d}      {atom.symbol:2s} " + " ".join(f"{x:14.8f}" for x in force))
        lines += [" SUM OF ATOMIC FORCES 0.0 0.0 0.0 0.0"]
    if old:
        lines += ["", " STRESS TENSOR [GPa]", "", "            X               Y               Z"]
        lines += [
            f"  {axis} " + " ".join(f"{x:15.8f}" for x in row)
            for axis, row in zip("XYZ", -result.stress / GPa, strict=True)
        ]
    else:
        lines += [f" STRESS| Analytical stress tensor [{'bar' if new else 'GPa'}]"]
        lines += [" STRESS|                        x                   y                   z"]
        for axis, row in zip("xyz", -result.stress / GPa * (1e4 if new else 1), strict=True):
            lines.append(f" STRESS|      {axis} " + " ".join(f"{x:19.11E}" for x in row))
    lines += [" CP2K                                 1  1.0    0.006    0.019    9.191    9.198"]
    return "\n".join([*lines, "  **** ****   PROGRAM ENDED AT                 2026-11-28 10:00:00.000", ""])
