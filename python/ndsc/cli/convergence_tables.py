"""What ``ndsc converge`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ndsc.cli.console import note, print_json, print_table, say

if TYPE_CHECKING:
    from ase import Atoms

    from ndsc.convergence import ConvergencePlan, ConvergenceReport, NoisePlan, NoiseTable, Scan

NOTHING = 1e-6


def show_plan(plan: ConvergencePlan, sample: list[Atoms], *, json: bool) -> None:
    """The values of a scan, with their k-points and what is still to be calculated."""
    from ndsc.convergence.settings import setting_text

    if json:
        print_json(
            {
                "configurations": [{"name": atoms.info["ndsc_name"], "atoms": len(atoms)} for atoms in sample],
                "values": [
                    {
                        "setting": planned.setting.path,
                        "value": planned.value,
                        "kpoints": planned.kpoints,
                        "to_compute": planned.missing,
                    }
                    for planned in plan.values
                ],
                "calculations": plan.calculations,
                "to_compute": plan.to_compute,
            }
        )
        return
    say(
        f"{len(sample)} configurations, {sum(len(atoms) for atoms in sample)} atoms: "
        + ", ".join(f"{atoms.info['ndsc_name']} ({len(atoms)})" for atoms in sample)
    )
    print_table(
        "Values to scan",
        ["setting", "value", "k-points in all", "to calculate"],
        [
            [
                planned.setting.path,
                setting_text(planned.value),
                "none" if planned.kpoints is None else planned.kpoints,
                planned.missing,
            ]
            for planned in plan.values
        ],
    )
    say(f"{plan.calculations} different calculations, {plan.to_compute} of them to be made.")


def show_report(report: ConvergenceReport) -> None:
    """A table for each setting, and what is recommended."""
    from ndsc.config.files import toml_value

    for scan in report.scans:
        print_table(
            f"{scan.setting}: changes against {_text(scan.reference.value)}; forces in meV/Å, the rest in meV/atom",
            ["value", "force max", "rms", "energy max", "rms", "virial max", "rms", "constant", "time, s", ""],
            [_row(scan, number) for number in range(len(scan.points))],
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
    """One line for each configuration, and what they say of the database."""
    for line in table.changed:
        note(line)
    numbers = [
        [row.name, row.atoms, *map(_digits, (row.force_rms, row.force_max, row.energy, row.virial_max)), row.seconds,
         row.denser_seconds]
        for row in table.rows
    ]  # fmt: skip
    print_table(
        "Labels of the database minus labels with the denser settings; forces in meV/Å, energies and virials in "
        "meV/atom, without their common constants",
        ["", "atoms", "force rms", "max", "energy", "virial max", "time, s", "denser, s"],
        numbers,
    )
    found = table.difference
    offset = "" if found.virial_offset is None else f"{_digits(found.virial_offset)} (moves the volume)"
    print_table(
        "Noise of the database",
        ["", "rms", "largest", "common constant"],
        [
            ["force components, meV/Å", _digits(found.force_rms), _digits(found.force_max), ""],
            ["energy differences, meV/atom", _digits(found.energy_rms), _digits(found.energy_max),
             f"{_digits(found.energy_offset)} (cancels)"],
            ["virial components, meV/atom", _digits(found.virial_rms), _digits(found.virial_max), offset],
        ],
    )  # fmt: skip
    for text in table.notes:
        note(text)


def show_noise_plan(plan: NoisePlan, *, json: bool) -> None:
    """The configurations that would be checked, with their k-points."""
    rows = [
        {
            "name": atoms.info["ndsc_name"],
            "atoms": len(atoms),
            "kpoints": None if plan.kpoints is None else plan.kpoints[number],
            "denser_kpoints": None if plan.denser_kpoints is None else plan.denser_kpoints[number],
        }
        for number, atoms in enumerate(plan.configurations)
    ]
    if json:
        print_json({"configurations": rows, "in_store": plan.in_store, "to_compute": len(rows) - plan.in_store})
        return
    print_table(
        "Configurations to check",
        ["", "atoms", "k-points", "denser k-points"],
        [["none" if value is None else value for value in row.values()] for row in rows],
    )
    say(f"{len(rows) - plan.in_store} of {len(rows)} calculations are to be made; the others are in the store.")


def _row(scan: Scan, number: int) -> list[object]:
    point, found = scan.points[number], scan.points[number].difference
    marks = ["given"] if point.value == scan.given else []
    if found is None:
        errors: list[object] = ["compared with", *[""] * 6]
    else:
        values = (found.force_max, found.force_rms, found.energy_max, found.energy_rms)
        virials = (found.virial_max, found.virial_rms, found.virial_offset)
        errors = [_digits(value) for value in (*values, *virials)]
        if scan.judged:
            missed = scan.targets.missed(found)
            marks.append(f"off in {', '.join(missed)}" if missed else "within the targets")
    if scan.recommended is not None and point.value == scan.recommended:
        marks.append("recommended")
    return [_text(point.value), *errors, round(point.seconds, 2), "; ".join(marks)]


def _text(value: Any) -> str:
    from ndsc.convergence.settings import setting_text

    return setting_text(value)


def _digits(value: float | None) -> object:
    """Three digits; what is below a millionth of the unit is nothing."""
    if value is None:
        return "none"
    return float(f"{value:.3g}") if abs(value) >= NOTHING else 0.0
