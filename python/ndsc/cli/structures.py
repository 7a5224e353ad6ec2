"""``ndsc supercells`` and ``ndsc kpoints``."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndsc.cli.console import check_folder, print_json, print_table, progress_bars, say, staged_folder
from ndsc.cli.options import GridOption, JsonOption, StructureOptions, option, parse_grid, say_symmetry, symmetry_of
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ndsc.supercells import SupercellSet

# As ndsc.structure_files has them, which is imported only to write.
FORMATS = ("extxyz", "vasp", "cif", "castep-cell", "espresso-in", "abinit-in", "aims")

# Rows of a table that a person still reads.
SHOWN = 60


def supercells(
    structure: StructureOptions,
    grid: GridOption,
    cost_exponent: Annotated[
        float, typer.Option("--cost-exponent", help="Minimise the sum of the sizes to this power.")
    ] = 3.0,
    out: Annotated[Path | None, option("--out", "Write the supercells to this folder.", metavar="DIR")] = None,
    file_format: Annotated[
        str, typer.Option("--format", help=f"Format of the files: {', '.join(FORMATS)}.")
    ] = "extxyz",
    plot: Annotated[
        Path | None,
        option(
            "--plot",
            "Draw the Brillouin zone with the q-points that each supercell holds: .png, .pdf or .svg.",
            metavar="FILE",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find the cheapest set of supercells that holds every q-point of a grid, up to symmetry.

    [bold]Examples[/bold]

      ndsc supercells Al --grid 4 4 4

      ndsc supercells mg.cif --grid 6 6 4 --primitive --out cells --format vasp

      ndsc supercells Si --grid 4 --plot zone.png

      ndsc supercells Si --grid 48 --json > supercells.json
    """
    from ndsc.supercells import find_supercells

    numbers = parse_grid(grid)
    if plot is not None:
        from ndsc.report.style import check_figure_file
        from ndsc.report.zone import check_grid_is_drawn

        check_figure_file(plot)
        check_grid_is_drawn(numbers)
    if file_format not in FORMATS:
        raise InputError(f"--format {file_format}: not a format. Choose one of {', '.join(FORMATS)}.")
    if out is not None:
        check_folder(out)
    crystal = structure.crystal()
    with progress_bars() as progress:
        found = find_supercells(crystal, numbers, cost_exponent=cost_exponent, progress=progress)
    if out is not None:
        _write(found, out, file_format)
    if plot is not None:
        from ndsc.report.style import write_figure
        from ndsc.report.zone import zone_figure

        write_figure(zone_figure(found), plot)
    if json:
        print_json(found.to_dict() | symmetry_of(crystal))
        return
    say_symmetry(crystal)
    _show(found)
    if out is not None:
        say(f"{len(found)} structures and supercells.json are in {out}.")
    if plot is not None:
        say(f"Brillouin zone: {plot}")


def kpoints(
    structure: StructureOptions,
    grid: GridOption,
    max_points: Annotated[
        int | None,
        option("--max-points", "Most points in the unit cell.", default="64 times the points of the q-point grid"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find the k-point grids that sample a crystal best with few points and fold into all supercells of a grid.

    [bold]Examples[/bold]

      ndsc kpoints Si --grid 4 4 4

      ndsc kpoints mg.cif --grid 4 4 2 --max-points 2000 --json
    """
    from ndsc.kpoint_lattices import find_kpoint_lattices
    from ndsc.kpoints import kgrid_text

    numbers = parse_grid(grid)
    crystal = structure.crystal()
    with progress_bars() as progress:
        found = find_kpoint_lattices(crystal, numbers, max_points=max_points, progress=progress)
    if json:
        print_json([one.to_dict() for one in found])
        return
    say_symmetry(crystal)
    formula = crystal.atoms.get_chemical_formula()
    print_table(
        f"Grids of k-points for {formula} and its supercells of the {kgrid_text(numbers)} grid",
        ["points", "k, -k once", "shortest vector, Å", "kgrid"],
        [[one.points, one.reduced, round(one.length, 2), str(one.to_dict()["kgrid"])] for one in found],
    )
    say("A grid samples exactly whatever reaches less far than the shortest vector of its supercell.")


def _show(found: SupercellSet) -> None:
    from ndsc.label_cost import LabelCost

    atoms = found.atoms
    n1, n2, n3 = found.grid
    rows = []
    for index, (matrix, size) in enumerate(zip(found.matrices, found.sizes, strict=True)):
        lengths = [math.sqrt(float(row @ row)) for row in matrix @ atoms.cell.array]
        text = "  ".join(" ".join(f"{entry:3d}" for entry in row) for row in matrix.tolist())
        rows.append([index, int(size), int(size) * len(atoms), text, round(max(lengths) / min(lengths), 2)])
    formula = atoms.get_chemical_formula()
    print_table(
        f"{len(found)} supercells of {formula} hold the {n1}x{n2}x{n3} grid",
        ["no.", "size", "atoms", "supercell matrix, row by row", "longest / shortest vector"],
        rows[:SHOWN],
    )
    if len(rows) > SHOWN:
        say(f"… and {len(rows) - SHOWN} more; --json and --out give all of them.")
    say(f"Sum of size^{found.cost_exponent:g}: {found.cost:g}, {found.proof}.")
    cost = LabelCost()
    relative = cost.relative(Counter(found.sizes.tolist()), {n1 * n2 * n3: 1})
    say(
        f"One calculation of each takes {relative.value:.2g} ({relative.low:.2g} to {relative.high:.2g}) of the time "
        f"of one of the diagonal supercell of {n1 * n2 * n3} cells. This is an estimate: with equally dense k-points, "
        f"the time grows as about size^{cost.power:g} (± {cost.power_width:g})."
    )


def _write(found: SupercellSet, out: Path, file_format: str) -> None:
    import json

    from ndsc.progress import if_slow
    from ndsc.structure_files import write_structures

    with staged_folder(out) as folder, progress_bars() as progress:
        progress = if_slow(progress)
        write_structures(
            folder,
            [(f"s{index:02d}", atoms) for index, atoms in enumerate(found.structures(progress=progress))],
            file_format,
        )
        (folder / "supercells.json").write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
