#!/usr/bin/env bash
# Install the free density-functional codes. GPAW goes into a virtual environment: Debian's libraries, GPAW from PyPI
# built with FFTW and OpenBLAS (a third faster than without), its PAW data sets from PyPI. ABINIT and Quantum ESPRESSO
# come from Debian, each with a few pseudopotentials.
# Usage: install-dft.sh VENV
set -euo pipefail
. "$(dirname "$0")/lib.sh"

python=$1/bin/python
packages=()
for package in libxc-dev libopenblas-dev libfftw3-dev g++ abinit abinit-data quantum-espresso quantum-espresso-data; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || packages+=("$package")
done
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -f "$headers/Python.h" ]; then
    packages+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev")
fi
[ ${#packages[@]} -eq 0 ] || debian_install "${packages[@]}"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
# One process a label, so no MPI. gcc as the compiler fails on C++ headers.
cat >"$build/gpaw_config.py" <<'CONFIG'
compiler = 'g++'
mpi = False
fftw = True
libraries = ['xc', 'fftw3', 'openblas']
CONFIG

say "building GPAW (about half a minute)"
GPAW_CONFIG=$build/gpaw_config.py "$python" -m pip install --quiet --no-binary gpaw gpaw gpaw-data
"$python" - <<'CHECK'
import gpaw
from gpaw.fftw import have_fftw

print(f"GPAW {gpaw.__version__}, FFTW: {have_fftw()}")
CHECK
for program in abinit pw.x; do
    command -v "$program" >/dev/null || die "$program is not there, although its Debian package is installed"
done
dpkg-query -W -f='${Package} ${Version}\n' abinit quantum-espresso
