"""Files of several structures: read whole or not at all, and written so that strict readers take them."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal

from ase import Atoms
from ase.io import read, write

from ndsc.errors import InputError
from ndsc.structure import split_index

#: Keys of the comment line of an extended XYZ frame, once the quoted values are out of it.
_KEY = re.compile(r"(?:^|\s)([^\s=]+)\s*=")
_QUOTED = re.compile(r"""\"[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]""")
#: Characters that the grammar of extended XYZ has in quotes only, where ASE writes no quotes or does not escape them.
_NEEDS_QUOTES = re.compile(r"[=,\\\t\n\v\f\r]")


def read_frames(path: str | Path) -> list[Atoms]:
    """All frames of a file as they are, without a check of their targets.

    Parameters
    ----------
    path : path
        ``"file.xyz@3"`` for one frame of a file, counted from 0, or from -1 for the last.

    Raises
    ------
    InputError
        When the file cannot be read whole, or holds no frames.
    """
    source, index = split_index(path)
    suffixes = [suffix.lower() for suffix in source.suffixes]
    compressed = suffixes[-1:] == [".gz"]
    if source.is_dir():
        raise InputError(f"{source} is a folder. Give a file in it: a database in extended XYZ.")
    try:
        if suffixes and suffixes[-1 - compressed :][:1] in ([".xyz"], [".extxyz"]):
            with opened(source, "r", compressed=compressed) as file:
                frames = _extended_xyz(file.read())
        else:
            frames = read(source, index=":", do_not_split_by_at_sign=True)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {source}. Give the path of a database in extended XYZ.") from error
    except Exception as error:  # ASE's readers raise anything, each format something else
        raise InputError(
            f"{source} cannot be read as a database ({type(error).__name__}: {error}). Give an extended XYZ file, or "
            "another file with several configurations that ASE reads."
        ) from error
    if not frames:
        raise InputError(f"{source} holds no configurations. Give a file with at least one.")
    if index is None:
        return list(frames)
    if not -len(frames) <= index < len(frames):
        raise InputError(f"{source} holds {len(frames)} configurations, but number {index} was asked for.")
    return [frames[index]]


def opened(path: Path, mode: Literal["r", "w"], *, compressed: bool) -> IO[str]:
    """A text file, compressed or not."""
    if compressed:
        return gzip.open(path, "rt" if mode == "r" else "wt", encoding="utf-8")
    return path.open(mode, encoding="utf-8-sig" if mode == "r" else "utf-8")


def write_frames(file: IO[str], frames: Iterable[Atoms]) -> None:
    """Write frames as extended XYZ, as ASE does, but by the letter of the grammar.

    ASE writes None and an empty text as a key without a value, and a text with ``=``, ``,`` or a backslash without
    quotes. Readers that keep to the grammar, as that of libAtoms, refuse such files, and ASE itself reads other values.
    Here None and empty texts are left out, the others are quoted, and a line break in them becomes a blank. Everything
    else is as ASE writes it. Results of calculators are left out.

    Parameters
    ----------
    file : text file
    frames : iterable of ase.Atoms
    """
    for frame in frames:
        info = {key: value for key, value in frame.info.items() if value is not None and not _is_empty(value)}
        texts = {key: value for key, value in info.items() if isinstance(value, str) and _NEEDS_QUOTES.search(value)}
        bare = frame.copy()
        bare.info = {key: value for key, value in info.items() if key not in texts}
        written = io.StringIO()
        write(written, bare, format="extxyz", write_results=False)
        count, comment, atoms = written.getvalue().split("\n", 2)
        words = [comment, *(f"{_key(key)}={_quoted(value)}" for key, value in texts.items())]
        file.write("\n".join([count, " ".join(words), atoms]))


def _is_empty(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _key(key: str) -> str:
    return _quoted(key) if re.search(r"""[\s"'{}\[\]=,\\]""", key) else key


def _quoted(value: str) -> str:
    escaped = " ".join(value.splitlines()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _extended_xyz(text: str) -> list[Atoms]:
    """Read extended XYZ, and refuse what ASE passes over: frames behind a blank line, and keys given twice."""
    lines = text.rstrip().splitlines()
    position = 0
    while position < len(lines):
        if not lines[position].strip():
            raise ValueError(f"line {position + 1} is blank, where the number of atoms of a frame is expected")
        comment = lines[position + 1] if position + 1 < len(lines) else ""
        keys = _KEY.findall(_QUOTED.sub("", comment))
        properties = re.search(r'Properties="?([^\s"]+)', comment)
        keys += properties[1].split(":")[::3] if properties else []
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise ValueError(f"line {position + 2} has {', '.join(sorted(twice))} more than once")
        position += 2 + int(lines[position])
    if position > len(lines):
        raise ValueError(f"its last frame lacks {position - len(lines)} lines")
    try:
        frames: list[Atoms] = read(io.StringIO(text), index=":", format="extxyz")
    except ValueError:
        # ASE refuses ``virial`` and ``stress`` as six numbers or as JSON, unless they are called something else.
        frames = read(io.StringIO(re.sub(r"(?<=\s)(virial|stress)=", r"ndsc_\1=", text)), index=":", format="extxyz")
        for frame in frames:
            for key in ("virial", "stress"):
                if f"ndsc_{key}" in frame.info:
                    frame.info[key] = frame.info.pop(f"ndsc_{key}")
    return frames
