"""Programs started by a shell script, their output taken as labels: what ndsc computes itself, by starting them."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ndsc import LabelStore
from ndsc.configurations import make_configurations
from ndsc.crystal import load_crystal
from ndsc.elsewhere import Wanted, read_labels, write_inputs
from ndsc.reference import CalculatorSpec, compute_label
from ndsc.supercells import find_supercells

ABINIT_PSEUDO = Path(os.environ.get("ABI_PSPDIR", "/usr/share/abinit/psp/Pseudodojo_nc_sr_04_pbe_standard_psp8"))
ESPRESSO_PSEUDO = Path(os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo"))
PROGRAMS = {
    "espresso": ("pw.x", ESPRESSO_PSEUDO, "Al.pz-vbc.UPF", "pw.x -in espresso.pwi > pw.out"),
    "abinit": ("abinit", ABINIT_PSEUDO, "Al.psp8", "abinit abinit.in > log"),
}
PARAMETERS = {
    "espresso": {"ecutwfc": 12, "conv_thr": 1e-10, "occupations": "smearing", "smearing": "mv", "degauss": 0.04},
    "abinit": {"ecut": 200, "xc": "PBE", "occopt": 4, "tsmear": 0.5, "tolvrs": 1e-10},
}
SCRIPT = 'for folder in "$1"/*/; do (cd "$folder" && {command}) || exit 1; done\n'


@pytest.mark.parametrize("code", PROGRAMS)
def test_labels_are_those_that_ndsc_computes(tmp_path, code):
    program, folder, pseudo, command = PROGRAMS[code]
    if shutil.which(program) is None or not (folder / pseudo).is_file():
        pytest.skip(f"{program} or its pseudopotential {folder / pseudo} is not installed (make dft)")
    parameters = {**PARAMETERS[code], "pseudopotentials": {"Al": pseudo}}
    spec = CalculatorSpec(code, parameters, (2, 2, 2), pseudo_dir=str(folder))
    supercells = find_supercells(load_crystal("Al"), (2, 2, 2))
    frames = make_configurations(supercells, per_supercell=1, unit_cells=1, seed=1)[:2]
    wanted = [Wanted(atoms, spec) for atoms in frames]
    write_inputs(wanted, tmp_path / "calc", code, tmp_path / "labels")
    (tmp_path / "run.sh").write_text(SCRIPT.format(command=command))
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(["sh", str(tmp_path / "run.sh"), str(tmp_path / "calc")], check=True, env=one_thread)
    report = read_labels([tmp_path / "calc"])
    assert report.problems == []
    assert sorted(report.taken) == sorted(label.name for label in wanted)
    assert report.settings["cutoff_ev"] == pytest.approx(200 if code == "abinit" else 12 * 13.605693, rel=1e-4)
    taken, here = LabelStore(tmp_path / "labels"), LabelStore(tmp_path / "here")
    for atoms in frames:
        true = compute_label(atoms, spec, here)
        found = taken.load(true.key)
        assert found.energy == pytest.approx(true.energy, abs=1e-6)
        np.testing.assert_allclose(found.forces, true.forces, atol=1e-5)
        np.testing.assert_allclose(found.stress, true.stress, atol=1e-7)
        assert found.provenance["code"] == true.provenance["code"]
        assert found.seconds > 0
