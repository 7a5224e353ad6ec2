"""The source as a whole: imports run in the direction in which data flows (docs/architecture.md), texts show values."""

import ast
import re
from pathlib import Path

import ndsc

PACKAGE = Path(ndsc.__file__).parent

# Each line may import from itself and from the lines above it.
LAYERS = [
    "_core errors progress versions",
    "files store section messages interrupts rounding integers label_cost",
    "sheet lammps",
    "structure cif symmetry targets plausibility extended_xyz",
    "crystal",
    "qgrid sublattices set_cover supercells",
    "kpoints kpoint_lattices decorations configurations",
    "codes",
    "structure_files reference",
    "elsewhere",
    "database export fit",
    "benchmark_settings force_constants phonon_path phonons hessians thermal trajectories dynamics",
    "elastic elastic_sheet elastic_setting elastic_quality vacuum relaxation",
    "selection",
    "potentials",
    "claims results benchmark",
    "report",
    "convergence config",
    "workflow",
    "study flows",
    "cli",
    "__main__ __init__",
]


def imports(path: Path) -> set[str]:
    """The top-level modules of ndsc that a module imports when it is imported itself."""
    found: set[str] = set()
    pending: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "ndsc":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ndsc.")}
        elif isinstance(node, ast.Try | ast.ClassDef):
            pending += node.body
    return found - {"__version__"}


def test_every_module_has_a_layer_and_imports_from_those_above_only():
    level = {name: number for number, line in enumerate(LAYERS) for name in line.split()}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE).with_suffix("")
        top = relative.parts[0]
        assert top in level, f"{top} has no layer"
        wrong += [f"{relative} imports {name}" for name in sorted(imports(path)) if level[name] > level[top]]
    assert wrong == []


def test_no_text_shows_code_instead_of_its_value():
    """A part of a message that lacks its ``f`` prints ``{…}`` as it stands in the source."""
    code = re.compile(r"\{[A-Za-z_'\"][^{}]*(\)| if )[^{}]*\}")
    shown = [
        f"{path.relative_to(PACKAGE)}: {found.group()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := code.search(node.value))
    ]
    assert shown == []
