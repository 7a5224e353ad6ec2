"""Write the generated parts of docs/ again, and check every link between pages.

The keys of the input file come from the models that read it, the options of the commands from the program, so neither
page can fall behind. With --check nothing is written, and a page that is not as it would be written is an error.
"""

from __future__ import annotations

import argparse
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic_core import PydanticUndefined
from typer.main import get_command

from ndsc.cli import app
from ndsc.config import RunConfig
from ndsc.config.files import toml_value
from ndsc.config.study import StudyConfig

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end of generated -->)", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def main() -> int:
    """Write or check all pages; the number of problems is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, report what is out of date")
    check = parser.parse_args().check
    problems = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = BLOCK.sub(lambda found: found[1] + GENERATORS[found["name"]]() + found[3], text)
        if new != text and check:
            problems.append(f"{page.relative_to(ROOT)} is out of date; run: make docs")
        elif new != text:
            page.write_text(new, encoding="utf-8")
        problems += broken_links(page, new)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return min(len(problems), 1)


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page to files and headings that do not exist; addresses elsewhere are left alone."""
    broken = []
    for found in LINK.finditer(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        target = found["target"]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        where = f"{page.relative_to(ROOT)} links to {target}"
        if not file.exists():
            broken.append(f"{where}, which does not exist")
        elif anchor and anchor not in headings(file):
            broken.append(f"{where}, but there is no such heading")
    return broken


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


def input_file() -> str:
    """The sections of the input file of a run."""
    return sections(RunConfig)


def study_file() -> str:
    """The sections of the input file of a study."""
    return sections(StudyConfig)


def sections(model: type[BaseModel]) -> str:
    """One table a section of an input file."""
    parts = []
    for name, field in model.model_fields.items():
        section = field.annotation
        if get_origin(section) is dict:  # a section whose keys are the user's
            parts.append(f"\n### `[{name}]`\n\n{escaped(field.description or '')}\n")
            continue
        if several := get_origin(section) is tuple:  # a section that may be written several times
            section = get_args(section)[0]
        head = f"[[{name}]]" if several and (model is StudyConfig or name == "database") else f"[{name}]"
        for one, method in [(section, "")] if isinstance(section, type) else tagged(section):
            assert issubclass(one, BaseModel)
            about = (one.__doc__ or "").strip().splitlines()[0].partition(": ")[2]
            rows = [row(key, item) for key, item in one.model_fields.items()]
            parts += [
                f"\n### `{head}`{method}\n\n{about[:1].upper()}{about[1:]}\n",
                "| key | type | default | |\n|---|---|---|---|\n" + "".join(rows),
            ]
    return "\n".join(parts) + "\n"


def tagged(section: Any) -> list[tuple[type[BaseModel], str]]:
    """The models that a section may be, and what says which; the first one is the default."""
    found = [(model, tag.tag) for model, tag in map(get_args, get_args(section))]
    return [(model, f' with `method = "{tag}"`' if number else "") for number, (model, tag) in enumerate(found)]


def row(key: str, field: Any) -> str:
    """One key of the input file."""
    if field.default_factory is not None:
        default = "{}"
    elif field.default is PydanticUndefined:
        default = ""
    elif isinstance(field.default, BaseModel):
        values = field.default.model_dump()
        default = toml_value(values) if len(values) <= 3 and None not in values.values() else "{}"
    else:
        default = "" if field.default is None else toml_value(field.default)
    shown = f"`{default}`" if default else ("required" if field.is_required() else "none")
    return f"| `{key}` | {kind(field.annotation)} | {shown} | {escaped(field.description or '')} |\n"


def kind(annotation: Any) -> str:
    """The type of a key in words."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return kind(get_args(annotation)[0])
    if origin is Literal:
        return " or ".join(f"`{value!r}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        marks = [mark for arg in get_args(annotation) for mark in get_args(arg)[1:]]
        if any(isinstance(mark, Tag) for mark in marks):
            return "table of keys of `[fit]`"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(arg) for arg in get_args(annotation) if arg is not type(None)))
    if origin is tuple:
        inner = get_args(annotation)
        if get_origin(inner[0]) is tuple:
            return "3x3 whole numbers"
        if inner[-1] is not Ellipsis:
            return "1 or 3 whole numbers"
        return "list" if get_origin(inner[0]) is Literal else f"{'string' if inner[0] is str else 'number'} or list"
    if origin is dict:
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table of " + ", ".join(f"`{name}`" for name in annotation.model_fields)
    if annotation is Any:
        return "value"
    names = {int: "whole number", float: "number", bool: "true or false", str: "string", Path: "path"}
    return names[annotation]


def command_line() -> str:
    """Help, arguments and options of every command."""
    parts = []
    for name, command in all_commands(get_command(app)):
        about, *rest = (command.help or "").strip().split("\n\n")
        parts.append(f"\n### `ndsc {name}`\n\n{' '.join(about.split())}\n")
        rows = [option_row(parameter) for parameter in command.params if parameter.name != "help"]
        parts.append("| | default | |\n|---|---|---|\n" + "".join(rows))
        text = "\n".join(rest)
        examples = [line.strip() for line in text.splitlines() if line.strip().startswith(("ndsc ", "--"))]
        if examples:
            parts.append("```sh\n" + "\n".join(examples).replace("\n--", " \\\n    --") + "\n```\n")
    return "\n".join(parts) + "\n"


def all_commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """The commands of a group and of the groups in it, with their full names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def option_row(parameter: Any) -> str:
    """One argument or option of a command."""
    metavar = parameter.metavar or ""
    if parameter.param_type_name == "argument":
        name = metavar
    else:
        name = ", ".join(parameter.opts) + (f" {metavar}" if metavar else "")
    shown = parameter.show_default if isinstance(parameter.show_default, str) else ""
    if parameter.required:
        default = "required"
    elif shown:
        default = shown
    elif parameter.default is None or isinstance(parameter.default, bool):
        default = ""
    else:
        default = f"`{parameter.default}`"
    return f"| `{name}` | {escaped(default)} | {escaped(parameter.help or '')} |\n"


def escaped(text: str) -> str:
    """Text that does not break a table."""
    return text.replace("|", "\\|").replace("[[", "[").replace("]]", "]").replace("\n", " ")


GENERATORS = {"input-file": input_file, "study-file": study_file, "command-line": command_line}

if __name__ == "__main__":
    sys.exit(main())
