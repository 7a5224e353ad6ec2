"""The input file: every mistake is one message that names the key, and what was read can be written back."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndsc.codes import PROGRAMS
from ndsc.config import (
    ReferenceSettings,
    RunConfig,
    dump_config,
    load_config,
    load_fit_settings,
    parse_config,
    write_config,
)
from ndsc.errors import InputError
from ndsc.fit import GapSettings, Regularisation
from ndsc.fit.settings import SPARSE_METHODS
from ndsc.reference import CalculatorSpec, calculator_names

MINIMAL = '[crystal]\nstructure = "Al"\n[supercells]\ngrid = 4\n'


def read(extra: str = "") -> RunConfig:
    """The smallest valid input file with lines added to it."""
    return parse_config(MINIMAL + extra)


def mistake(extra: str) -> str:
    """The message that lines added to a valid input file give."""
    with pytest.raises(InputError) as caught:
        read(extra)
    return str(caught.value)


def test_defaults_are_those_of_the_documentation() -> None:
    config = read()
    assert config.crystal.relax
    assert config.crystal.primitive
    assert config.supercells.grid == (4, 4, 4)
    assert config.supercells.cost_exponent == 3
    assert config.configurations[0].per_supercell == 20
    assert config.configurations[0].displacement == (0.05,)
    assert config.configurations[0].strain == 0.01
    assert config.configurations[0].scale == (0.98, 1.0, 1.02)
    assert config.configurations[0].unit_cells == 1
    assert config.configurations[0].unit_cell_displacement == 0
    assert config.configurations[0].unlabelled == 100
    assert config.reference.calculator == "emt"
    assert config.reference.labels is None
    assert (config.executor.kind, config.executor.workers, config.executor.retries) == ("local", 2, 1)
    assert config.fit.method == "gap"
    assert config.regularisation.kind == "adaptive"
    assert config.regularisation.force.relative == 0.01
    assert config.phonons.reference == "supercells"
    assert config.phonons.grid is None
    assert config.phonons.dos_mesh is None
    assert config.elastic.enabled
    assert config.elastic.strain == 0.005


def test_one_number_stands_for_three_and_one_displacement_for_a_list() -> None:
    config = read(
        "[configurations]\ndisplacement = [0.05, 0.1]\nscale = 1\n[phonons]\ndos_mesh = 20\ngrid = [2, 3, 4]\n"
    )
    assert config.configurations[0].displacement == (0.05, 0.1)
    assert config.configurations[0].scale == (1.0,)
    assert config.phonons.dos_mesh == (20, 20, 20)
    assert config.phonons.grid == (2, 3, 4)


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("[fitt]\n", ["[fitt] is not a known section", "Did you mean 'fit'", "crystal, supercells"]),
        ("[fit]\nn_spars = 3\n", ["[fit] n_spars is not a known key", "Did you mean 'n_sparse'", "cutoff"]),
        ("[fit]\nqqqq = 3\n", ["[fit] qqqq is not a known key. The keys of [fit] are method"]),
        ("[fit]\nzeta = true\n", ["[fit] zeta = true", "a whole number is expected"]),
        ("[fit]\nn_max = 8.5\n", ["[fit] n_max = 8.5", "a whole number is expected"]),
        ("[fit]\ncutoff = '6'\n", ["[fit] cutoff = '6'", "a number is expected", "6.0"]),
        ("[fit]\ncutoff = 0\n", ["[fit] cutoff = 0", "it must be at least 0.5"]),
        ("[fit]\nmethod = 'mace'\n", ["[fit]: method = 'mace'", "'gap', 'ace', 'polymlp' or 'none'"]),
        ("[fit]\ne0 = 'mean'\n", ["[fit] e0 = 'mean'", "'average', 'fit', 'isolated' or a table"]),
        ("[fit]\ne0 = {Xx = 1.0}\n", ["[fit] e0", "'Xx' is not a chemical symbol"]),
        ("[fit]\ne0 = {Al = 'a'}\n", ["[fit] e0", "the energy of Al is not a number"]),
        ("[fit]\ncutoff = 5\ntransition_width = 6\n", ["[fit]", "transition_width = 6 is wider than cutoff = 5"]),
        (
            "[fit]\npreset = 'Al'\nradial_scale = 3.0\n",
            ["[fit]", "radial_scale = 3 has no effect with radial_exponent"],
        ),
        ("[fit]\nsparse_method = 'file'\n", ["[fit] sparse_method = 'file'", "'cur_points', 'cur_covariance'"]),
        ("[fit]\npreset = 'Ag'\n", ["[fit]", "there is no preset 'Ag'", "Al"]),
        ("[regularisation]\npreset = 3\n", ["[regularisation]", "there is no preset 3"]),
        ("[regularisation]\nkind = 'none'\n", ["[regularisation] kind = 'none'", "'adaptive' (sigma"]),
        ("[regularisation]\nforce = 0.1\n", ["[regularisation] force = 0.1", "a table is expected"]),
        ("[regularisation]\nforce = {minimum = 0}\n", ["[regularisation] force.minimum = 0", "at least 1e-07"]),
        ("[regularisation]\nvirial = {relativ = 1}\n", ["[regularisation] virial.relativ", "Did you mean 'relative'"]),
        ("[configurations]\nscale = []\n", ["[configurations] scale = []", "at least one"]),
        ("[configurations]\nscale = [0.98, 7]\n", ["[configurations] scale = 7", "at most 1.25"]),
        ("[configurations]\ndisplacement = ['a']\n", ["[configurations] displacement = 'a'", "a number is expected"]),
        ("[configurations]\ndisplacement = -0.1\n", ["[configurations] displacement = -0.1", "at least 0"]),
        ("[configurations]\nstrain = 0.4\n", ["[configurations] strain = 0.4", "at most 0.25"]),
        ("[configurations]\nunit_cell_displacement = 2\n", ["unit_cell_displacement = 2", "at most 1"]),
        ("[configurations]\nunit_cell_displacement = [0.01]\n", ["unit_cell_displacement", "a number is expected"]),
        ("[configurations]\nseed = -1\n", ["[configurations] seed = -1", "at least 0"]),
        ("[configurations]\nper_supercell = 0\nunit_cells = 0\n", ["[configurations]", "nothing to label"]),
        ("[reference]\ncalculator = ''\n", ["[reference] calculator = ''", "no calculator has this name", "emt"]),
        ("[reference]\ncalculator = 'vasp'\n", ["[reference]", "vasp needs kgrid"]),
        ("[reference]\ncalculator = 'siesta'\n", ["[reference] calculator = 'siesta'", "no calculator has this name"]),
        ("[reference]\ncommand = 'mpirun pw.x'\n", ["[reference]", "command has no effect with emt"]),
        ("[reference]\npseudo_dir = 'psp'\n", ["[reference]", "pseudo_dir has no effect with emt"]),
        ("[reference]\natom_parameters = {nband = 9}\n", ["[reference]", "atom_parameters have no effect with emt"]),
        ("[reference]\natom_box = 1.0\n", ["[reference] atom_box = 1", "at least 5"]),
        ("[reference]\ncalculator = 'gpaw'\n", ["[reference]", "gpaw needs kgrid"]),
        ("[reference]\nkgrid = 4\n", ["[reference]", "kgrid has no effect with emt"]),
        ("[reference]\nparameters = {a = 1979-05-27}\n", ["[reference] parameters", "parameters.a", "date"]),
        ("[reference]\nparameters = {a = {b = [inf]}}\n", ["[reference] parameters", "parameters.a.b", "finite"]),
        ("[reference]\nparameters = {asap_cutof = true}\n", ["[reference]", "'asap_cutof'", "'asap_cutoff'"]),
        ("[reference]\ncalculator = 'lj'\nparameters = {epsilonn = 1}\n", ["[reference]", "'epsilon'"]),
        ("[reference]\ncalculator = 'EMT'\n", ["[reference] calculator = 'EMT'", "Did you mean 'emt'"]),
        ("[reference]\nparameters = 3\n", ["[reference] parameters = 3", "a table is expected"]),
        ("[reference]\nlabels = 3\n", ["[reference] labels = 3", "a path"]),
        ("[executor]\nkind = 'pbs'\n", ["[executor] kind = 'pbs'", "local", "slurm", "dask"]),
        ("[executor]\ncores = 4\n", ["cores has no effect with kind = 'local'"]),
        ("[executor]\nkind = 'slurm'\nresources = {day = 2020-01-01}\n", ["resources", "date"]),
        ("[executor]\nkind = 'cloud'\n", ["[executor] kind = 'cloud'", "'local'"]),
        ("[executor]\ntimeout = 'soon'\n", ["[executor] timeout = 'soon'", "a number with h, min or s", "'2h'"]),
        ("[executor]\ntimeout = 0\n", ["[executor] timeout = 0", "above 0"]),
        ("[executor]\nworkers = 0\n", ["[executor] workers = 0", "at least 1"]),
        ("[phonons]\nreference = 'diag'\n", ["[phonons] reference = 'diag'", "'supercells', 'diagonal' or 'none'"]),
        ("[phonons]\ndos_mesh = [1, 2]\n", ["[phonons] dos_mesh = [1, 2]", "one whole number or a list of three"]),
        ("[phonons]\ngrid = [1, 2, 0]\n", ["[phonons] grid = 0", "at least 1"]),
        ("[elastic]\nstrain = nan\n", ["[elastic] strain = nan", "a finite number"]),
        ("[elastic]\nenabled = 1\n", ["[elastic] enabled = 1", "true or false is expected"]),
    ],
)
def test_every_mistake_names_its_key_and_says_what_to_do(extra: str, parts: list[str]) -> None:
    message = mistake(extra)
    for part in parts:
        assert part in message
    assert "\n" not in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["2 mistakes", "[crystal] is missing", "[supercells] is missing", "grid = [4, 4, 4]"]),
        ("[crystal]\n[supercells]\ngrid=4", ["[crystal] structure is missing", "structure = 'Al'"]),
        ("crystal = 3\n[supercells]\ngrid=4", ["[crystal]: a table is expected"]),
        ("[crystal]\nstructure=''\n[supercells]\ngrid=4", ["[crystal] structure = ''", "empty"]),
        ("[crystal]\nstructure=3\n[supercells]\ngrid=4", ["[crystal] structure = 3", "a string in quotes"]),
        ("[crystal]\nstructure='Al'\na=-4\n[supercells]\ngrid=4", ["[crystal] a = -4", "at least 1"]),
        ("[crystal]\nstructure='no.cif'\n[supercells]\ngrid=4", ["[crystal] structure = 'no.cif'", "there is no file"]),
        ("[crystal]\nstructure='Al'\n[supercells]\ngrid=0", ["[supercells] grid = 0", "at least 1"]),
        ("[crystal]\nstructure='Al'\n[supercells]\ngrid='4'", ["[supercells] grid = '4'", "one whole number"]),
        ("[crystal]\nstructure='Al'\n[supercells]\ngrid=4\ncost_exponent=0", ["[supercells] cost_exponent = 0"]),
        ("[crystal\n", ["is not valid TOML", "line 1", "Correct"]),
    ],
)
def test_mistakes_of_the_required_sections(text: str, parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(text, source="al.toml")
    for part in ["al.toml", *parts]:
        assert part in str(caught.value)


def test_limits_of_a_choice_are_not_dropped_where_there_is_nothing_to_choose_for() -> None:
    extra = "[fit]\nmethod = 'none'\n[selection]\nmax_labels = 7\n"
    with pytest.raises(InputError, match=r"\[selection\] max_labels would not be used: \[fit\] method = 'none'"):
        read(extra)
    assert read(extra + "method = 'all'\n").selection.method == "all"


def test_all_mistakes_are_told_at_once() -> None:
    message = mistake("[fit]\ncutoff = -1\n[elastic]\nstrian = 1\n[configurations]\nseed = 1.5\n")
    assert ": 3 mistakes:" in message
    assert len(message.splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("'2h'", 7200), ("'1.5 h'", 5400), ("'30min'", 1800), ("'90s'", 90), ("'7'", 7), ("12.5", 12.5)],
)
def test_a_timeout_has_a_unit(text: str, seconds: float) -> None:
    config = read(f"[executor]\ntimeout = {text}\n")
    assert config.executor.timeout == seconds
    assert parse_config(dump_config(config)) == config


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "al.xyz").write_text("1\n\nAl 0 0 0\n")
    file = tmp_path / "inputs" / "al.toml"
    file.write_text('[crystal]\nstructure = "al.xyz"\n[supercells]\ngrid = 4\n[reference]\nlabels = "../labels"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config("inputs/al.toml")
    assert config.crystal.structure == str(tmp_path / "inputs" / "al.xyz")
    assert config.reference.labels == tmp_path / "labels"


def test_the_written_copy_moves_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "al.xyz").write_text("1\n\nAl 0 0 0\n")
    text = '[crystal]\nstructure = "al.xyz"\n[supercells]\ngrid = 4\n[reference]\nlabels = "labels"\n'
    config = parse_config(text, folder=tmp_path)
    (tmp_path / "run").mkdir()
    write_config(config, tmp_path / "run" / "ndsc.toml")
    assert str(tmp_path) not in (tmp_path / "run" / "ndsc.toml").read_text()
    assert load_config(tmp_path / "run" / "ndsc.toml") == config
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["ndsc.toml"]


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not a text file"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, make: object, part: str) -> None:
    path = tmp_path / "al.toml"
    make(path)  # type: ignore[operator]
    with pytest.raises(InputError, match=re.escape(part)):
        load_config(path)


def test_a_copy_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_config(read(), tmp_path / "file" / "ndsc.toml")


def test_a_value_without_a_form_in_toml_is_refused() -> None:
    config = read().model_copy(deep=True)
    config.reference.parameters["odd"] = {1, 2}
    with pytest.raises(InputError, match="TOML"):
        dump_config(config)


def test_a_configuration_never_changes() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().fit.cutoff = 3  # type: ignore[misc]


keys = st.text(min_size=1, max_size=12)
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(keys, values, max_size=4))
def test_any_parameters_survive_being_written_and_read(parameters: dict[str, object]) -> None:
    reference = ReferenceSettings(calculator="module:factory", parameters=parameters)
    config = read().model_copy(update={"reference": reference})
    assert parse_config(dump_config(config)) == config


def test_a_full_configuration_survives_being_written_and_read() -> None:
    config = read(
        "[configurations]\ndisplacement = [0.02, 0.1]\nseed = 7\n[reference]\ncalculator = 'gpaw'\nkgrid = [8, 8, 6]\n"
        "parameters = {mode = {name = 'pw', ecut = 350}, occupations = {name = 'marzari-vanderbilt', width = 0.5}}\n"
        "[fit]\ne0 = {Al = -3.25}\nsparse_jitter = 1e-8\n[regularisation]\nkind = 'static'\nforce = {minimum = 0.05}\n"
        "[phonons]\ngrid = 2\n[elastic]\nenabled = false\n"
    )
    written = dump_config(config)
    assert parse_config(written) == config
    assert tomllib.loads(written)["fit"]["e0"] == {"Al": -3.25}


def test_a_preset_fills_what_is_not_said() -> None:
    config = read("[fit]\npreset = 'Mg'\nn_sparse = 111\n[regularisation]\npreset = 'Al'\nforce = {relative = 0.1}\n")
    assert (config.fit.cutoff, config.fit.n_max, config.fit.l_max, config.fit.n_sparse) == (8.0, 8, 6, 111)
    assert (config.regularisation.force.relative, config.regularisation.force.minimum) == (0.1, 1e-3)
    assert config.regularisation.virial.relative == 5e-3
    assert config.regularisation.virial.minimum == 5e-4
    assert parse_config(dump_config(config)) == config


def test_the_fit_sections_are_the_settings_of_the_fit() -> None:
    assert read().fit == GapSettings()
    assert read().regularisation == Regularisation()
    for method in SPARSE_METHODS:
        assert read(f"[fit]\nsparse_method = '{method}'\n").fit == GapSettings(sparse_method=method)


def test_every_calculator_of_the_package_can_be_named() -> None:
    for name in calculator_names():
        kgrid = "kgrid = 4\n" if name in ("gpaw", *PROGRAMS) else ""
        config = read(f"[reference]\ncalculator = '{name}'\n{kgrid}")
        assert config.reference.to_spec() == CalculatorSpec(name, {}, (4, 4, 4) if kgrid else None)
        assert name in str(RunConfig.model_fields["reference"].annotation.model_fields["calculator"].description)  # type: ignore[union-attr]


def test_settings_of_a_fit_alone(tmp_path: Path) -> None:
    file = tmp_path / "fit.toml"
    file.write_text("[fit]\ncutoff = 5.5\nn_max = 9\n[regularisation]\nkind = 'static'\n[elastic]\n")
    sections = load_fit_settings(file, {"fit": {"n_max": 7}})
    assert (sections.fit.cutoff, sections.fit.n_max, sections.regularisation.kind) == (5.5, 7, "static")
    assert load_fit_settings(None, {}).fit == read().fit
    with pytest.raises(InputError, match=re.escape("[fit] n_max = 0")):
        load_fit_settings(None, {"fit": {"n_max": 0}})
    file.write_text("fit = 3\n")
    with pytest.raises(InputError, match=re.escape("[fit]: a table is expected")):
        load_fit_settings(file, {})


def test_a_database_of_several_parts() -> None:
    config = read('[[configurations]]\nname = "a"\n[[configurations]]\nname = "b"\ndisplaced = "one"\n')
    assert [part.name for part in config.configurations] == ["a", "b"]
    assert config.configurations[1].displaced == "one"
    assert parse_config(dump_config(config)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[configurations]]\nname = "a"\n[[configurations]]\n', "a name of its own"),
        ('[[configurations]]\nname = "a"\n[[configurations]]\nname = "a"\n', "a name of its own"),
        ('[[configurations]]\nname = "a/b"\n', r"\[configurations\] name = 'a/b'"),
        (
            '[[configurations]]\nname = "a"\nsead = 3\n',
            r"\[configurations\] sead is not a known key.*'seed'",
        ),
        ("[[configurations]]\nper_supercell = 0\nunit_cells = 0\n", "nothing to label"),
    ],
)
def test_parts_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(text)
