#!/usr/bin/env bash
# Install the programs that fit other potentials than GAP into a virtual environment: ace-jax, and pypolymlp, which is
# built (two minutes) and needs a compiler, CMake and Eigen.
# Usage: install-fitters.sh VENV
set -euo pipefail
. "$(dirname "$0")/lib.sh"

python=$1/bin/python
[ -x "$python" ] || die "$1 is no virtual environment; make one: scripts/make-venv.sh $1"
"$python" -c 'import ace_jax, pypolymlp' 2>/dev/null && exit 0
packages=()
for package in libeigen3-dev cmake g++; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || packages+=("$package")
done
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -f "$headers/Python.h" ]; then
    packages+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev")
fi
[ ${#packages[@]} -eq 0 ] || debian_install "${packages[@]}"
say "ace-jax and pypolymlp"
wanted=$("$python" - "$(dirname "$0")/../pyproject.toml" <<'READ'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print("\n".join(extras["ace"] + extras["polymlp"]))
READ
)
mapfile -t wanted <<<"$wanted"
"$python" -m pip install --quiet "${wanted[@]}"
"$python" -c 'import ace_jax, pypolymlp'
