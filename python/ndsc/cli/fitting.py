"""``ndsc fit`` and ``ndsc export``: databases of any origin."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ndsc.cli.console import check_folder, note, print_json, print_table, progress_bars, say
from ndsc.cli.options import JsonOption, option
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from ndsc.potentials import Fitted

DatabaseArgument = Annotated[
    Path,
    typer.Argument(metavar="DATABASE", help="Labelled configurations in an extended xyz file.", show_default=False),
]
EnergyKey = Annotated[
    str, typer.Option("--energy-key", help="Name of the energy in the file, eV; 'none' if there is none.")
]
ForcesKey = Annotated[str, typer.Option("--forces-key", help="Name of the forces, eV/Å.")]
VirialKey = Annotated[str, typer.Option("--virial-key", help="Name of the virial, 9 numbers, eV.")]
StressKey = Annotated[
    str | None, option("--stress-key", "Name of the stress, ASE's sign, eV/Å³, for a file without virials.")
]


def fit(
    database: DatabaseArgument,
    energy_key: EnergyKey = "REF_energy",
    forces_key: ForcesKey = "REF_forces",
    virial_key: VirialKey = "REF_virial",
    stress_key: StressKey = None,
    method: Annotated[str | None, option("--method", "Kind of potential: gap, ace or polymlp.")] = None,
    preset: Annotated[
        str | None, option("--preset", "Settings of Allen and Bartók's Table 2: Mg, Al, Si or W.")
    ] = None,
    settings: Annotated[
        Path | None,
        option("--settings", "Use the sections [fit] and [regularisation] of this input file.", metavar="FILE.toml"),
    ] = None,
    cutoff: Annotated[float | None, option("--cutoff", "Cutoff, Å.")] = None,
    n_max: Annotated[int | None, option("--n-max", "Radial functions of SOAP (GAP).")] = None,
    l_max: Annotated[int | None, option("--l-max", "Angular momentum of SOAP (GAP).")] = None,
    n_sparse: Annotated[int | None, option("--n-sparse", "Sparse points (GAP).")] = None,
    solver: Annotated[str | None, option("--solver", "numpy (default) or gap_fit (GAP).")] = None,
    e0: Annotated[
        str | None,
        option(
            "--e0",
            "Energies of single atoms: average, fit, isolated, or in eV as Al=-3.2,Cu=-1.5.",
            default="isolated if the database has an isolated atom of every element, else average",
            metavar="E0",
        ),
    ] = None,
    sparse_from: Annotated[
        Path | None,
        option(
            "--sparse-from", "Structures without labels, from which sparse points are chosen as well.", metavar="FILE"
        ),
    ] = None,
    memory_limit: Annotated[
        float | None, option("--memory-limit", "Refuse a fit that needs more memory than this.", metavar="GB")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the linear algebra.")] = 1,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the potential.")] = Path("potential"),
    json: JsonOption = False,
) -> None:
    """Fit a potential to a database with adaptive regularisation, and check it on the data.

    [bold]Examples[/bold]

      ndsc fit database.extxyz --preset Al --out potential

      ndsc fit database.extxyz --method polymlp

      ndsc fit mg.extxyz --energy-key energy --forces-key forces --virial-key virial --preset Mg --n-sparse 500
    """
    from ndsc.config import load_fit_settings
    from ndsc.database import describe_targets
    from ndsc.extended_xyz import read_frames
    from ndsc.fit.training import has_all_isolated_atoms

    check_folder(out)
    named = {} if preset is None else {"preset": preset}
    said = {"method": method, "cutoff": cutoff, "n_max": n_max, "l_max": l_max, "n_sparse": n_sparse, "solver": solver}
    given: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if e0 is not None:
        given["e0"] = parse_e0(e0)
    sections = load_fit_settings(settings, {"fit": named | given, "regularisation": named})
    if sections.fit.method == "none":
        raise InputError(f"{settings} has [fit] method = 'none', which makes no potential. Remove that line.")
    from ndsc.fit import apply_regularisation
    from ndsc.potentials import fit_potential

    frames = read_labelled(database, energy_key, forces_key, virial_key, stress_key)
    note(describe_targets(frames))
    fit_settings = sections.fit
    if "e0" not in fit_settings.model_fields_set and has_all_isolated_atoms(frames, fit_settings.cutoff):
        fit_settings = fit_settings.replaced(e0="isolated")
        note("e0 is the energy of the isolated atoms in the database; --e0 average and fit do without them.")
    unlabelled = [] if sparse_from is None else read_frames(sparse_from)
    with progress_bars() as progress:
        found = fit_potential(
            apply_regularisation(frames, sections.regularisation),
            out,
            fit_settings,
            unlabelled=unlabelled,
            memory_limit_gb=memory_limit,
            threads=threads,
            progress=progress,
        )
    if json:
        print_json(_document(found))
        return
    _show(found)


def parse_e0(text: str) -> str | dict[str, float]:
    """The value of ``--e0``: a word, or energies as Al=-3.2,Cu=-1.5.

    Raises
    ------
    InputError
        When a part has no symbol or no number, or an element is there twice.
    """
    if "=" not in text:
        return text
    energies: dict[str, float] = {}
    for part in text.split(","):
        symbol, _, value = part.partition("=")
        if symbol.strip() in energies:
            raise InputError(f"--e0 {text}: {symbol.strip()} has two energies. Give one for each element.")
        try:
            energies[symbol.strip()] = float(value)
        except ValueError as error:
            raise InputError(
                f"--e0 {text}: {part!r} is not a symbol with an energy in eV. Write for example --e0 Al=-3.2,Cu=-1.5."
            ) from error
    return energies


def _document(found: Fitted) -> dict[str, Any]:
    return {
        "method": found.method,
        "potential": str(found.potential),
        "settings": found.settings.hyperparameters(),
        "e0": found.e0,
        "counts": {name: {"sent": sent, "read": found.counts_read[name]} for name, sent in found.counts_sent.items()},
        "n_sparse": found.sizes,
        "details": found.details,
        "seconds": found.seconds,
        "memory_gb": found.memory_gb,
        "errors": {name: asdict(errors) for name, errors in found.errors.items()},
        "warnings": list(found.warnings),
    }


def _show(found: Fitted) -> None:
    from ndsc.potentials import fitter

    rows = [
        [
            name,
            errors.configurations,
            _scaled(errors.energy_rmse_ev_per_atom),
            _scaled(errors.force_rmse_ev_per_angstrom),
            _scaled(errors.virial_rmse_ev_per_atom),
        ]
        for name, errors in found.errors.items()
    ]
    print_table(
        "Root mean square errors on the training data",
        ["config_type", "configurations", "energy, meV/atom", "force, meV/Å", "virial, meV/atom"],
        rows,
    )
    counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in found.counts_read.items())
    kind = fitter(found.method)
    say(f"The fit used all that it was given: {counts}.")
    say(f"{kind.summary(found)} {found.seconds:.1f} s{', found in the folder' if found.reused else ''}.")
    say(f"Potential: {found.potential}")


def _scaled(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:.3f}"


def read_labelled(path: Path, energy: str, forces: str, virial: str, stress: str | None) -> list[Atoms]:
    """A database by the names of its keys; frames may lack targets, and "none" stands for no key."""
    keys = {"energy_key": energy, "forces_key": forces, "virial_key": virial, "stress_key": stress}
    if stress is not None and virial == "REF_virial":
        keys["virial_key"] = None  # the stress takes the place of the virial
    from ndsc.database import read_database

    given = {name: None if key == "none" else key for name, key in keys.items()}
    return read_database(path, allow_missing=True, **given)


def export(
    database: Annotated[
        Path,
        typer.Argument(
            metavar="DATABASE",
            help="Labelled configurations in an extended xyz file; the folder of a run for its database.extxyz.",
            show_default=False,
        ),
    ],
    dialect: Annotated[
        str | None, option("--dialect", "extxyz, mace, nep, ace, mtp, pacemaker or pypolymlp; with --out.")
    ] = None,
    out: Annotated[Path | None, option("--out", "The file to write; with --dialect.", metavar="FILE")] = None,
    hessians: Annotated[
        Path | None,
        option(
            "--hessians",
            "Also write the Hessians of the run's supercells: a name that ends in .extxyz, .db or .npz, or a folder "
            "for DeePMD-kit.",
            metavar="FILE",
        ),
    ] = None,
    energy_key: EnergyKey = "REF_energy",
    forces_key: ForcesKey = "REF_forces",
    virial_key: VirialKey = "REF_virial",
    stress_key: StressKey = None,
) -> None:
    """Write a database in the dialect of another fitting program, and the Hessians of its supercells.

    [bold]Examples[/bold]

      ndsc export demo/database.extxyz --dialect mace --out train.xyz

      ndsc export demo --hessians hessians.extxyz
    """
    if (dialect is None) != (out is None) or (dialect is None and hessians is None):
        raise InputError(
            "Nothing was asked for. Give --dialect with --out, for example --dialect mace --out train.xyz; or "
            "--hessians, for example --hessians hessians.extxyz; or all three."
        )
    if dialect is not None and out is not None:
        _export(database / "database.extxyz" if database.is_dir() else database, dialect, out,
                (energy_key, forces_key, virial_key, stress_key))  # fmt: skip
    if hessians is not None:
        _export_hessians(database.parent if database.is_file() else database, hessians)


def _export(database: Path, dialect: str, out: Path, keys: tuple[str, str, str, str | None]) -> None:
    check_folder(out.absolute().parent)
    if out.exists() and database.exists() and out.samefile(database):
        raise InputError(f"--out {out} is the database itself. Name another file.")
    from ndsc.database import describe_targets
    from ndsc.export import export_database

    frames = read_labelled(database, *keys)
    note(describe_targets(frames))
    written = export_database(frames, out, dialect)
    say(f"{len(frames)} configurations: {', '.join(map(str, written[:3]))}{', …' if len(written) > 3 else ''}")


def _export_hessians(run: Path, out: Path) -> None:
    check_folder(out.absolute().parent)
    from ndsc.hessians import hessians_of_run, write_hessians

    found = hessians_of_run(run)
    write_hessians(out, found)
    labelled = sum(one.energy is not None for one in found)
    sizes = sorted({len(one.atoms) for one in found})
    atoms = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    say(f"{len(found)} Hessians of {atoms} atoms, {labelled} with energy, forces and stress: {out}")
