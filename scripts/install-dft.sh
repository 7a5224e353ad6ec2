#!/usr/bin/env bash
# Install the free density-functional codes. GPAW goes into a virtual environment: Debian's libraries, GPAW from PyPI
# built with FFTW and OpenBLAS (a third faster than without), its PAW data sets from PyPI. ABINIT and Quantum ESPRESSO
# come from Debian, each with a few pseudopotentials, those of CP2K (scripts/gth_potentials.py converts them), and the
# mpirun that can start them.
# Usage: install-dft.sh VENV
set -euo pipefail
. "$(dirname "$0")/lib.sh"

python=$1/bin/python
[ -x "$python" ] || die "$1 is no virtual environment; make one: scripts/make-venv.sh $1"
debian_install_missing "$python" libxc-dev libopenblas-dev libfftw3-dev g++ abinit abinit-data quantum-espresso \
    quantum-espresso-data cp2k-data openmpi-bin

# Whether GPAW is there with FFTW and with its data sets.
gpaw_is_complete() {
    "$python" - <<'CHECK'
import sys

from gpaw.fftw import have_fftw
from gpaw.setup_data import SetupData

SetupData("Al", "PBE")
sys.exit(not have_fftw())
CHECK
}

if ! gpaw_is_complete 2>/dev/null; then
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    # One process a label, so no MPI. gcc as the compiler fails on C++ headers.
    cat >"$build/gpaw_config.py" <<'CONFIG'
compiler = 'g++'
mpi = False
fftw = True
libraries = ['xc', 'fftw3', 'openblas']
CONFIG
    say "building GPAW (half a minute, more on a busy machine)"
    "$python" -m pip install --quiet gpaw-data
    # pip would take a GPAW that it built before, perhaps with other libraries; so would it leave one that is installed.
    "$python" -m pip uninstall --quiet --yes gpaw 2>/dev/null
    GPAW_CONFIG=$build/gpaw_config.py "$python" -m pip install --quiet --no-cache-dir --no-binary gpaw gpaw
    gpaw_is_complete || die "GPAW is installed, but without FFTW or without its PAW data sets"
fi
"$python" -c 'import gpaw; print(f"GPAW {gpaw.__version__} with FFTW and its PAW data sets")'
for program in abinit pw.x mpirun; do
    command -v "$program" >/dev/null || die "$program is not there, although its Debian package is installed"
done
for file in abinit/psp/Pseudodojo_nc_sr_04_pbe_standard_psp8/Al.psp8 espresso/pseudo/Al.pz-vbc.UPF; do
    [ -f "/usr/share/$file" ] || die "the pseudopotential /usr/share/$file is not there, although its Debian package is installed"
done
dpkg-query -W -f='${Package} ${Version}\n' abinit quantum-espresso
