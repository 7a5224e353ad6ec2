"""What every section of an input file is (a frozen pydantic model), and the kinds of values that sections hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

# Strict: "4" is no number and true is no 1; a whole number is a real number too.
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]


def one_or_three(value: object) -> object:
    """A grid given as one number is the same along the three axes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value, value)
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(value)
    raise ValueError("one whole number or a list of three is expected")


def one_or_many(value: object) -> object:
    """A single number where a list is allowed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, list | tuple) and value:
        return tuple(value)
    raise ValueError("a number or a list of at least one is expected")


def check_plain(value: object, where: str) -> None:
    """Refuse what cannot be written back and hashed the same everywhere: dates, infinities, not-a-numbers."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            check_plain(item, where)
    elif isinstance(value, float) and not -1e308 < value < 1e308:
        raise ValueError(f"{where} holds {value}, which is no finite number")
    elif not isinstance(value, str | bool | int | float):
        raise ValueError(f"{where} holds {value!r}, a {type(value).__name__}; write it as a string or a number")


Positive = Annotated[Whole, Field(ge=1)]
Row = tuple[Whole, Whole, Whole]
Grid = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(one_or_three)]
KpointGridValue = Annotated[tuple[Positive, Positive, Positive] | tuple[Row, Row, Row], BeforeValidator(one_or_three)]


class Section(BaseModel):
    """What all sections share: unknown keys are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
