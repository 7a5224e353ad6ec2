"""``ndsc labels``: inspect, check and clean a label store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ndsc.cli.console import duration, note, print_json, print_table, say
from ndsc.cli.elsewhere import read, write
from ndsc.cli.exits import ExitCode, fail
from ndsc.cli.options import GridCommand, JsonOption, option, with_groups

if TYPE_CHECKING:
    from ndsc.reference import LabelStore

app = typer.Typer(
    name="labels",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""
Inspect, check and clean a folder of labels, the results of reference calculations; have labels calculated elsewhere.

[bold]Examples[/bold]

  ndsc labels status demo

  ndsc labels export demo labels.db      (ase db opens it)

  ndsc labels write al.toml --code vasp --out calc, then ndsc labels read calc
""",
)

StoreArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder of labels, or the folder of a run.", show_default=False)
]
SettingsOption = Annotated[
    str | None, option("--settings", "Only labels of these settings (see status).", metavar="ID")
]
SHORT = 12


def _store(path: Path) -> LabelStore:
    from ndsc.reference import LabelStore

    return LabelStore(path / "labels" if (path / "labels").is_dir() else path)


def status(directory: StoreArgument, json: JsonOption = False) -> None:
    """Show how many labels there are, their settings, which are being computed, and what is wrong.

    [bold]Example[/bold]

      ndsc labels status al
    """
    import time

    from ndsc.reference import inventory

    store = _store(directory)
    found = inventory.status(store)
    if json:
        print_json(
            {
                "path": str(store.path),
                "labels": found.labels,
                "seconds": found.seconds,
                "cpu_seconds": found.cpu_seconds,
                "by_size": [asdict(size) for size in found.by_size],
                "settings": found.settings,
                "problems": [{"file": str(entry.path), "reason": entry.reason} for entry in found.problems],
                "claims": [
                    {
                        "key": claim.key,
                        "alive": claim.alive,
                        "name": claim.holder.name if claim.holder else None,
                        "holder": str(claim.holder) if claim.holder else None,
                        "since": claim.holder.since if claim.holder else None,
                    }
                    for claim in found.claims
                ],
                "failed": [str(path) for path in found.failed],
            }
        )
        return
    processors = "" if found.cpu_seconds is None else f" ({duration(found.cpu_seconds)} of processors)"
    say(f"{found.labels} labels in {store.path}, {duration(found.seconds)} of calculations{processors}.")
    rows = [
        [name, entry["labels"], entry.get("calculator", "not named"), _line(entry), ", ".join(entry["codes"])]
        for name, entry in found.settings.items()
    ]
    if rows:
        print_table("Settings", ["id", "labels", "calculator", "parameters", "code"], rows)
        sizes = [
            [size.atoms, size.labels, *(f"{time:.4g}" for time in (size.seconds, size.shortest, size.longest))]
            for size in found.by_size
        ]
        print_table("Time of one label, s", ["atoms", "labels", "mean", "shortest", "longest"], sizes)
    if found.claims:
        now = time.time()
        claims = [
            [
                claim.key[:SHORT],
                claim.holder.name if claim.holder else "?",
                str(claim.holder or "not readable"),
                duration(now - claim.holder.since) if claim.holder else "",
                "at work" if claim.alive else "gone; the next run takes over",
            ]
            for claim in found.claims
        ]
        print_table("Being computed", ["key", "name", "by", "for", "state"], claims)
    if found.failed:
        say(f"{len(found.failed)} failed calculations left their files in {store.path / 'failed'}.")
    if found.problems:
        say(f"{len(found.problems)} files cannot be used: ndsc labels verify {directory} names them.")


def list_labels(directory: StoreArgument, settings: SettingsOption = None, json: JsonOption = False) -> None:
    """List all labels, one per line.

    [bold]Example[/bold]

      ndsc labels list al --settings 0f3a51c6d2e9
    """
    from ndsc.reference import inventory

    rows: list[dict[str, Any]] = []
    for label in inventory.usable(_store(directory), settings):
        n_atoms = len(label.forces)
        rows.append(
            {
                "key": label.key,
                "name": label.provenance.get("name", ""),
                "atoms": n_atoms,
                "energy": label.energy / max(n_atoms, 1),
                "max_force": float(abs(label.forces).max(initial=0.0)),
                "seconds": label.seconds,
                "cpu_seconds": label.cpu_seconds,
                "settings": inventory.settings_of_label(label),
            }
        )
    if json:
        print_json(rows)
        return
    print_table(
        f"{len(rows)} labels",
        ["key", "name", "atoms", "energy, eV/atom", "largest force, eV/Å", "time, s", "processors, s", "settings"],
        [[row["key"][:SHORT], *("" if value is None else value for value in list(row.values())[1:])] for row in rows],
    )


def verify(directory: StoreArgument, json: JsonOption = False) -> None:
    """Check every label: checksum, atoms, settings, version. Nothing is changed; exit code 3 when one is bad.

    [bold]Example[/bold]

      ndsc labels verify al
    """
    from ndsc.reference import inventory

    store = _store(directory)
    good, problems = 0, []
    for _, entry in inventory.read_all(store):
        if isinstance(entry, inventory.Problem):
            problems.append(entry)
        else:
            good += 1
    if json:
        print_json({"good": good, "bad": [{"file": str(entry.path), "reason": entry.reason} for entry in problems]})
    else:
        for entry in problems:
            say(f"{entry.path.name}: {entry.reason}")
        say(f"{good} labels are good, {len(problems)} are not.")
    if problems:
        fail(
            f"{len(problems)} labels of {store.path} cannot be used. Labels that are damaged are computed again by the "
            "next run; for those of a newer version, update ndsc.",
            ExitCode.REFERENCE,
        )


def show(
    directory: StoreArgument,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A label's key, or the beginning of one.", show_default=False)
    ],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Another label, to compare settings with.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show one label (structure, results, origin), or how the settings of two labels differ.

    [bold]Examples[/bold]

      ndsc labels show al 3f2a

      ndsc labels show al 3f2a 9b1c
    """
    from ndsc.reference import inventory
    from ndsc.reference.settings import differences, recorded_settings

    store = _store(directory)
    label = inventory.load_one(store, key)
    structure = label.structure
    if other is not None:
        second = inventory.load_one(store, other)
        there, here = (
            {**(recorded_settings(entry.provenance) or {}), "code": entry.provenance.get("code")}
            for entry in (label, second)
        )
        found = differences(there, here)
        if json:
            print_json(found)
        else:
            say("\n".join(found) or "The settings and the code are the same.")
        return
    if json:
        stress = None if label.stress is None else label.stress.tolist()
        print_json(
            {
                "key": label.key, "free_energy": label.energy, "forces": label.forces.tolist(), "stress": stress,
                "seconds": label.seconds, "cpu_seconds": label.cpu_seconds, "structure": structure,
                "provenance": label.provenance,
            }
        )  # fmt: skip
        return
    say(f"key          {label.key}")
    say(f"free energy  {label.energy:.8f} eV, {label.energy / len(label.forces):.8f} eV/atom")
    processors = "" if label.cpu_seconds is None else f", {label.cpu_seconds:g} s of processors"
    say(f"time         {label.seconds:g} s{processors}")
    for name, value in label.provenance.items():
        say(f"{name:12s} {value}")
    if label.stress is not None:
        say("stress       " + " ".join(f"{value:.6f}" for value in label.stress) + " eV/Å³ (xx yy zz yz xz xy)")
    rows = [
        [symbol, *(float(number) for number in position), *(float(number) for number in force)]
        for symbol, position, force in zip(structure["symbols"], structure["positions"], label.forces, strict=True)
    ]
    print_table(
        "cell (Å): " + "; ".join(" ".join(f"{number:g}" for number in row) for row in structure["cell"]),
        ["", "x, Å", "y", "z", "force x, eV/Å", "y", "z"],
        rows,
    )


def prune(
    directory: StoreArgument,
    settings: Annotated[str | None, option("--settings", "Also all labels of these settings.", metavar="ID")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove the files; without it, only say what would be removed.")
    ] = False,
) -> None:
    """Remove damaged and temporary files, claims of dead runs, and files of failed calculations.

    [bold]Examples[/bold]

      ndsc labels prune al

      ndsc labels prune al --settings 0f3a51c6d2e9 --yes
    """
    from ndsc.reference import inventory

    store = _store(directory)
    files = inventory.prunable(store, settings=settings)
    for path in files:
        say(str(path.relative_to(store.path)))
    if yes:
        inventory.prune(files)
        say(f"{len(files)} removed.")
    else:
        note(f"{len(files)} would be removed. Add --yes to remove them.")


def export(
    directory: StoreArgument,
    output: Annotated[
        Path, typer.Argument(metavar="FILE", help="A name that ends in .db (ASE), .xyz or .extxyz.", show_default=False)
    ],
    settings: SettingsOption = None,
) -> None:
    """Write all labels to an ASE database or to an extended-XYZ file with REF_energy, REF_forces and REF_virial.

    [bold]Examples[/bold]

      ndsc labels export al labels.db && ase db labels.db

      ndsc labels export al labels.xyz
    """
    from ndsc.reference import inventory

    count = inventory.export(_store(directory), output, settings=settings)
    say(f"{count} labels written to {output}.")


def _line(settings: dict[str, Any]) -> str:
    """Parameters and k-points, on one line."""
    parts = [f"{key}={value}" for key, value in (settings.get("parameters") or {}).items()]
    if settings.get("kgrid"):
        parts.append(f"kgrid={settings['kgrid']}")
    text = " ".join(parts) or "none"
    return text if len(text) <= 60 else text[:57] + "…"


app.command(name="status", cls=GridCommand)(status)
app.command(name="list", cls=GridCommand)(list_labels)
app.command(name="verify", cls=GridCommand)(verify)
app.command(name="show", cls=GridCommand)(show)
app.command(name="prune", cls=GridCommand)(prune)
app.command(name="export", cls=GridCommand)(export)
app.command(name="write", cls=GridCommand)(with_groups(write))
app.command(name="read", cls=GridCommand)(read)
