"""The base class of all settings, and the kinds of values that settings hold.

A `Section` is at once a section of an input file, the settings that a Python function takes, and what the options of a
command are checked with: one pydantic model, so that a value is accepted or refused everywhere alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic._internal._model_construction import ModelMetaclass

from ndsc.errors import InputError
from ndsc.messages import explain

# The whole numbers of TOML and of compiled programs; settings have narrower bounds of their own.
SMALLEST, LARGEST = -(2**63), 2**63 - 1


def plain_number(value: object) -> object:
    """A number of NumPy as the number of Python that it is; everything else as it is."""
    module = type(value).__module__
    return value.item() if module == "numpy" and hasattr(value, "item") and not getattr(value, "shape", ()) else value


def _within_64_bits(value: object) -> object:
    value = plain_number(value)
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        raise ValueError("it is a whole number of more than 64 bits")
    return value


# Strict: "4" is not a number and true is not 1. A whole number is a real number too.
Whole = Annotated[int, Strict(), BeforeValidator(_within_64_bits)]
Real = Annotated[float, Strict(), Field(allow_inf_nan=False), BeforeValidator(_within_64_bits)]
Flag = Annotated[bool, Strict()]


def one_or_three(value: object) -> object:
    """A grid given as one number is the same along the three axes."""
    value = plain_number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value, value)
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(value)
    raise ValueError("one whole number or a list of three is expected")


def one_or_many(value: object) -> object:
    """A single number where a list is allowed."""
    value = plain_number(value)
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
        raise ValueError(f"{where} holds {value}, which is not a finite number")
    elif isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        raise ValueError(f"{where} holds a whole number of more than 64 bits")
    elif not isinstance(value, str | bool | int | float):
        raise ValueError(f"{where} holds {value!r}, a {type(value).__name__}; write it as a string or a number")


Positive = Annotated[Whole, Field(ge=1)]
# Numerators over a grid are 32-bit integers in the compiled core.
GridNumber = Annotated[Whole, Field(ge=1, le=10**6)]
Row = tuple[Whole, Whole, Whole]
Grid = Annotated[tuple[GridNumber, GridNumber, GridNumber], BeforeValidator(one_or_three)]
KpointGridValue = Annotated[
    tuple[GridNumber, GridNumber, GridNumber] | tuple[Row, Row, Row], BeforeValidator(one_or_three)
]


class _Explaining(ModelMetaclass):
    """Calling the class with wrong values raises an `InputError` with the same text as an input file gets.

    pydantic does not come this way when it fills a section inside of another model, so that the outermost one sees
    all mistakes with their places.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        try:
            return super().__call__(*args, **kwargs)
        except ValidationError as error:
            assert issubclass(cls, Section)
            raise InputError(explain(error, cls, cls.__name__)) from error


class Section(BaseModel, metaclass=_Explaining):
    """What all sections share: unknown keys are refused, values never change.

    The description of a field is the hint that a user reads when its value is wrong, so it says what to write.

    Raises
    ------
    InputError
        When a value is wrong; the message names every wrong key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def parse(cls, values: object, source: str) -> Self:
        """Check values that were read from `source`, a name for messages.

        Raises
        ------
        InputError
            One message that names every wrong key: unknown, missing, of the wrong type, or out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(explain(error, cls, source)) from error

    def replaced(self, **changes: Any) -> Self:
        """A checked copy with some values changed.

        Raises
        ------
        InputError
            When a changed value is wrong, or does not go with the others.
        """
        return type(self)(**{**dict(self), **changes})


class InputFile(Section):
    """A whole input file: its fields are sections, and messages write their names in brackets."""
