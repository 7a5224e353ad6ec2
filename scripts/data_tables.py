"""Write the tables of data/README.md again, from the labels that are there. With --check nothing is written."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.collections import dcdft

from ndsc.convergence import QUANTITIES
from ndsc.kpoints import kgrid_text
from ndsc.report.published import Published, published
from ndsc.report.tables import markdown_table
from ndsc.study.runs import StudyRun

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
PAGE = DATA / "README.md"
BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end of generated -->)", re.DOTALL)
CRYSTALS = ("mg/mg", "al/al", "si/si", "w/w")
NOISE = {
    "force_rms_mev_per_angstrom": "force, rms, meV/Å",
    "force_max_mev_per_angstrom": "largest",
    "virial_rms_mev_per_atom": "virial, rms, meV per atom",
    "virial_max_mev_per_atom": "largest",
    "virial_offset_mev_per_atom": "its constant part",
    "energy_rms_mev_per_atom": "energy, rms, meV per atom",
}


def main() -> int:
    """Write or check the page; the exit code is 1 when it is not as it would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, report what is out of date")
    check = parser.parse_args().check
    runs = {name: StudyRun.load(name, DATA / f"{name}.toml") for name in inputs()}
    functions = (contents, lattices, elastic, phonons, noise, bias, second)
    tables = {function.__name__: function for function in functions}
    text = PAGE.read_text(encoding="utf-8")
    new = BLOCK.sub(lambda found: found[1] + "\n".join(tables[found["name"]](runs)) + "\n" + found[3], text)
    if check and new != text:
        sys.stderr.write(f"{PAGE.relative_to(ROOT)} is out of date: run {Path(__file__).relative_to(ROOT)}\n")
        return 1
    if not check:
        PAGE.write_text(new, encoding="utf-8")
    return 0


def paper_of(run: StudyRun) -> Published:
    """What Allen and Bartók (2022) report for the same crystal."""
    found = published(run.facts(elastic=False))
    assert found is not None
    return found


def inputs() -> list[str]:
    """The input files of databases, the crystals' own first.

    Those of ``second`` have the settings of another code.
    """
    paths = [path.relative_to(DATA).with_suffix("") for path in DATA.rglob("*.toml")]
    found = sorted(str(path) for path in paths if path.parts[0] != "second")
    return [*(name for name in CRYSTALS if name in found), *(name for name in found if name not in CRYSTALS)]


def contents(runs: dict[str, StudyRun]) -> Iterator[str]:
    """What each input file asks for, and what its labels took."""
    rows = []
    for name, run in runs.items():
        kinds = Counter(str(atoms.info["config_type"]) for atoms in run.database.values())
        phonon = [run.plan.store.get(run.plan.store.key_of(atoms, run.plan.spec)) for atoms in run.plan.phonon_frames]
        seconds = sum(label.cost_seconds for label in [*run.labels.values(), *phonon] if label is not None)
        rows.append(
            [
                f"[{name}.toml]({name}.toml)",
                str(kinds["unit_cell"]),
                str(kinds["supercell"]),
                str(sum(len(atoms) for atoms in run.database.values())),
                str(len(phonon)),
                f"{seconds / 3600:.1f}",
            ]
        )
    head = ["input", "unit cells", "supercells", "atoms", "cells for the phonons", "hours"]
    yield markdown_table(head, rows)


def smearing(name: str, width: float, order: int | None = None) -> str:
    """As a cell of a table."""
    return f"{name}{'' if order is None else f' of order {order}'}, {width} eV"


def lattices(runs: dict[str, StudyRun]) -> Iterator[str]:
    """Relaxed lattices beside the paper's."""
    rows = []
    for name in CRYSTALS:
        if name in runs:
            run = runs[name]
            paper = paper_of(run).reference
            a, _, c = run.plan.crystal.atoms.cell.lengths()
            spec = run.plan.spec
            rows.append(
                [
                    run.plan.crystal.atoms.get_chemical_formula(mode="reduce"),
                    f"{spec.parameters['mode']['ecut']} eV",
                    kgrid_text(spec.kgrid or 1, " x "),
                    smearing(**spec.parameters["occupations"]),
                    f"{a:.3f}" + (f" / {c:.3f}" if "c" in paper else ""),
                    f"{paper['a']:.3f}" + (f" / {paper['c']:.3f}" if "c" in paper else ""),
                    f"{run.plan.crystal.atoms.get_volume() / len(run.plan.crystal.atoms):.2f}",
                    f"{dcdft.data[run.plan.crystal.atoms.symbols[0]]['wien2k_volume']:.2f}",
                ]
            )
    head = ["", "cutoff", "k-points", "smearing", "a (/ c), Å", "paper, Å", "Å³ per atom", "all-electron"]
    yield markdown_table(head, rows)


def elastic(runs: dict[str, StudyRun]) -> Iterator[str]:
    """Elastic constants beside the paper's."""
    names = ("bulk modulus", "C11", "C12", "C13", "C33", "C44", "C66")
    rows = []
    for name in CRYSTALS:
        found = runs[name].reference(phonons=False).elastic if name in runs else None
        if found is not None:
            ours = {"bulk modulus": found.bulk_modulus, **found.constants}
            paper = paper_of(runs[name]).reference
            symbol = runs[name].plan.crystal.atoms.symbols[0]
            electrons = {"bulk modulus": dcdft.data[symbol]["wien2k_B"]}
            for head, numbers in ((symbol, ours), ("paper", paper), ("all-electron", electrons)):
                shown = {key: f"{numbers[key]:.1f}" for key in names if key in paper and key in numbers}
                rows.append([head, *(shown.get(key, "") for key in names)])
    yield markdown_table(["GPa", *names], rows)


def phonons(runs: dict[str, StudyRun]) -> Iterator[str]:
    """Extreme frequencies of the references, and how well the perfect supercells agree with the unit cell."""
    rows = []
    for name, run in runs.items():
        if run.plan.selects or run.plan.phonon_supercells.grid != (4, 4, 4):
            continue  # Judged by the phonons of another input file.
        reference = run.reference(elastic=False).phonons
        assert reference is not None
        phonon = reference.phonopy
        phonon.run_mesh([20, 20, 20])
        frequencies = phonon.mesh.frequencies
        perfect = run.plan.perfect_unit_cells[:1]
        perfect += [frame for frame in run.plan.phonon_frames if frame.info["config_type"] == "phonon_perfect"]
        labels = [run.plan.store.get(run.plan.store.key_of(frame, run.plan.spec)) for frame in perfect]
        energies = [
            label.energy / len(frame) for label, frame in zip(labels, perfect, strict=True) if label is not None
        ]
        off = 1e3 * np.max(np.abs(np.subtract(energies, energies[0])))
        rows.append([name, f"{frequencies.max():.2f}", f"{frequencies.min():.2f}", f"{off:.4f}"])
    head = ["", "highest, THz", "lowest on the mesh, THz", "perfect supercells from the unit cell, meV per atom"]
    yield markdown_table(head, rows)


def noise(runs: dict[str, StudyRun]) -> Iterator[str]:
    """Changes at denser settings, from the noise.json that `ndsc converge --check` wrote."""
    rows = []
    for name in (name for name in CRYSTALS if name in runs):
        path = (DATA / name).with_name("noise") / "noise.json"
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            settings, change = found["denser"], found["difference"]
            cells = [
                str(len(found["configurations"])),
                f"{kgrid_text(settings['kgrid'], ' x ')}, {settings['parameters']['mode']['ecut']} eV",
                *(f"{change[key]:.2f}" for key in NOISE),
            ]
        else:
            cells = ["", "", *("not yet" for _ in NOISE)]
        rows.append([Path(name).name.capitalize(), *cells])
    yield markdown_table(["", "configurations", "denser settings", *NOISE.values()], rows)


def bias(runs: dict[str, StudyRun]) -> Iterator[str]:
    """The worst changes against a limit, from the bias.json that `ndsc converge --bias` wrote."""
    rows = []
    for name in (name for name in CRYSTALS if name in runs):
        found = compared((DATA / name).with_name("bias"))
        cells = []
        for quantity in QUANTITIES:
            numbers = [row for row in found["rows"] if row["quantity"] == quantity]
            worst = max(numbers, key=lambda row: abs(row["change"]) / row["allowed"], default=None)
            cells.append("not yet" if worst is None else changed(worst))
        rows.append([f"[{name}.toml]({name}.toml)", limit_text(found["limit"]), *cells])
    yield markdown_table(["", "limit", *QUANTITIES], rows)


def second(runs: dict[str, StudyRun]) -> Iterator[str]:
    """Every number beside that of another code, from the bias.json that `ndsc converge --bias --against` wrote."""
    rows = []
    for name in (name for name in CRYSTALS if name in runs):
        crystal = Path(name).name
        for row in compared(DATA / "second" / crystal)["rows"]:
            percent = "" if row["percent"] is None or row["quantity"] == "virials" else f"{row['percent']:+.2g}"
            values = [f"{row[key]:.4g}" for key in ("value", "limit", "change")]
            rows.append([crystal.capitalize(), row["quantity"], row["name"], row["unit"], *values, percent])
    yield markdown_table(["", "", "", "unit", "GPAW", "ABINIT", "difference", "%"], rows)


def compared(folder: Path) -> dict[str, Any]:
    """The bias.json of a folder, without rows where there is none."""
    path = folder / "bias.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {"rows": [], "limit": None, **found}


def changed(row: dict[str, Any]) -> str:
    """A change as a cell of a table; one that is larger than its target is bold."""
    number = f"{row['change']:.2g} {row['unit']}"
    share = "" if row["percent"] is None or row["quantity"] == "virials" else f", {row['percent']:.2g} %"
    text = f"{number}{share}" if row["quantity"] in ("forces", "virials") else f"{row['name']} {number}{share}"
    return text if row["within"] else f"**{text}**"


def limit_text(settings: dict[str, Any] | None) -> str:
    """Smearing, k-points and cutoff of a limit as a cell of a table."""
    if settings is None:
        return ""
    parameters, kpoints = settings["parameters"], kgrid_text(settings["kgrid"], " x ")
    return f"{smearing(**parameters['occupations'])}, {kpoints}, {parameters['mode']['ecut']} eV"


if __name__ == "__main__":
    sys.exit(main())
