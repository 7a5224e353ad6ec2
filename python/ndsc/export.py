"""Databases in the dialects of other codes: MACE, NEP, ACE, MTP, pacemaker and pypolymlp.

Every dialect has the same numbers as the database, and differs in names, units and signs only. A virial is -V stress
(positive when compressed), but MACE and gracemaker want ASE's stress.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.stress import full_3x3_to_voigt_6_stress
from jinja2 import Environment
from numpy.typing import NDArray

from ndsc.database import write_database
from ndsc.errors import InputError
from ndsc.extended_xyz import write_frames
from ndsc.files import whole_file
from ndsc.targets import FORCES_KEY, frame_name, is_isolated_atom, targets_of

FloatArray = NDArray[np.float64]

log = logging.getLogger(__name__)

#: Vacuum on each side of a cluster without a cell in dialects that know only periodic cells, Å.
VACUUM = 15.0
#: Dialects that keep the periodicity of each configuration, and whatever else ASE keeps of its atoms.
ANY_CELL = ("mace", "pacemaker")
#: One kilobar in eV/Å³: VASP's unit of stress.
KILOBAR = 0.1 * units.GPa
#: Template of the files of pypolymlp.
VASPRUN = Path(__file__).with_name("vasprun.xml.jinja")


@dataclass(frozen=True)
class _Labelled:
    """One configuration with its energy, forces and, perhaps, virial; `atoms` keeps its other per-atom data."""

    atoms: Atoms
    energy: float
    forces: FloatArray
    virial: FloatArray | None
    config_type: str | None
    name: str

    @property
    def volume(self) -> float:
        return float(self.atoms.get_volume())


def export_database(frames: Sequence[Atoms], path: str | Path, dialect: str) -> list[Path]:
    """Write a database for another code, whole or not at all.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With ``REF_energy``, ``REF_forces`` and, where there is one, ``REF_virial``.
    path : path
        The file to write; for "pypolymlp" a folder that does not exist or is empty.
    dialect : str
        One of :data:`DIALECTS`:

        - "extxyz": ndsc's own.
        - "mace": extended XYZ with ``REF_energy``, ``REF_forces`` and ``REF_stress`` (eV/Å³, ASE's sign), the keys that
          MACE looks for by default.
        - "nep": extended XYZ for GPUMD's ``train.xyz``: ``energy``, ``force``, ``virial``.
        - "ace": extended XYZ for ACEpotentials.jl and ace-jax with the keys ``energy``, ``force``, ``virial``.
        - "pacemaker": the compressed data frame of pandas that pacemaker and gracemaker read, ``.pckl.gzip``: columns
          ``ase_atoms``, ``energy``, ``forces``, ``name``, ``config_type``, and for gracemaker ``stress`` (eV/Å³, ASE's
          sign) with a ``virial_weight`` of zero where a configuration has none. Energies are those of the database, so
          that the program must be told of single atoms: ``reference_energy: auto``.
        - "mtp": the ``.cfg`` of MLIP; types are numbered from 0 in the order of atomic numbers.
        - "pypolymlp": a folder with one minimal ``vasprun-*.xml`` a configuration, the one kind of text that pypolymlp
          documents for labels from other sources.

    Returns
    -------
    list of path
        The files written.

    Raises
    ------
    InputError
        When there is nothing to write, no such dialect, a configuration lacks what the dialect needs, or the file
        cannot be written.
    """
    if dialect not in DIALECTS:
        close = get_close_matches(dialect, DIALECTS, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(f"There is no dialect {dialect!r}.{meant} Choose one of {', '.join(DIALECTS)}.")
    target = Path(path)
    if target.is_dir() and dialect != "pypolymlp":
        raise InputError(f"{target} is a folder. Name a file in it, for example {target / 'train.xyz'}.")
    if dialect == "extxyz":
        return [write_database(target, frames)]
    if not frames:
        raise InputError(f"There is no configuration to write to {target}. Label at least one configuration first.")
    labelled = [_labelled(frame, frame_name(frame, number), dialect) for number, frame in enumerate(frames)]
    if dialect not in ANY_CELL:
        _warn_of_losses(frames, dialect)
    if dialect == "pypolymlp":
        return _write_vaspruns(labelled, target)
    if dialect == "pacemaker" and target.suffix not in (".gzip", ".gz"):
        raise InputError(
            f"{target} does not end in .gzip, by which pacemaker recognises a compressed file. Name it, for example, "
            f"{target.with_name(target.name.split('.')[0] + '.pckl.gzip')}."
        )
    with whole_file(target) as temporary:
        _WRITERS[dialect](labelled, temporary)
    return [target]


def _labelled(frame: Atoms, where: str, dialect: str) -> _Labelled:
    targets = targets_of(frame, where=where)
    lacking = [name for name in ("energy", "forces") if getattr(targets, name) is None]
    if dialect == "pypolymlp" and targets.virial is None:
        lacking.append("virial")
    if dialect not in ANY_CELL and frame.cell.rank < 3 and frame.pbc.any():
        lacking.append("full cell")
    if lacking or targets.energy is None or targets.forces is None:
        raise InputError(
            f"{where[0].upper()}{where[1:]} has no {' and no '.join(lacking)}, which the dialect {dialect!r} needs. "
            "Leave it out, or export to 'extxyz'."
        )
    atoms = frame.copy()
    atoms.set_constraint()
    atoms.info = {}
    for name in (FORCES_KEY, "force_component_sigma"):
        atoms.arrays.pop(name, None)
    if dialect not in ANY_CELL and atoms.cell.rank < 3:
        atoms.center(vacuum=VACUUM)
    config_type = "IsolatedAtom" if is_isolated_atom(frame) else frame.info.get("config_type")
    return _Labelled(atoms, targets.energy, targets.forces, targets.virial, config_type, _name(frame, where))


def _name(frame: Atoms, where: str) -> str:
    return str(frame.info.get("ndsc_name", frame.info.get("name", where)))


def _warn_of_losses(frames: Sequence[Atoms], dialect: str) -> None:
    """Name what the dialect has no place for."""
    open_frames = [frame for frame in frames if not frame.pbc.all()]
    if open_frames:
        boxed = sum(frame.cell.rank < 3 for frame in open_frames)
        log.warning(
            "%d configurations are not periodic along all axes, and %r treats every cell as periodic%s. Make sure that "
            "the vacuum in their cells is wider than the cutoff.",
            len(open_frames),
            dialect,
            f"; {boxed} without a cell got one with {VACUUM:g} Å of vacuum on each side" if boxed else "",
        )
    counts = Counter(
        name
        for frame in frames
        for name, values in frame.arrays.items()
        if name not in ("numbers", "positions", FORCES_KEY, "force_component_sigma") and np.any(values)
    )
    if counts:
        listed = ", ".join(f"{name} of {number} configurations" for name, number in counts.items())
        log.warning(
            "%r has no place for %s; these are not written. 'extxyz', 'mace' and 'pacemaker' keep them.",
            dialect,
            listed,
        )


def _write_mace(labelled: Sequence[_Labelled], path: Path) -> None:
    frames = []
    for entry in labelled:
        frame = entry.atoms
        frame.info["REF_energy"] = entry.energy
        frame.arrays["REF_forces"] = entry.forces
        if entry.virial is not None:
            frame.info["REF_stress"] = -entry.virial / entry.volume
        if entry.config_type is not None:
            frame.info["config_type"] = entry.config_type
        frames.append(frame)
    with path.open("w", encoding="utf-8") as file:
        write_frames(file, frames)


def _write_bare_extxyz(labelled: Sequence[_Labelled], path: Path) -> None:
    # ASE keeps the names energy and virial for results of calculators, so these lines are written by hand.
    blocks = []
    for entry in labelled:
        words = [f'Lattice="{_row(entry.atoms.cell.array.ravel())}"', "Properties=species:S:1:pos:R:3:force:R:3"]
        words.append(f"energy={entry.energy!r}")
        if entry.virial is not None:
            words.append(f'virial="{_row(entry.virial)}"')
        if entry.config_type is not None:
            quoted = entry.config_type.replace("\\", "\\\\").replace('"', '\\"')
            words.append(f'config_type="{quoted}"')
        words.append('pbc="T T T"')
        atoms = zip(entry.atoms.get_chemical_symbols(), entry.atoms.positions, entry.forces, strict=True)
        rows = [f"{symbol} {_row(position)} {_row(force)}" for symbol, position, force in atoms]
        blocks.append("\n".join([str(len(rows)), " ".join(words), *rows]))
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")


def _write_mtp(labelled: Sequence[_Labelled], path: Path) -> None:
    species = sorted({int(number) for entry in labelled for number in entry.atoms.numbers})
    type_of = {number: index for index, number in enumerate(species)}
    blocks = []
    for entry in labelled:
        lines = ["BEGIN_CFG", " Size", f"    {len(entry.atoms)}", " Supercell"]
        lines += [f"    {_plain_row(vector)}" for vector in entry.atoms.cell.array]
        lines.append(" AtomData:  id type cartes_x cartes_y cartes_z fx fy fz")
        atoms = zip(entry.atoms.numbers, entry.atoms.positions, entry.forces, strict=True)
        lines += [
            f"    {index} {type_of[int(number)]} {_plain_row(position)} {_plain_row(force)}"
            for index, (number, position, force) in enumerate(atoms, start=1)
        ]
        lines += [" Energy", f"    {_plain(entry.energy)}"]
        if entry.virial is not None:
            xx, xy, xz, _, yy, yz, _, _, zz = entry.virial
            lines += [" PlusStress:  xx yy zz yz xz xy", f"    {_plain_row(np.array([xx, yy, zz, yz, xz, xy]))}"]
        lines += [f" Feature   config_type {'_'.join((entry.config_type or 'default').split())}", "END_CFG"]
        blocks.append("\n".join(lines))
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _write_data_frame(labelled: Sequence[_Labelled], path: Path) -> None:
    # Columns of objects, whatever their content: older versions of pandas do not know the types that newer ones infer.
    columns: dict[str, list[Any]] = {
        "name": [entry.name for entry in labelled],
        "config_type": [entry.config_type for entry in labelled],
        "ase_atoms": [entry.atoms for entry in labelled],
        "energy": [entry.energy for entry in labelled],
        "forces": [entry.forces for entry in labelled],
    }
    if any(entry.virial is not None for entry in labelled):
        columns["stress"] = [
            np.zeros(6) if one.virial is None else full_3x3_to_voigt_6_stress(-one.virial.reshape(3, 3) / one.volume)
            for one in labelled
        ]
        columns["virial_weight"] = [float(entry.virial is not None) for entry in labelled]
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    frame.columns = pd.Index(list(columns), dtype=object)
    for name in ("energy", "virial_weight"):
        if name in columns:
            frame[name] = frame[name].astype(float)
    frame.to_pickle(path, compression="gzip", protocol=4)


def _write_vaspruns(labelled: Sequence[_Labelled], folder: Path) -> list[Path]:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder. Name a new folder for the files.")
    names = [f"vasprun-{number:05d}.xml" for number in range(1, len(labelled) + 1)]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}). Choose a folder that you may write to."
        ) from error
    try:
        environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
        template = environment.from_string(VASPRUN.read_text(encoding="utf-8"))
        template.globals["row"] = _row
        for name, entry in zip(names, labelled, strict=True):
            (scratch / name).write_text(template.render(_vasprun(entry)), encoding="latin-1")
        scratch.chmod(0o755)
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return [folder / name for name in names]


def _vasprun(entry: _Labelled) -> dict[str, Any]:
    """The values of the template; VASP lists atoms species by species."""
    order = np.argsort(entry.atoms.numbers, kind="stable")
    atoms = entry.atoms[order]
    symbols: list[str] = atoms.get_chemical_symbols()
    volume = entry.volume
    return {
        "symbols": symbols,
        "species": list(dict.fromkeys(symbols)),
        "basis": atoms.cell.array,
        "volume": volume,
        "positions": atoms.get_scaled_positions(wrap=False),
        "forces": entry.forces[order],
        "stress": None if entry.virial is None else entry.virial.reshape(3, 3) / volume / KILOBAR,
        "energy": entry.energy,
    }


def _plain_row(values: FloatArray) -> str:
    return " ".join(_plain(float(value)) for value in values)


def _plain(value: float) -> str:
    # Every bit, without an exponent: readers of cfg files exist that take none.
    return np.format_float_positional(value, trim="0")


def _row(values: FloatArray) -> str:
    # repr of a Python float keeps every bit.
    return " ".join(repr(float(value)) for value in values)


_WRITERS: dict[str, Callable[[Sequence[_Labelled], Path], None]] = {
    "mace": _write_mace,
    "nep": _write_bare_extxyz,
    "ace": _write_bare_extxyz,
    "mtp": _write_mtp,
    "pacemaker": _write_data_frame,
}
#: Names of the dialects.
DIALECTS = ("extxyz", *_WRITERS, "pypolymlp")
