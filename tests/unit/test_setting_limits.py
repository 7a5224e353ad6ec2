"""Numbers of every section of an input file: what is absurd is refused when the file is read, and in Python alike."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
import pytest
from ase.build import bulk
from pydantic import BaseModel

import ndsc
from ndsc.config import RunConfig, parse_config
from ndsc.config.study import StudyConfig
from ndsc.errors import InputError
from ndsc.section import Section
from ndsc.supercells import find_supercells

HEAD = {"crystal": {"structure": "'Al'"}, "supercells": {"grid": "4"}}


def inner_types(annotation: Any) -> Iterator[type]:
    """The plain types that a field's annotation is made of."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from inner_types(get_args(annotation)[0])
    elif origin in (Union, types.UnionType, tuple):
        for argument in get_args(annotation):
            yield from inner_types(argument)
    elif isinstance(annotation, type):
        yield annotation


def number_fields(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    """Each field of a model, and of the models in it, that holds numbers."""
    for name, field in model.model_fields.items():
        kinds = set(inner_types(field.annotation))
        if kinds & {int, float}:
            yield model, name
        for kind in kinds:
            if issubclass(kind, BaseModel):
                yield from number_fields(kind)


FIELDS = sorted(
    {(model, name) for whole in (RunConfig, StudyConfig) for model, name in number_fields(whole)},
    key=lambda field: (field[0].__name__, field[1]),
)


def accepted(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether a model takes a value; other mistakes of the model do not count."""
    assert issubclass(model, Section)
    try:
        model(**{name: value})
    except InputError as error:
        return f"{name} =" not in str(error) and f"{name}:" not in str(error)
    return True


def test_fields_are_found() -> None:
    assert len(FIELDS) > 40
    assert {name for _, name in FIELDS} >= {"cutoff", "grid", "scale", "minimum", "timeout", "strain", "symprec"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**30, 1e308, "4", True, [np.nan]])
@pytest.mark.parametrize(("model", "name"), FIELDS, ids=[f"{model.__name__}.{name}" for model, name in FIELDS])
def test_no_field_takes_what_is_not_a_sensible_number(model: type[BaseModel], name: str, value: Any) -> None:
    if value == 1e308 and model.__module__ == "ndsc.config.study":  # numbers to compare with may have any size
        return
    strings = str in set(inner_types(model.model_fields[name].annotation)) or name == "timeout"
    if isinstance(value, str) and strings:
        return
    assert not accepted(model, name, value)


def text_of(section: str, key: str, value: str) -> str:
    values = {name: dict(keys) for name, keys in HEAD.items()}
    values.setdefault(section, {})[key] = value
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {said}\n" for key, said in keys.items()) for name, keys in values.items()
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "1e308", "1" + 30 * "0", "'4'", "true"])
def test_a_file_and_python_refuse_with_the_same_words(value: str) -> None:
    from ndsc.fit import GapSettings

    said = {"nan": float("nan"), "inf": float("inf"), "'4'": "4", "true": True}.get(value)
    with pytest.raises(InputError) as from_file:
        parse_config(text_of("fit", "cutoff", value), source="al.toml")
    with pytest.raises(InputError) as from_python:
        GapSettings(cutoff=eval(value) if said is None else said)
    assert str(from_file.value).removeprefix("al.toml: [fit] ") == str(from_python.value).removeprefix("GapSettings: ")


def test_python_takes_numbers_of_numpy() -> None:
    from ndsc.fit import GapSettings

    settings = GapSettings(n_max=np.int64(4), cutoff=np.float32(4.5), zeta=np.int8(2))
    assert (settings.n_max, settings.cutoff, type(settings.n_max)) == (4, 4.5, int)
    with pytest.raises(InputError, match="l_max"):
        settings.replaced(l_max=-1)


SMALL = find_supercells(bulk("Al"), 2)
USES = {
    ("supercells", "cost_exponent"): lambda value: find_supercells(bulk("Al"), 2, value),
    ("supercells", "grid"): lambda value: find_supercells(bulk("Al"), value),
    ("crystal", "symprec"): lambda value: ndsc.Crystal.from_atoms(bulk("Al"), symprec=value),
    ("crystal", "magnetic_tolerance"): lambda value: ndsc.Crystal.from_atoms(bulk("Al"), magnetic_tolerance=value),
    ("crystal", "a"): lambda value: ndsc.load_crystal("Al", a=max(value, 2)),
    ("phonons", "displacement"): lambda value: ndsc.phonon_displacements(SMALL, displacement=value),
    **{
        ("configurations", key): lambda value, key=key: ndsc.make_configurations(
            SMALL, **{"per_supercell": 2, key: value}
        )
        for key in ("per_supercell", "displacement", "strain", "scale", "unit_cells", "unit_cell_displacement", "seed")
    },
}
VALUES = [0, -1, 1e-320, 1e-12, 1e-5, 0.24, 0.25, 0.3, 0.5, 0.75, 0.8, 1, 1.25, 2, 3.5, 7.5, 20, 50.5, 1000]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(("section", "key"), USES)
def test_what_the_file_takes_python_takes(section: str, key: str, value: float) -> None:
    try:
        parse_config(text_of(section, key, repr(value)))
    except InputError:
        return
    if value != 1000:  # which takes long
        USES[section, key](value)
