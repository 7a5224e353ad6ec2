"""Databases of labelled configurations: made from labels, written and read as extended XYZ, split and sampled.

A labelled configuration carries ``info["REF_energy"]`` (free energy, eV), ``arrays["REF_forces"]`` (eV/Å) and
``info["REF_virial"]`` (-V stress, eV, nine numbers in a row: gap_fit ignores a 3x3 matrix). Bare keys
such as ``energy`` or ``stress`` are never written, because other programs give them meanings of their own.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.extended_xyz import opened, read_frames, write_frames
from ndsc.files import whole_file
from ndsc.plausibility import check_plausible
from ndsc.reference import Label
from ndsc.targets import (
    BARE_KEYS,
    ENERGY_KEY,
    FORCES_KEY,
    VIRIAL_KEY,
    Targets,
    frame_name,
    is_isolated_atom,
    numbers,
    targets_of,
    tensor,
)

FloatArray = NDArray[np.float64]

log = logging.getLogger(__name__)

#: Beginnings of keys of what potentials predict, which are no targets: those of every kind, and of earlier versions.
OF_MODELS = ("MLIP_", "GAP_")


def make_database(configurations: Iterable[Atoms], labels: Mapping[str, Label]) -> list[Atoms]:
    """Join configurations with their labels.

    Parameters
    ----------
    configurations : iterable of ase.Atoms
        With ``info["ndsc_name"]``.
    labels : mapping of name to Label
        Configurations without a label are left out.

    Returns
    -------
    list of ase.Atoms
        Copies, in the order given, with ``REF_energy``, ``REF_forces``, ``REF_virial`` (where the label has a stress)
        and the label's key in ``ndsc_label``.

    Raises
    ------
    InputError
        When a configuration has no name, two share one, or a label does not fit its configuration.
    """
    frames: list[Atoms] = []
    names: set[str] = set()
    for number, configuration in enumerate(configurations):
        name = configuration.info.get("ndsc_name")
        if name is None or name in names:
            reason = "has no info['ndsc_name']" if name is None else f"is the second one named {name}"
            raise InputError(
                f"Configuration {number} {reason}, so its label cannot be identified. Give every configuration "
                "a unique name, as make_configurations does."
            )
        names.add(name)
        label = labels.get(name)
        if label is None:
            continue
        frame = configuration.copy()
        frame.calc = None
        where = f"configuration {name}"
        frame.info[ENERGY_KEY] = float(numbers(label.energy, (), f"the energy in the label of {where}"))
        frame.arrays[FORCES_KEY] = numbers(label.forces, (len(frame), 3), f"the forces in the label of {where}").copy()
        if label.stress is not None:
            stress = tensor(label.stress, f"the stress in the label of {where}")
            frame.info[VIRIAL_KEY] = -frame.get_volume() * stress
        if label.key:
            frame.info["ndsc_label"] = label.key
        frames.append(frame)
    return frames


def write_database(path: str | Path, frames: Sequence[Atoms]) -> Path:
    """Write frames as extended XYZ (compressed where the name ends in ``.gz``), whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    frames : iterable of ase.Atoms
        With targets under ``REF_energy``, ``REF_forces`` and ``REF_virial``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        When there is nothing to write, a frame carries a bare key such as ``energy``, a target is not finite or has the
        wrong shape, or the file cannot be written.
    """
    target = Path(path)
    if not frames:
        raise InputError(f"There is no configuration to write to {target}. Label at least one configuration first.")
    clean = [_checked_for_writing(frame, frame_name(frame, number)) for number, frame in enumerate(frames)]
    if target.is_dir():
        raise InputError(f"{target} is a folder. Name a file in it, for example {target / 'database.extxyz'}.")
    compressed = target.suffix.lower() == ".gz"
    with whole_file(target) as temporary, opened(temporary, "w", compressed=compressed) as file:
        write_frames(file, clean)
    return target


def read_database(
    path: str | Path,
    *,
    energy_key: str | None = ENERGY_KEY,
    forces_key: str | None = FORCES_KEY,
    virial_key: str | None = VIRIAL_KEY,
    stress_key: str | None = None,
    allow_missing: bool = False,
) -> list[Atoms]:
    """Read a database of any origin, give its targets our names, and check that they can be true.

    Parameters
    ----------
    path : path
        Extended XYZ (also compressed, ``.gz``), or any file of several frames that ASE reads.
    energy_key, forces_key, virial_key, stress_key : str or None
        Names of the file's keys, see :func:`ndsc.targets.targets_of`; None for what is not to be read.
    allow_missing : bool
        Accept frames that lack some of the targets. Isolated atoms may always lack forces and virial, and frames that
        are not periodic along all three axes the virial.

    Returns
    -------
    list of ase.Atoms
        With ``REF_energy``, ``REF_forces`` and ``REF_virial``, without the file's own names of them.

    Raises
    ------
    InputError
        When the file cannot be read, holds no frames, a frame lacks a target, no frame has a key that was named, or
        values cannot be right (:func:`ndsc.plausibility.check_plausible`); the message names the frame.
    """
    source = Path(path)
    keys = {"energy_key": energy_key, "forces_key": forces_key, "virial_key": virial_key, "stress_key": stress_key}
    frames = with_our_names(read_frames(source), keys, source=source, allow_missing=allow_missing)
    for warning in check_plausible(frames, source=str(source)):
        log.warning("%s", warning)
    return frames


def with_our_names(
    found: Sequence[Atoms],
    keys: Mapping[str, str | None],
    *,
    source: Path,
    allow_missing: bool = True,
    wanted: Iterable[int] | None = None,
) -> list[Atoms]:
    """Frames of a file of any origin with their targets under our names.

    Parameters
    ----------
    found : sequence of ase.Atoms
    keys : mapping of str to str or None
        ``energy_key``, ``forces_key``, ``virial_key`` and ``stress_key``, as for :func:`read_database`.
    source : path
        The file, for messages.
    allow_missing : bool
    wanted : iterable of int, optional
        Numbers of the frames to take; all by default. Nothing of the others is looked at but their keys.

    Raises
    ------
    InputError
        As `read_database`, but for what is not plausible.
    """
    _check_keys(found, keys, source)
    frames = []
    # Our own names stay where they are, so that writing what was read gives the same file.
    foreign = [key for key in keys.values() if key and key not in (ENERGY_KEY, FORCES_KEY, VIRIAL_KEY)]
    for number in range(len(found)) if wanted is None else wanted:
        frame = found[number]
        where = f"{frame_name(frame, number)} of {source}"
        targets = targets_of(frame, **keys, where=where)
        if not allow_missing:
            _check_complete(frame, targets, keys, where)
        frames.append(with_targets(frame, targets, drop=foreign))
    return frames


def looks_labelled(frames: Iterable[Atoms]) -> bool:
    """Whether a frame has anything that is named like an energy, forces, a virial or a stress."""
    words = ("energy", "force", "virial", "stress")
    return any(word in name.lower() for frame in frames for name in _keys_of(frame) for word in words)


def describe_targets(frames: Sequence[Atoms]) -> str:
    """How many targets a database has, and which frames lack which, in a sentence or two.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With ``REF_energy``, ``REF_forces`` and ``REF_virial``, each optional.
    """
    places = {"energy": ENERGY_KEY, "forces": FORCES_KEY, "virial": VIRIAL_KEY}
    counts, lacking = [], []
    for name, key in places.items():
        without = [i for i, frame in enumerate(frames) if key not in frame.info and key not in frame.arrays]
        counts.append(f"{name} in {len(frames) - len(without)}")
        reasons: dict[str, list[int]] = {}
        for number in without:
            reasons.setdefault(_reason_without(frames[number], name), []).append(number)
        for reason, indices in reasons.items():
            frame_or_frames = "frame" if len(indices) == 1 else "frames"
            lacking.append(f"{len(indices)} {frame_or_frames} without {name}: {reason} ({_listed(indices)})")
    return "; ".join([f"{len(frames)} configurations: {', '.join(counts)}", *lacking])


def _reason_without(frame: Atoms, name: str) -> str:
    if name != "energy" and is_isolated_atom(frame):
        return "isolated atoms"
    if name == "virial" and not frame.pbc.all():
        return "not periodic along all axes"
    return "none in the file"


def with_targets(frame: Atoms, targets: Targets, drop: Sequence[str] = ()) -> Atoms:
    """A copy of `frame`, without a calculator, that carries `targets` under our names.

    Parameters
    ----------
    drop : sequence of str
        Keys to leave out besides the bare ones.
    """
    copy = frame.copy()
    copy.calc = None
    for key in (*BARE_KEYS, *drop):
        copy.info.pop(key, None)
        copy.arrays.pop(key, None)
    if targets.energy is not None:
        copy.info[ENERGY_KEY] = targets.energy
    if targets.forces is not None:
        copy.arrays[FORCES_KEY] = targets.forces.copy()
    if targets.virial is not None:
        copy.info[VIRIAL_KEY] = targets.virial.copy()
    return copy


def split_database(frames: Sequence[Atoms], fraction: float, seed: int = 0) -> tuple[list[Atoms], list[Atoms]]:
    """Split a database at random into a training and a test set.

    Parameters
    ----------
    frames : sequence of ase.Atoms
    fraction : float
        Part that goes to the training set, above 0 and below 1.
    seed : int
        The same seed gives the same split on every machine.

    Returns
    -------
    tuple of two lists of ase.Atoms
        Training and test frames, each in the order given; both hold at least one frame.

    Raises
    ------
    InputError
        When `fraction` is not between 0 and 1, or there are fewer than two frames.
    """
    if not 0 < fraction < 1 or len(frames) < 2:
        raise InputError(
            f"{len(frames)} configurations cannot be split with a fraction of {fraction}. Give at least two "
            "configurations and a fraction between 0 and 1, for example 0.9."
        )
    size = min(max(round(fraction * len(frames)), 1), len(frames) - 1)
    chosen = set(_random_order(frames, seed)[:size])
    return [frames[i] for i in sorted(chosen)], [frames[i] for i in range(len(frames)) if i not in chosen]


def subset_database(frames: Sequence[Atoms], size: int, seed: int = 0, *, always: Sequence[str] = ()) -> list[Atoms]:
    """A random subset of a database; with one seed, every smaller subset is part of every larger one.

    Parameters
    ----------
    frames : sequence of ase.Atoms
    size : int
        Number of configurations in the subset.
    seed : int
    always : sequence of str
        ``config_type`` of the frames that every subset holds, for example ``("unit_cell",)``.

    Returns
    -------
    list of ase.Atoms
        In the order given.

    Raises
    ------
    InputError
        When the database has fewer configurations than `size`, or more of them are always in than `size`.
    """
    kept = [i for i, frame in enumerate(frames) if frame.info.get("config_type") in always]
    if not max(1, len(kept)) <= size <= len(frames):
        raise InputError(
            f"A subset of {size} configurations cannot be drawn from {len(frames)}, {len(kept)} of which are always in "
            f"it. Ask for a size from {max(1, len(kept))} to {len(frames)}."
        )
    others = [i for i in _random_order(frames, seed) if i not in set(kept)]
    return [frames[i] for i in sorted([*kept, *others[: size - len(kept)]])]


def _check_keys(frames: Sequence[Atoms], keys: Mapping[str, str | None], source: Path) -> None:
    """Refuse a key that no frame has, unless it is a default and nothing in the file looks like it."""
    names = [_keys_of(frame) for frame in frames]
    present = sorted(set().union(*names))
    periodic = any(frame.pbc.all() for frame in frames)
    for name, key in keys.items():
        what = name.removesuffix("_key")
        words = ("virial", "stress") if what in ("virial", "stress") else (what.rstrip("s"),)
        similar = [other for other in present if any(word in other.lower() for word in words)]
        if key in present:
            given = {key, *(keys[other] for other in ("virial_key", "stress_key") if what in ("virial", "stress"))}
            for other in set(similar) - given:
                numbers_without = [number for number, own in enumerate(names) if other in own and not own & given]
                if numbers_without:
                    log.warning(
                        "%d frames of %s have %r but no %r: they are read without %s (frames %s)",
                        len(numbers_without),
                        source,
                        other,
                        key,
                        what,
                        _listed(numbers_without),
                    )
            continue
        replaced = name == "virial_key" and (keys["stress_key"] in present or not periodic)
        default = key in (ENERGY_KEY, FORCES_KEY, VIRIAL_KEY)
        if key is None or replaced or (default and not similar):
            continue
        similar = list(dict.fromkeys([*similar, *get_close_matches(key, present, n=3, cutoff=0.6)]))
        meant = f" Did you mean {' or '.join(similar)}?" if similar else ""
        raise InputError(
            f"No frame of {source} has the {what} under the key {key!r}; its keys are {', '.join(present) or 'none'}."
            f"{meant} Name the key that holds it, or give none for what the database lacks."
        )
    if not any(keys.values()):
        raise InputError(f"Nothing would be read from {source}: every key is 'none'. Give at least one.")
    if not any(key in present for key in keys.values()):
        raise InputError(
            f"{source} has none of the keys {', '.join(key for key in keys.values() if key)}; its keys are "
            f"{', '.join(present) or 'none'}. Give labelled configurations, or the names of their keys."
        )


def _listed(frame_numbers: Sequence[int]) -> str:
    return ", ".join(map(str, frame_numbers[:8])) + (", …" if len(frame_numbers) > 8 else "")


def _keys_of(frame: Atoms) -> set[str]:
    """Names under which a frame may hold targets."""
    results = frame.calc.results if frame.calc is not None else {}
    names = {*frame.info, *results, *frame.arrays} - {"numbers", "positions"}
    return {name for name in names if "sigma" not in name and not name.startswith(OF_MODELS)}


def _check_complete(frame: Atoms, targets: Targets, keys: Mapping[str, str | None], where: str) -> None:
    wanted = {"energy": keys["energy_key"]}
    if not is_isolated_atom(frame):
        wanted["forces"] = keys["forces_key"]
        if frame.pbc.all():
            wanted["virial"] = keys["virial_key"] or keys["stress_key"]
    for what, key in wanted.items():
        if key is not None and getattr(targets, what) is None:
            raise InputError(
                f"{where[0].upper()}{where[1:]} has no {what} under the key {key!r}; its keys are "
                f"{', '.join(sorted(_keys_of(frame))) or 'none'}. Name the key that holds it, give no key for what the "
                "database lacks, or allow frames without it (allow_missing in Python)."
            )


def _checked_for_writing(frame: Atoms, where: str) -> Atoms:
    bare = [key for key in BARE_KEYS if key in frame.info or key in frame.arrays]
    if bare:
        raise InputError(
            f"{where[0].upper()}{where[1:]} carries {', '.join(bare)}, a name for which programs have different "
            "conventions. Read foreign databases with read_database and the names of their keys."
        )
    copy = with_targets(frame, targets_of(frame, where=where))
    for key, value in copy.info.items():
        if isinstance(value, np.ndarray) and value.shape == (3, 3):
            copy.info[key] = value.reshape(9)
    return copy


def _random_order(frames: Sequence[Atoms], seed: int) -> list[int]:
    # A hash orders the frames the same way on every machine and with every version of NumPy.
    def rank(number: int) -> str:
        name = frames[number].info.get("ndsc_name", "")
        return hashlib.sha256(f"{seed}|{name}|{number}".encode()).hexdigest()

    return sorted(range(len(frames)), key=rank)
