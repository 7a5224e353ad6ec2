"""Input files with several crystals: ``[[crystal]]`` once for each, and one potential for all of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndsc.config.files import HEAD, as_document, parse_toml, read_text, with_absolute_paths, written
from ndsc.config.sections import RunConfig
from ndsc.errors import InputError
from ndsc.files import write_text

#: Sections that a crystal may have a table of its own of, which says what differs from that of the file.
OWN = ("supercells", "phonons", "elastic")
#: The same, taken instead of those of the file.
INSTEAD = ("configurations",)
#: What the folder of a run has beside those of its crystals.
TAKEN = ("labels", "potential", "rows", "sparse-points", "report.html", "results.json", "ndsc.toml", "ndsc.log")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")


@dataclass(frozen=True)
class SeveralConfig:
    """A run of several crystals, as the input file says it.

    Attributes
    ----------
    crystals : mapping of str to RunConfig
        By name, in the order of the file. Each is what the input file of that crystal alone would be: sections that
        are not about a crystal (``[selection]``, ``[reference]``, ``[fit]`` and so on) are the same in all.
    """

    crystals: Mapping[str, RunConfig]

    @property
    def common(self) -> RunConfig:
        """The first crystal's, for the sections that are the same in all."""
        return next(iter(self.crystals.values()))


def load_run(path: str | Path) -> RunConfig | SeveralConfig:
    """Read and check an input file of one crystal (``[crystal]``) or of several (``[[crystal]]``).

    Parameters
    ----------
    path : str or path
        A TOML file. Relative paths in it are relative to its folder.

    Raises
    ------
    InputError
        As :func:`ndsc.config.load_config`.
    """
    path = Path(path)
    return parse_run(read_text(path), folder=path.parent, source=str(path))


def load_one(path: str | Path, crystal: str | None = None) -> RunConfig:
    """Read and check an input file of one crystal, or of several one of which is named.

    Parameters
    ----------
    path : str or path
        A TOML file.
    crystal : str, optional
        The name of one of several crystals.

    Raises
    ------
    InputError
        As :func:`ndsc.config.load_config`; when there are several crystals and none of them is named, or one that is
        not there.
    """
    config = load_run(path)
    if isinstance(config, RunConfig):
        if crystal is not None:
            raise InputError(f"{path} has one crystal, and no name {crystal!r} is needed. Leave it out.")
        return config
    names = ", ".join(config.crystals)
    if crystal is None:
        raise InputError(f"{path} has several crystals ({names}), and this takes one. Name it: {one_of(config)}.")
    if crystal not in config.crystals:
        raise InputError(f"{path} has no crystal {crystal!r}. Its crystals are {names}.")
    return config.crystals[crystal]


def one_of(config: SeveralConfig) -> str:
    """How one of several crystals is named, on the command line and in the input file of a study."""
    first = next(iter(config.crystals))
    return f"--crystal {first} for ndsc converge, INPUT.toml@{first} in [runs] of a study"


def parse_run(text: str, *, folder: str | Path = ".", source: str = "The input") -> RunConfig | SeveralConfig:
    """Check the text of an input file of one or several crystals.

    Parameters
    ----------
    text : str
        TOML.
    folder : path
        What relative paths are relative to.
    source : str
        How messages call the text.

    Raises
    ------
    InputError
        As :func:`ndsc.config.load_config`; the message names the crystal.
    """
    raw = with_absolute_paths(parse_toml(text, source), Path(folder).absolute(), source)
    tables = raw.get("crystal")
    if not isinstance(tables, list):
        return RunConfig.parse(raw, source)
    if not tables:
        raise InputError(f"{source}: crystal is an empty list. Write [[crystal]] once for each crystal.")
    crystals = {}
    for name, table in _named(tables, source).items():
        sections = {key: value for key, value in raw.items() if key != "crystal"}
        for key in OWN:
            if key in table:
                own, common = table.pop(key), sections.get(key, {})
                both = isinstance(own, Mapping) and isinstance(common, Mapping)
                sections[key] = {**common, **own} if both else own
        for key in INSTEAD:
            if key in table:
                sections[key] = table.pop(key)
        crystals[name] = RunConfig.parse({**sections, "crystal": table}, f"{source}, crystal {name}")
    found = SeveralConfig(crystals)
    _check_one_way(found, source)
    return found


def dump_several(config: SeveralConfig, *, folder: str | Path | None = None) -> str:
    """A configuration of several crystals as TOML, every default written out.

    Parameters
    ----------
    config : SeveralConfig
    folder : path, optional
        Write paths relative to this folder; absolute without it.
    """
    apart = (*OWN, *INSTEAD)
    tables = []
    common: dict[str, Any] = {}
    for name, one in config.crystals.items():
        document = as_document(one, folder)
        own = {key: document.pop(key) for key in apart if key in document}
        tables.append({"name": name, **document.pop("crystal"), **own})
        common = document
    return HEAD + written({**common, "crystal": tables})


def write_several(config: SeveralConfig, path: str | Path) -> None:
    """Write a configuration to a file, whole or not at all, with paths relative to the file's folder.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    path = Path(path)
    write_text(path, dump_several(config, folder=os.path.abspath(path.parent)))


def _named(tables: list[Any], source: str) -> dict[str, dict[str, Any]]:
    """The tables by their names, which are taken out of them."""
    found: dict[str, dict[str, Any]] = {}
    for number, table in enumerate(tables, 1):
        if not isinstance(table, Mapping):
            raise InputError(f"{source}: [[crystal]] number {number} is not a table. Write [[crystal]] once for each.")
        name = table.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            said = "has no name" if name is None else f"has the name {name!r}"
            raise InputError(
                f"{source}: [[crystal]] number {number} {said}. Give each of several crystals a name of letters, "
                "digits, dots and underscores, as name = 'fcc'; its results go to a folder of that name."
            )
        if name.casefold() in TAKEN:
            raise InputError(
                f"{source}: [[crystal]] name = {name!r} is the name of a file or folder that every run "
                "writes. Choose another."
            )
        if name.casefold() in {other.casefold() for other in found}:
            raise InputError(f"{source}: two of [[crystal]] are called {name}. Give each a name of its own.")
        found[name] = {key: value for key, value in table.items() if key != "name"}
    return found


def _check_one_way(config: SeveralConfig, source: str) -> None:
    """Refuse crystals some of which are labelled as a whole while labels are chosen for others."""
    methods = {name: one.selection.method for name, one in config.crystals.items()}
    if len(set(methods.values())) > 1:
        everything = ", ".join(name for name, method in methods.items() if method == "all")
        others = ", ".join(name for name, method in methods.items() if method != "all")
        raise InputError(
            f"{source}: all configurations of {everything} would be labelled, while for {others} labels would be "
            "chosen. Give "
            "[configurations] for all crystals or for none, or say which with [selection] method."
        )
