"""Commands and examples in README and in the documentation are tests: what a page shows is what happens.

On some pages every block runs, all blocks of a page one after the other in one folder. A block of Python or of the
shell is run; one that begins with the comment ``# NAME.SUFFIX`` is written to that file; and a block of ``text`` is
what was printed last, or a part of it: ``…`` stands for any lines, numbers agree to 2 %, and times need not agree.
A command that is to fail has the HTML comment ``fails`` before it, and ``skip: next "reason"`` skips one. On all other
pages, blocks of Python compile, TOML is TOML, and lines that start with ``ndsc`` have arguments that ndsc takes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import scipy.linalg  # noqa: F401 - before quippy: loaded after it, LAPACK of SciPy fails

try:
    from sybil import Example, Sybil
    from sybil.parsers.markdown import CodeBlockParser, SkipParser
except ImportError:  # the extra 'dev' brings it
    Sybil = None

ROOT = Path(__file__).parent
os.environ.setdefault("MPLBACKEND", "Agg")
RUN = ["README.md", "docs/figures.md"]
#: These need the extra 'gap'; without it, they are treated as all other pages.
RUN_WITH_GAP = ["docs/start.md", "docs/tutorial.md"]
#: Longest time of one command, s.
TIMEOUT = 500
#: With one file on each core at a time, these come first: none of them is left for one core when all others are done.
LONGEST = (
    "tests/end_to_end/test_site.py",
    "tests/faults/test_faults_kill.py",
    "docs/tutorial.md",
    "tests/end_to_end/test_silicon.py",
    "tests/end_to_end/test_kinds_of_crystals.py",
    "tests/unit/test_alloy_runs.py",
    "tests/end_to_end/test_demo.py",
    "docs/start.md",
    "tests/physics/test_dft_codes.py",
    "tests/unit/test_several_crystals.py",
    "tests/faults/test_faults_interrupts.py",
    "tests/end_to_end/test_own_database_runs.py",
    "tests/end_to_end/test_outlier_runs.py",
    "tests/faults/test_faults_calculators.py",
    "tests/unit/test_report.py",
    "docs/figures.md",
)
_NAMED = re.compile(r"# ([\w./-]+\.\w+)\b")
_TIME = re.compile(r"[\d.]+(?:e[-+]\d+)?(?: to [\d.]+)? (?:ms|s|minutes|hours)\b")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    rank = {str(ROOT / file): number for number, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(str(item.path), len(LONGEST)))


def set_up(namespace: dict[str, Any]) -> None:
    """An empty folder for a page, in which `ndsc` is this one."""
    namespace["_before"] = Path.cwd()
    namespace["_folder"] = folder = Path(tempfile.mkdtemp(prefix="page-"))
    program = folder / "bin" / "ndsc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ndsc "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(ROOT / "python"), *filter(None, [os.environ.get("PYTHONPATH")])])
    namespace["_environment"] = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": path,
        "COLUMNS": "200",
    }
    (folder / "work").mkdir()
    os.chdir(folder / "work")
    sys.path.insert(0, str(folder / "work"))


def tear_down(namespace: dict[str, Any]) -> None:
    """Leave the folder, and remove it."""
    os.chdir(namespace["_before"])
    sys.path.remove(str(namespace["_folder"] / "work"))
    shutil.rmtree(namespace["_folder"])


def is_written(example: Example) -> bool:
    """Write a block that names a file to that file."""
    named = _NAMED.match(example.parsed)
    if named is not None:
        Path(named[1]).write_text(example.parsed, encoding="utf-8")
    return named is not None


def run_toml(example: Example) -> None:
    """An input file, or a part of one."""
    is_written(example)
    tomllib.loads(example.parsed)


def run_python(example: Example) -> None:
    """Python, in the same namespace as all of the page."""
    if is_written(example):
        return
    code = compile("\n" * (example.line + example.parsed.line_offset) + example.parsed, example.path, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, example.namespace)
    example.namespace["_printed"] = printed.getvalue()


def run_shell(example: Example) -> None:
    """Commands, as bash runs them."""
    fails = example.document.text[: example.start].rstrip().endswith("<!-- fails -->")
    done = subprocess.run(
        ["bash", "-ec", example.parsed],
        env=example.namespace["_environment"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    example.namespace["_printed"] = done.stderr if fails else done.stdout


def compare_text(example: Example) -> None:
    """What was printed last."""
    printed = [found for line in example.namespace["_printed"].splitlines() if (found := words(line))]
    position = 0
    anywhere = True
    for line in example.parsed.splitlines():
        if line.strip() == "…":
            anywhere = True
        elif words(line):
            end = len(printed) if anywhere else position + 1
            found = next((at for at in range(position, end) if same(words(line), printed[at : at + 1])), None)
            assert found is not None, f"{line!r} is not what was printed:\n{example.namespace['_printed']}"
            position, anywhere = found + 1, False


def words(line: str) -> list[str]:
    """The words of a line, without rules of tables; times are all the same."""
    return _TIME.sub("TIME", line.replace("─", " ")).split()


def same(expected: list[str], printed: list[list[str]]) -> bool:
    """Whether a line is as expected, numbers to 2 %."""
    return bool(printed) and len(expected) == len(printed[0]) and all(map(same_word, expected, printed[0]))


def same_word(one: str, other: str) -> bool:
    """Whether two words are equal, or numbers close to each other."""
    try:
        return math.isclose(float(one), float(other), rel_tol=0.02, abs_tol=1e-4)
    except ValueError:
        return one == other


def check_python(example: Example) -> None:
    """Python that compiles."""
    compile(example.parsed, example.path, "exec")


def check_shell(example: Example) -> None:
    """Commands of ndsc with options that there are."""
    from typer.main import get_command

    from ndsc.cli import app

    for line in example.parsed.replace("\\\n", " ").splitlines():
        if line.strip().startswith("ndsc "):
            command, arguments = get_command(app), shlex.split(re.split(r" (?:>|&&|\|) ", line)[0], comments=True)[1:]
            while hasattr(command, "commands") and arguments != ["--version"]:
                assert arguments[0] in command.commands, line
                command, arguments = command.commands[arguments[0]], arguments[1:]
            command.make_context("ndsc", arguments, resilient_parsing=arguments == ["--version"])


def check_toml(example: Example) -> None:
    """TOML."""
    tomllib.loads(example.parsed)


def parsers(**evaluators: Any) -> list[Any]:
    """A parser for each language, and the one that skips."""
    return [SkipParser(), *(CodeBlockParser(language, evaluator) for language, evaluator in evaluators.items())]


if Sybil is not None:
    if importlib.util.find_spec("quippy") is not None:
        RUN = RUN + RUN_WITH_GAP
    pages = [str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")]
    run = Sybil(
        parsers(toml=run_toml, python=run_python, sh=run_shell, text=compare_text),
        patterns=RUN,
        excludes=["data/README.md"],
        setup=set_up,
        teardown=tear_down,
    )
    check = Sybil(
        parsers(toml=check_toml, python=check_python, sh=check_shell),
        patterns=["CONTRIBUTING.md", "data/README.md", *sorted(set(pages) - set(RUN))],
    )
    pytest_collect_file = (run + check).pytest()
