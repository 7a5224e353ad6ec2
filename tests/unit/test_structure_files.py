"""Structures in the formats of other programs, written and read back."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from typer.testing import CliRunner

from ndsc.cli import app
from ndsc.cli.structures import FORMATS as NAMES
from ndsc.errors import InputError
from ndsc.structure_files import FORMATS, write_structures


def oxide() -> Atoms:
    """Elements in no order, in a triclinic cell, without data of the atoms."""
    scaled = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0.01, 0.5, 0.47]]
    return Atoms("FeNiFeO", scaled_positions=scaled, cell=[[4, 0.1, 0], [0, 4.1, 0.3], [0.2, 0, 4.2]], pbc=True)


def decorated() -> Atoms:
    atoms = oxide()
    atoms.set_initial_magnetic_moments([2.2, 0.6, -2.2, 0.0])
    atoms.set_masses([57.0, None, None, 18.0])
    atoms.set_initial_charges([1.0, 0.0, 0.0, -1.0])
    atoms.set_tags([1, 2, 0, 0])
    return atoms


def back(folder: Path, file_format: str) -> Atoms:
    with warnings.catch_warnings():  # ASE's readers speak of plugins and of programs that are not installed
        warnings.simplefilter("ignore")
        return read(folder / f"s.{FORMATS[file_format].ending}", format=file_format)


def moments_of(folder: Path, file_format: str, symbols: list[str]) -> np.ndarray:
    """Moments in the files, by the order of the atoms there, relative to the largest."""
    if file_format == "vasp":
        values = re.search(r"MAGMOM = (.*)", (folder / "s.INCAR").read_text())[1].split()
    elif file_format == "espresso-in":  # ASE's reader has one moment for each element
        lines = (folder / "s.pwi").read_text().splitlines()
        start, number = lines.index("ATOMIC_SPECIES") + 1, int(re.search(r"ntyp = (\d+)", "\n".join(lines))[1])
        labels = [line.split()[0] for line in lines[start : start + number]]
        species = [float(line.split("=")[1]) for line in lines if "starting_magnetization" in line]
        positions = lines[lines.index("ATOMIC_POSITIONS angstrom") + 1 :]
        values = [species[labels.index(line.split()[0])] for line in positions if line]
        assert "nspin = 2" in "\n".join(lines)
    else:
        values = back(folder, file_format).get_initial_magnetic_moments()
    moments = np.array(values, dtype=float)
    assert len(moments) == len(symbols)
    return moments / np.abs(moments).max()


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("atoms", [oxide(), bulk("Al") * (2, 1, 1), bulk("Mg")], ids=["oxide", "Al", "Mg"])
def test_a_structure_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file_format: str, atoms: Atoms
) -> None:
    write_structures(tmp_path, [("s", atoms)], file_format)
    found = back(tmp_path, file_format)
    order = np.argsort(atoms.get_chemical_symbols(), kind="stable") if file_format == "vasp" else range(len(atoms))
    wanted = atoms[list(order)]
    assert found.get_chemical_symbols() == wanted.get_chemical_symbols()
    assert np.allclose(found.cell.cellpar(), wanted.cell.cellpar(), atol=1e-6)
    difference = found.get_scaled_positions() - wanted.get_scaled_positions()
    assert np.allclose(difference, np.rint(difference), atol=1e-7)
    assert not caplog.records
    assert not (tmp_path / "s.INCAR").exists()


@pytest.mark.parametrize(
    ("file_format", "lost"),
    [
        ("extxyz", []),
        ("vasp", ["masses", "charges", "tags"]),
        ("cif", ["magnetic moments", "masses", "charges", "tags"]),
        ("castep-cell", ["charges", "tags"]),
        ("espresso-in", ["charges", "tags"]),
        ("abinit-in", ["masses", "charges", "tags"]),
        ("aims", ["masses", "tags"]),
    ],
)
def test_data_of_the_atoms_is_kept_or_its_loss_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file_format: str, lost: list[str]
) -> None:
    atoms = decorated()
    with caplog.at_level(logging.WARNING):
        write_structures(tmp_path, [("s", atoms), ("t", atoms)], file_format)
    assert len(caplog.records) == bool(lost)
    for what in ("magnetic moments", "masses", "charges", "tags"):
        assert (what in caplog.text) == (what in lost)
    found = back(tmp_path, file_format)
    if "magnetic moments" not in lost:
        order = [0, 2, 1, 3] if file_format == "vasp" else [0, 1, 2, 3]
        wanted = atoms[order].get_initial_magnetic_moments() / 2.2
        symbols = atoms.get_chemical_symbols()
        assert moments_of(tmp_path, file_format, symbols) == pytest.approx(wanted, abs=1e-9)
    if "masses" not in lost and file_format != "espresso-in":
        assert found.get_masses() == pytest.approx(atoms.get_masses())
    if "charges" not in lost:
        assert found.get_initial_charges() == pytest.approx(atoms.get_initial_charges())


def test_species_of_pw_x_are_told_apart_by_moment_and_mass(tmp_path: Path) -> None:
    write_structures(tmp_path, [("s", decorated())], "espresso-in")
    lines = (tmp_path / "s.pwi").read_text().splitlines()
    start = lines.index("ATOMIC_SPECIES") + 1
    species = [line.split() for line in lines[start : start + 4]]
    assert species == [
        ["Fe1", "57", "Fe.UPF"], ["Ni", "58.6934", "Ni.UPF"], ["Fe2", "55.845", "Fe.UPF"], ["O", "18", "O.UPF"],
    ]  # fmt: skip


def test_vector_moments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    atoms = oxide()
    atoms.set_initial_magnetic_moments(np.arange(12.0).reshape(4, 3))
    for file_format, form in FORMATS.items():
        caplog.clear()
        write_structures(tmp_path, [("s", atoms)], file_format)
        assert ("vector moments" in caplog.text) == ("vector moments" not in form.holds)
    assert np.array_equal(back(tmp_path, "extxyz").get_initial_magnetic_moments(), np.arange(12.0).reshape(4, 3))
    assert "LNONCOLLINEAR" in (tmp_path / "s.INCAR").read_text()


@pytest.mark.parametrize("file_format", NAMES)
def test_every_format_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Fe", cubic=True)
    atoms.set_initial_magnetic_moments([2.2, -2.2])
    atoms.write("fe.xyz", format="extxyz")
    arguments = ["supercells", "fe.xyz", "--grid", "2", "--out", "cells", "--format", file_format]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert ("moments" in result.stderr) == (file_format == "cif")
    (tmp_path / "cells" / f"s01.{FORMATS[file_format].ending}").rename(tmp_path / f"s.{FORMATS[file_format].ending}")
    assert set(back(tmp_path, file_format).get_chemical_symbols()) == {"Fe"}


def test_an_unknown_format(tmp_path: Path) -> None:
    assert tuple(FORMATS) == NAMES
    with pytest.raises(InputError, match="extxyz"):
        write_structures(tmp_path, [], "xsf")
    assert CliRunner().invoke(app, ["supercells", "Al", "--grid", "2", "--format", "xsf"]).exit_code == 2


def test_a_lost_column_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    atoms = decorated()
    atoms.set_array("layer", np.arange(len(atoms)))
    for file_format in ("extxyz", "vasp"):
        caplog.clear()
        write_structures(tmp_path, [("s", atoms)], file_format)
        assert ("layer" in caplog.text) == (file_format == "vasp")
