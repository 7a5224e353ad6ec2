"""Reading an input file, and writing a validated configuration back."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ndsc.config.fitting import FitSections
from ndsc.config.sections import RunConfig
from ndsc.configurations import CURRENT
from ndsc.errors import InputError
from ndsc.files import bounded_recursion, write_text
from ndsc.structure import split_index

# The keys whose values are paths, which are relative to the input file; beside these, [[database]] file, and those
# of the parts in [[configurations]].
OF_PARTS = ("force_constants", "trajectory", "potential")
PATHS = (("crystal", "structure"), ("reference", "labels"), ("reference", "pseudo_dir"), ("phonons", "born"))
#: First line of an input file that ndsc writes.
HEAD = "# Written by ndsc: the checked input of this run, with every default.\n\n"


def load_config(path: str | Path) -> RunConfig:
    """Read and check an input file.

    Parameters
    ----------
    path : str or path
        A TOML file. Relative paths in it are relative to its folder.

    Returns
    -------
    RunConfig
        The configuration with every default filled in; its paths are absolute.

    Raises
    ------
    InputError
        One message that names every wrong key: unknown, missing, of the wrong type, or out of range.
    """
    path = Path(path)
    return parse_config(read_text(path), folder=path.parent, source=str(path))


def load_fit_settings(path: str | Path | None, overrides: Mapping[str, Mapping[str, Any]]) -> FitSections:
    """Read and check the sections ``[fit]`` and ``[regularisation]`` of an input file.

    Parameters
    ----------
    path : str or path, optional
        A TOML file; the other sections of an input file may be in it, and have no effect.
    overrides : mapping of mappings
        Values that win, by section and key.

    Raises
    ------
    InputError
        As `load_config`.
    """
    source = "The settings of the fit" if path is None else str(path)
    raw = {} if path is None else parse_toml(read_text(Path(path)), source)
    if path is not None and not set(raw) & set(FitSections.model_fields):
        raise InputError(f"{source} has neither [fit] nor [regularisation]. Give an input file with one of them.")
    sections: dict[str, Any] = {name: value for name, value in raw.items() if name not in RunConfig.model_fields}
    for name in FitSections.model_fields:
        said = raw.get(name, {})
        sections[name] = {**said, **overrides.get(name, {})} if isinstance(said, Mapping) else said
    return FitSections.parse(sections, source)


def read_text(path: Path) -> str:
    """The text of an input file; an InputError that says why where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows write a byte-order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file ({error}). Give an input file in TOML, as UTF-8.") from error
    except (OSError, ValueError) as error:  # a ValueError where the path holds a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"The input file {path} cannot be read ({reason}). Give the path of a TOML file; the examples "
            "folder has some to start from."
        ) from error


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The content of TOML; an InputError that names `source` where the text is not TOML."""
    try:
        with bounded_recursion():
            return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{source} is not valid TOML: {error}. Correct that line (strings need quotes, lists brackets)."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of more than 4,300 digits, lists within lists
        raise InputError(
            f"{source} cannot be read: {error}. A number has too many digits, or lists are nested too deeply."
        ) from error


def parse_config(text: str, *, folder: str | Path = ".", source: str = "The input") -> RunConfig:
    """Check the text of an input file.

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
        As `load_config`.
    """
    raw = with_absolute_paths(parse_toml(text, source), Path(folder).absolute(), source)
    if isinstance(raw.get("crystal"), list):
        raise InputError(
            f"{source} has several crystals ([[crystal]]), and this takes one. Give an input file "
            "with [crystal] here; ndsc.config.load_run reads several, and load_one one of them."
        )
    return RunConfig.parse(raw, source)


def dump_config(config: RunConfig, *, folder: str | Path | None = None) -> str:
    """A configuration as TOML, every default written out.

    Parameters
    ----------
    config : RunConfig
        What to write.
    folder : path, optional
        Write paths relative to this folder, so that it can be moved; absolute without it.

    Returns
    -------
    str
        TOML that `parse_config` (with the same folder) turns into an equal configuration.
    """
    return HEAD + written(as_document(config, folder))


def as_document(config: RunConfig, folder: str | Path | None = None) -> dict[str, Any]:
    """A configuration as the tables of its input file; paths as in :func:`dump_config`."""
    data = config.model_dump(mode="python", exclude_none=True)
    for section, key in PATHS:
        value = data[section].get(key)
        if value is not None:
            within = folder is not None and os.path.isabs(value)
            data[section][key] = os.path.relpath(value, folder) if within else str(value)
    # What a database does not give is that of the run, or follows from its file.
    data["database"] = [own.model_dump(mode="python", exclude_none=True, exclude_unset=True) for own in config.database]
    for own in data["database"]:
        within = folder is not None and os.path.isabs(own["file"])
        own["file"] = os.path.relpath(own["file"], folder) if within else own["file"]
    if not data["database"]:
        del data["database"]
    parts = data["configurations"]
    for part, key in ((part, key) for part in parts for key in OF_PARTS if key in part):
        within = folder is not None and os.path.isabs(part[key])
        part[key] = os.path.relpath(part[key], folder) if within else part[key]
        if within and part[key] == CURRENT:
            part[key] = os.path.join(os.curdir, CURRENT)  # a folder of that name
    data["configurations"] = parts[0] if len(parts) == 1 else parts
    if config.makes_candidates:
        del data["configurations"]
    if config.selection.method != "all":
        # What is not given there depends on the crystal.
        data["fit"] = config.fit.model_dump(mode="python", exclude_none=True, exclude_unset=True)
        # Which method is the default depends on what is installed.
        data["fit"] = {"method": config.fit.method, **data["fit"]}
    if config.regularised_by_evidence:
        del data["regularisation"]
    return data


def write_config(config: RunConfig, path: str | Path) -> None:
    """Write a configuration to a file, whole or not at all, with paths relative to the file's folder.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    path = Path(path)
    write_text(path, dump_config(config, folder=path.parent))


def with_absolute_paths(raw: dict[str, Any], folder: Path, source: str) -> dict[str, Any]:
    """Resolve the paths of a parsed file; values that are not strings are checked by the models."""
    resolved = {key: dict(value) if isinstance(value, Mapping) else value for key, value in raw.items()}
    crystal, reference = resolved.get("crystal"), resolved.get("reference")
    if isinstance(crystal, list):
        resolved["crystal"] = [_with_absolute_structure(one, folder, source) for one in crystal]
    elif crystal is not None:
        resolved["crystal"] = _with_absolute_structure(crystal, folder, source)
    if "database" in resolved:
        resolved["database"] = _with_absolute_files(raw["database"], folder, "file")
    if "configurations" in resolved:
        resolved["configurations"] = _with_absolute_files(raw["configurations"], folder, *OF_PARTS)
    for section, key in ((reference, "labels"), (reference, "pseudo_dir"), (resolved.get("phonons"), "born")):
        _make_absolute(section, key, folder)
    return resolved


def _make_absolute(section: object, key: str, folder: Path) -> None:
    """Resolve the path of a key of a section, where it is there."""
    if isinstance(section, dict) and isinstance(named := section.get(key), str) and named:
        section[key] = Path(os.path.normpath(folder / os.path.expanduser(named)))


def _with_absolute_structure(crystal: Any, folder: Path, source: str) -> Any:
    """``[crystal]`` with the absolute path of its structure, and of several crystals those of its own tables."""
    if isinstance(crystal, Mapping) and isinstance(phonons := crystal.get("phonons"), Mapping):
        crystal = {**crystal, "phonons": dict(phonons)}
        _make_absolute(crystal["phonons"], "born", folder)
    if isinstance(crystal, Mapping) and "configurations" in crystal:
        crystal = {**crystal, "configurations": _with_absolute_files(crystal["configurations"], folder, *OF_PARTS)}
    structure = crystal.get("structure") if isinstance(crystal, Mapping) else None
    if not isinstance(structure, str) or not structure:
        return crystal
    path, index = split_index(folder / os.path.expanduser(structure))
    if os.path.isfile(path):
        return {**crystal, "structure": os.path.normpath(path) + ("" if index is None else f"@{index}")}
    if "/" in structure or "." in structure:
        raise InputError(
            f"{source}: [crystal] structure = {structure!r}: there is no file {path}. Give a path relative to the "
            "input file, or the symbol of an element."
        )
    return crystal


def _with_absolute_files(tables: object, folder: Path, *keys: str) -> object:
    """Repeated tables with absolute paths in some of their keys."""

    def resolved(key: object, value: object) -> object:
        is_path = key in keys and isinstance(value, str) and value and (key, value) != ("potential", CURRENT)
        return os.path.normpath(folder / os.path.expanduser(str(value))) if is_path else value

    several = [tables] if isinstance(tables, Mapping) else tables
    if not isinstance(several, list):
        return tables
    found = [
        {key: resolved(key, value) for key, value in own.items()} if isinstance(own, Mapping) else own
        for own in several
    ]
    return found[0] if isinstance(tables, Mapping) else found


def toml_value(value: object) -> str:
    """One value as TOML, on one line.

    Raises
    ------
    InputError
        When TOML cannot hold it.
    """
    return written({"values": [[value]]}).strip().removeprefix("values = [[").removesuffix("]]")


def written(data: Mapping[str, Any]) -> str:
    """Tables as TOML.

    Raises
    ------
    InputError
        When TOML cannot hold a value.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.dumps(data)
    except TOMLKitError as error:
        raise InputError(f"TOML cannot hold a value: {error}. Give numbers, strings, lists or tables.") from error
