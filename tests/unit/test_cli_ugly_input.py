"""Ugly input to every command: one message that says what to do and exit code 2, never "a bug" or a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ndsc.cli import app

CELL = 'Lattice="0 2.02 2.02 2.02 0 2.02 2.02 2.02 0"'
XYZ = f'1\n{CELL} Properties=species:S:1:pos:R:3 pbc="T T T"\nAl 0 0 0\n'
TOML = '[crystal]\nstructure = "Al"\nrelax = false\n[supercells]\ngrid = 2\n[fit]\nmethod = "none"\n'
# Names of at most 255 bytes are files of the system; longer ones cannot be.
FILES = {
    "empty.xyz": b"",
    "binary.xyz": bytes(range(256)) * 4,
    "nan.xyz": XYZ.replace("2.02", "nan").encode(),
    "many-digits.xyz": XYZ.replace("1\n", "1" + 5000 * "0" + "\n", 1).encode(),
    "[red]brackets[b].xyz": b"junk [/bold]",
    "\x1b[31mescape.xyz": b"junk \x1b[2J",
    "element.xyz": XYZ.replace("Al 0", "[b]\x1b[2J 0").encode(),
    "tiny.xyz": XYZ.replace("2.02", "1e-6").encode(),
    "empty.toml": b"",
    "binary.toml": bytes(range(256)),
    "deep.toml": b"a = " + 5000 * b"[" + 5000 * b"]",
    "digits.toml": f"{TOML}[phonons]\ngrid = {5000 * '9'}\n".encode(),
    "hexadecimal.toml": f"{TOML}[reference]\nparameters = {{a = 0x{5000 * 'f'}}}\n".encode(),
    "infinite.toml": f"{TOML}[elastic]\nstrain = 1e99999\n".encode(),
    "brackets.toml": TOML.replace('"Al"', '"[/red]"').encode(),
    "escape.toml": TOML.replace('"Al"', '"A\\u001b[2J"').encode(),
    "null.toml": TOML.replace('"Al"', '"a\\u0000.xyz"').encode(),
    "long-path.toml": TOML.replace('"Al"', f'"{5000 * "a"}.xyz"').encode(),
    "nobody.toml": TOML.replace('"Al"', '"~nobody-here/al.xyz"').encode(),
    "folder.toml": TOML.replace('"Al"', '"./"').encode(),
    "study.toml": f'[study]\ntitle = "x"\n[runs]\na = "{5000 * "r"}"\n[[potentials]]\nname = "p"\n'.encode(),
}
PATHS = ["folder", "nowhere.xyz", 5000 * "x", 300 * "y" + ".toml", "\udcff.xyz", ""]
STRUCTURES = [*(name for name in FILES if name.endswith(".xyz")), *PATHS, "al.xyz@5", "al.xyz@" + 5000 * "9"]
INPUTS = [*(name for name in FILES if name.endswith(".toml")), *PATHS]
WORDS = ["[red]brackets[b].xyz", "\x1b[31mescape.xyz", 5000 * "x", "\udcff.xyz", ""]
COMMANDS = {
    ("supercells", "{}", "--grid", "2"): STRUCTURES,
    ("elastic", "{}"): STRUCTURES,
    ("fit", "{}", "--out", "out"): STRUCTURES,
    ("phonons", "Al", "--grid", "2", "--born", "{}"): STRUCTURES,
    ("export", "{}", "--dialect", "mace", "--out", "out.xyz"): STRUCTURES,
    ("run", "{}", "--dry-run", "--out", "out"): INPUTS,
    ("study", "{}", "--dry-run", "--out", "out"): INPUTS,
    ("fit", "al.xyz", "--settings", "{}", "--out", "out"): INPUTS,
    ("report", "{}"): PATHS[1:],
    ("labels", "show", "folder", "{}"): WORDS,
    ("elastic", "Al", "--calculator", "{}"): WORDS,
    ("elastic", "Al", "--kgrid", "{}", "--calculator", "gpaw"): WORDS,
    ("elastic", "Al", "--timeout", "{}"): WORDS,
    ("supercells", "Al", "--grid", "{}"): WORDS,
    ("supercells", "Al", "--grid", "2", "--lattice", "{}"): WORDS,
    ("supercells", "Al", "--grid", "2", "--format", "{}"): WORDS,
    ("phonons", "Al", "--grid", "2", "--parameters", "{}"): WORDS,
    ("converge", "Al", "--scan", "{}=1,2", "--dry-run"): WORDS,
}
CASES = [(command, name) for command, names in COMMANDS.items() for name in names]
NUMBERS = [5000 * "9", 30 * "1", "-1", "nan", "inf", "1e999", 5000 * "[", '{"a": NaN}', 3000 * '{"a":']
NUMBER_COMMANDS = [
    ["supercells", "Al", "--grid", "{}"],
    ["kpoints", "Al", "--grid", "2", "--max-points", "{}"],
    ["supercells", "Al", "--grid", "2", "--symprec", "{}"],
    ["supercells", "Al", "--grid", "2", "--cost-exponent", "{}"],
    ["supercells", "Al", "--grid", "2", "-a", "{}"],
    ["phonons", "Al", "--grid", "2", "--displacement", "{}"],
    ["phonons", "Al", "--grid", "2", "--residual-force-limit", "{}"],
    ["phonons", "Al", "--grid", "2", "--parameters", "{}"],
    ["elastic", "Al", "--strain", "{}"],
    ["elastic", "Al", "--steps", "{}"],
    ["elastic", "Al", "--relax", "--max-steps", "{}"],
    ["elastic", "Al", "--threads", "{}"],
    ["phonons", "Al", "--grid", "2", "--memory", "{}"],
    ["fit", "al.xyz", "--cutoff", "{}", "--out", "out"],
    ["fit", "al.xyz", "--memory-limit", "{}", "--out", "out"],
    ["converge", "Al", "--grid", "{}", "--scan", "asap_cutoff=true,false", "--dry-run"],
]


@pytest.fixture(scope="module", autouse=True)
def _ugly_files(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("ugly")
    before = Path.cwd()
    os.chdir(folder)
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    Path("al.xyz").write_text(XYZ)
    Path("folder").mkdir()
    yield
    os.chdir(before)


def check_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    assert "bug" not in result.stderr
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.output
    # Older releases of typer repeat the whole argument, in a box.
    assert len(result.stderr) < 4000 + 3 * sum(map(len, arguments))
    assert "Error" in result.stderr


@pytest.mark.parametrize(
    ("command", "name"), CASES, ids=lambda part: ascii(" ".join(part) if isinstance(part, tuple) else part[:24])
)
def test_ugly_names_and_files(command: tuple[str, ...], name: str) -> None:
    check_refused([part.replace("{}", name) for part in command])


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize("command", NUMBER_COMMANDS, ids=lambda command: "-".join(command)[:40])
def test_ugly_numbers(command: list[str], number: str) -> None:
    check_refused([part.replace("{}", number) for part in command])


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "0"])
@pytest.mark.parametrize("command", [["elastic", "Al", "--relax"], ["phonons", "Al", "--grid", "2", "--relax"]])
def test_limits_of_forces_are_numbers_above_zero(command: list[str], number: str) -> None:
    check_refused([*command, "--fmax", number])


def test_a_byte_order_mark_and_line_ends_of_windows_are_read() -> None:
    Path("windows.toml").write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())
    result = CliRunner().invoke(app, ["run", "windows.toml", "--dry-run", "--out", "out"])
    assert result.exit_code == 0
    assert "Fm-3m (225)" in result.stdout


def test_brackets_in_names_are_written_as_they_are() -> None:
    Path("[/red]").mkdir(parents=True)
    Path("[/red]/[b]al.xyz").write_text(XYZ)
    result = CliRunner().invoke(app, ["supercells", "[/red]/[b]al.xyz", "--grid", "2", "--out", "[/red]/[i]"])
    assert result.exit_code == 0
    assert "are in [/red]/[i]" in result.stdout
    assert Path("[/red]/[i]/supercells.json").is_file()


def program(command: str) -> subprocess.CompletedProcess[str]:
    """A command line in a shell, with a closed or full output."""
    text = command.replace("ndsc", f"{sys.executable} -m ndsc")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", ["supercells Al --grid 2", "--help", "supercells Al --grid 2 --json"])
def test_a_full_output(arguments: str) -> None:
    found = program(f"ndsc {arguments} > /dev/full")
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "No space left" in found.stderr


def test_a_reader_that_stops_and_closed_streams() -> None:
    found = program("ndsc supercells Si --grid 256 --json | head -1; exit ${PIPESTATUS[0]}")
    assert (found.returncode, found.stdout, found.stderr) == (0, "{\n", "")
    closed = program("ndsc supercells Al --grid 2 >&-")
    assert (closed.returncode, closed.stderr) == (0, "")
    assert program("ndsc supercells Al --grid x 2>&-").returncode == 2


def test_json_is_clean_beside_warnings() -> None:
    Path("cut.xyz").write_text(
        '2\nLattice="3.21 0 0 -1.605 2.77994 0 0 0 5.21" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
        "Mg 0 1.8534 1.3025\nMg 1.605 0.9266 3.9075\n"
    )
    result = CliRunner().invoke(app, ["supercells", "cut.xyz", "--grid", "4", "4", "2", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["space_group"]["number"] < 194
    assert "P6_3/mmc" in result.stderr.replace("₃", "_3")
    larger = CliRunner().invoke(app, ["supercells", "cut.xyz", "--grid", "4", "4", "2", "--json", "--symprec", "0.001"])
    assert json.loads(larger.stdout)["space_group"]["number"] == 194
    assert json.loads(larger.stdout)["cost"] == 272
    assert larger.stderr == ""
