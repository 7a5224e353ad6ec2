"""From pydantic's list of errors to one message that a person can act on."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

REASONS = {
    "int_type": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "float_type": "a number is expected",
    "bool_type": "true or false is expected",
    "string_type": "a string in quotes is expected",
    "dict_type": "a table is expected",
    "model_type": "a table is expected",
    "model_attributes_type": "a table is expected",
    "tuple_type": "a table, or several of the same name in double brackets, is expected",
    "string_pattern_mismatch": "it has other characters than those allowed",
    "path_type": "a path, as a string, is expected",
    "finite_number": "a finite number is expected",
    "string_too_short": "the string is empty",
    "greater_than": "it must be above {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be below {lt}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be {expected}",
    "value_error": "{error}",
}
# Values with more characters than this are not repeated in a message.
SHORT = 60


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One message for all mistakes in some settings.

    Parameters
    ----------
    error : pydantic.ValidationError
        What pydantic found.
    model : type
        The model that was filled, for the hints and the known keys.
    source : str
        What was read, for the head of the message.

    Returns
    -------
    str
        One line for each mistake: the key, its value, why it is wrong, and what to do.
    """
    lines = list(dict.fromkeys(_line(item, model) for item in error.errors()))
    if len(lines) == 1:
        return f"{source}: {lines[0]}"
    return f"{source}: {len(lines)} mistakes:\n" + "\n".join(f"  - {line}" for line in lines)


def _line(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    location = [part for part in item["loc"] if isinstance(part, str)]
    owner, hint, named = _walk(model, location)
    name = key_name if _is_file(model) else ".".join
    where = name(named)
    if item["type"] == "extra_forbidden":
        kind = "section" if where.endswith("]") else "key"
        listed = "sections" if kind == "section" else f"keys of {name(named[:-1]) or model.__name__}"
        known = ", ".join(owner.model_fields)
        return f"{where} is not a known {kind}.{_meant(owner, named[-1])} The {listed} are {known}."
    if item["type"] == "missing":
        return f"{where} is missing, and it has no default. {hint}"
    reason = _reason(item)
    is_key = bool(where) and not where.endswith("]")
    if item["type"] == "value_error" and not is_key:  # keys that do not go together: the reason says it all
        return f"{where}: {reason}." if where else f"{reason}."
    shown = f"{where} = {_shown(item['input'])}" if is_key and _is_short(item["input"]) else where
    return f"{shown}: {reason}. {hint}".rstrip()


def _is_file(model: type[BaseModel]) -> bool:
    from ndsc.section import InputFile

    return issubclass(model, InputFile)


def _reason(item: Mapping[str, Any]) -> str:
    context = {key: f"{value:g}" if isinstance(value, float) else value for key, value in item.get("ctx", {}).items()}
    if item["type"] in REASONS:
        return REASONS[item["type"]].format(**context)
    return str(item["msg"][:1].lower() + item["msg"][1:])


def _meant(owner: type[BaseModel], name: str) -> str:
    """The known key that is most like an unknown one, as a question."""
    close = get_close_matches(name, list(owner.model_fields), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def _walk(model: type[BaseModel], location: Sequence[str]) -> tuple[type[BaseModel], str, list[str]]:
    """Follow a location to its model, the hint of its last field, and the names that the file has.

    pydantic puts names of union members and validators between the field names; those end the walk.
    """
    hint = ""
    named: list[str] = []
    owner, of_users_name = model, None
    tagged: Mapping[str, type[BaseModel]] = {}
    for part in location:
        if part in tagged:  # which of several models a section is, which no file says in this place
            owner, tagged = tagged[part], {}
            continue
        named.append(part)
        if of_users_name is not None:  # a table of tables, whose keys are the user's
            owner, of_users_name = of_users_name, None
            continue
        field = owner.model_fields.get(part)
        if field is None:
            break
        hint = field.description or ""
        of_users_name = _model_of_values(field.annotation)
        if of_users_name is not None:
            continue
        tagged = _tagged_models(field.annotation)
        if tagged:
            continue
        inner = _model_of(field.annotation)
        if inner is None:
            break
        if part != location[-1]:
            owner = inner
    return owner, hint, named


def _tagged_models(annotation: object) -> dict[str, type[BaseModel]]:
    """The models of a union by the tags that tell them apart."""
    found: dict[str, type[BaseModel]] = {}
    for arg in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ():
        model, *marks = get_args(arg) if get_origin(arg) is Annotated else (arg,)
        found |= {str(mark.tag): model for mark in marks if isinstance(mark, Tag)}
    return found


def _model_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return next((found for arg in get_args(annotation) if (found := _model_of(arg)) is not None), None)
    return None


def _model_of_values(annotation: object) -> type[BaseModel] | None:
    """The model of the values of a dictionary."""
    return _model_of(get_args(annotation)[1]) if get_origin(annotation) is dict else None


def key_name(named: Sequence[str]) -> str:
    """``[section] key.inner``, as the file shows it."""
    head = f"[{named[0]}]" if named else "the file"
    return f"{head} {'.'.join(named[1:])}" if len(named) > 1 else head


def _shown(value: object) -> str:
    """A value as the file has it: TOML writes true, Python True."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _is_short(value: object) -> bool:
    try:
        return isinstance(value, str | int | float | list | tuple) and len(repr(value)) <= SHORT
    except ValueError:  # Python does not write whole numbers of more than 4,300 digits
        return False
