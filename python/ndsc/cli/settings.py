"""Settings on the command line: ``PATH=VALUE`` and ``NAME=V1,V2``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ndsc.cli.options import parse_kgrid
from ndsc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_changes(texts: Sequence[str], kgrid: str | None = None, *, option: str = "--set") -> dict[str, Any]:
    """Settings by their path, from ``--set PATH=VALUE`` (or another option) and ``--kgrid``.

    Raises
    ------
    InputError
        When one has no path or no value, or is given twice.
    """
    changes: dict[str, Any] = {} if kgrid is None else {"kgrid": parse_kgrid(kgrid)}
    for text in texts:
        path, value = assignment(text, option, "mode.ecut=500")
        if path in changes:
            raise InputError(f"{option} {text}: {path} is given twice. Give it once.")
        changes[path] = parse_kgrid(value, f"{option} kgrid") if path == "kgrid" else value_of(value)
    return changes


def parse_scans(texts: Sequence[str] | None) -> dict[str, list[Any] | None] | None:
    """Values by the name of their setting, from ``--scan NAME=V1,V2``; a name alone asks for values around the given.

    Raises
    ------
    InputError
        When one has no name, or is given twice.
    """
    if not texts:
        return None
    scans: dict[str, list[Any] | None] = {}
    for text in texts:
        name, values = (text.strip(), None) if "=" not in text else assignment(text, "--scan", "kgrid=4,8,12")
        if not name or name in scans:
            raise InputError(f"--scan {text}: {f'{name} is given twice' if name else 'a name is expected'}. Give one.")
        words = None if values is None else [word for word in _between_commas(values) if word.strip()]
        if words is not None and name == "kgrid":
            scans[name] = [parse_kgrid(word, "--scan kgrid") for word in words]
        else:
            scans[name] = None if words is None else [value_of(word) for word in words]
    return scans


def _between_commas(text: str) -> list[str]:
    """What is between the commas outside of brackets: those of a list belong to one value."""
    words, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return words


def assignment(text: str, option: str, example: str) -> tuple[str, str]:
    path, _, value = (part.strip() for part in text.partition("="))
    if not (path and value):
        raise InputError(f"{option} {text}: a name and a value are expected. Write for example {option} {example}.")
    return path, value


def value_of(text: str) -> Any:
    """A value as JSON, or else the word itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
