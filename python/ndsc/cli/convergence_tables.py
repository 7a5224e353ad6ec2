"""What ``ndsc converge`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ndsc.cli.console import note, print_json, print_table, say

if TYPE_CHECKING:
    from ase import Atoms

    from ndsc.convergence import ConvergencePlan, ConvergenceReport, NoisePlan, NoiseTable, Point, Scan

#: Changes below this are rounding, meV/Å and meV/atom.
ROUNDING = 1e-6


def show_plan(plan: ConvergencePlan, sample: list[Atoms], *, json: bool) -> None:
    """The values of a scan, with their k-points and what is still to be calculated."""
    from ndsc.convergence.settings import setting_text

    counts = {"calculations": plan.calculations, "to_compute": plan.to_compute}
    if json:
        configurations = [{"name": atoms.info["ndsc_name"], "atoms": len(atoms)} for atoms in sample]
        print_json({"configurations": configurations, "values": plan.values, **counts})
        return
    say(
        f"{len(sample)} configurations, {sum(len(atoms) for atoms in sample)} atoms: "
        + ", ".join(f"{atoms.info['ndsc_name']} ({len(atoms)})" for atoms in sample)
    )
    rows = [list((row | {"value": setting_text(row["value"])}).values()) for row in plan.values]
    print_table("Values to scan", ["setting", "value", "k-points in all", "to calculate"], with_none(rows))
    say(f"{plan.calculations} different calculations, {plan.to_compute} of them to be made.")


def show_report(report: ConvergenceReport) -> None:
    """A table for each setting, and what is recommended."""
    from ndsc.config.files import toml_value
    from ndsc.convergence.settings import setting_text

    for scan in report.scans:
        against = setting_text(scan.reference.value)
        print_table(
            f"{scan.setting.path}: changes against {against}; forces in meV/Å, the rest in meV/atom",
            ["value", "force max", "rms", "energy max", "rms", "virial max", "rms", "constant", "time, s", ""],
            [_row(scan, point) for point in scan.points],
        )
    for text in report.notes:
        note(text)
    for scan in report.scans:
        if not scan.judged or scan.recommended is not None:
            say(scan.verdict)
    if report.converged and report.recommended:
        say("In the input file:\n\n[reference]")
        for path, value in report.recommended.items():
            say(f"{path if path == 'kgrid' else f'parameters.{path}'} = {toml_value(value)}")
        say("")


def show_noise(table: NoiseTable) -> None:
    """One line for each configuration, and the noise of the database."""
    for line in table.changed:
        note(line)
    print_table(
        "Labels of the database minus labels with the denser settings; forces in meV/Å, energies and virials in "
        "meV/atom, without their common constants",
        ["", "atoms", "force rms", "max", "energy", "virial max", "time, s", "denser, s"],
        [[*list(row.values())[:2], *map(digits, list(row.values())[2:])] for row in table.rows],
    )
    found = table.difference
    offset = "" if found.virial_offset is None else f"{digits(found.virial_offset)} (moves the volume)"
    print_table(
        "Noise of the database",
        ["", "rms", "largest", "common constant"],
        [
            ["force components, meV/Å", digits(found.force_rms), digits(found.force_max), ""],
            ["energy differences, meV/atom", digits(found.energy_rms), digits(found.energy_max),
             f"{digits(found.energy_offset)} (cancels)"],
            ["virial components, meV/atom", digits(found.virial_rms), digits(found.virial_max), offset],
        ],
    )  # fmt: skip
    for text in table.notes:
        note(text)


def show_noise_plan(plan: NoisePlan, *, json: bool) -> None:
    """The configurations that would be checked, with their k-points."""
    to_compute = len(plan.rows) - plan.in_store
    if json:
        print_json({"configurations": plan.rows, "in_store": plan.in_store, "to_compute": to_compute})
        return
    rows = with_none([list(row.values()) for row in plan.rows])
    print_table("Configurations to check", ["", "atoms", "k-points", "denser k-points"], rows)
    say(f"{to_compute} of {len(plan.rows)} calculations are to be made; the others are in the store.")


def _row(scan: Scan, point: Point) -> list[object]:
    from ndsc.convergence.settings import setting_text

    found = point.difference
    marks = ["given"] if point.value == scan.setting.given else []
    errors: list[object] = ["compared with", *[""] * 6]
    if found is not None:
        values = (found.force_max, found.force_rms, found.energy_max, found.energy_rms)
        errors = [*map(digits, (*values, found.virial_max, found.virial_rms, found.virial_offset))]
        if scan.judged:
            missed = scan.targets.missed(found)
            marks.append(f"off in {', '.join(missed)}" if missed else "within the targets")
    if scan.recommended is not None and point.value == scan.recommended:
        marks.append("recommended")
    return [setting_text(point.value), *errors, round(point.seconds, 2), "; ".join(marks)]


def with_none(rows: list[list[Any]]) -> list[list[Any]]:
    return [["none" if value is None else value for value in row] for row in rows]


def digits(value: float | None) -> object:
    """Three digits; rounding is zero."""
    if value is None:
        return "none"
    return float(f"{value:.3g}") if abs(value) >= ROUNDING else 0.0
