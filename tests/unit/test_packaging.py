"""Files for releases say what pyproject.toml and Cargo.toml say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["version"]
RECIPE = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
#: Packages that have another name there.
IN_CONDA = {"matplotlib": "matplotlib-base"}


def split(requirement: str) -> tuple[str, str]:
    """Name and version of a requirement, without spaces."""
    name, version = re.fullmatch(r"([\w-]+)\s*(.*)", requirement).groups()  # type: ignore[union-attr]
    return name, version.replace(" ", "")


def test_the_recipe_needs_what_the_package_needs() -> None:
    ours = {(IN_CONDA.get(name, name), version) for name, version in map(split, PROJECT["dependencies"])}
    theirs = {split(one) for one in RECIPE["requirements"]["run"]} - {("python", "")}
    assert theirs == ours


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert RECIPE["context"]["version"] == citation["version"] == VERSION
    assert citation["license"] == RECIPE["about"]["license"] == PROJECT["license"]
    assert RECIPE["about"]["summary"] == citation["abstract"].rstrip(".") == PROJECT["description"]


def test_workflows_run_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    workflows = list((ROOT / ".github" / "workflows").glob("*.yml"))
    assert len(workflows) == 2
    for path in workflows:
        jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
        for job in jobs.values():
            assert job["timeout-minutes"] > 0
            commands = " ".join(step.get("run", "") for step in job["steps"])
            assert set(re.findall(r"make ([a-z-]+)", commands)) <= targets
