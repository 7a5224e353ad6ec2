#!/usr/bin/env bash
# Install the programs that fit other potentials than GAP into a virtual environment: ace-jax (extra ace), and pypolymlp
# (extra polymlp), which is built (two minutes) and needs a compiler, CMake and Eigen.
# Usage: install-fitters.sh VENV [EXTRA...], both without one
set -euo pipefail
. "$(dirname "$0")/lib.sh"

python=$1/bin/python
[ -x "$python" ] || die "$1 is no virtual environment; make one: scripts/make-venv.sh $1"
shift
[ $# -gt 0 ] || set -- ace polymlp
missing=()
for extra in "$@"; do
    case $extra in
    ace) module=ace_jax ;;
    polymlp) module=pypolymlp ;;
    *) die "$extra is neither ace nor polymlp" ;;
    esac
    "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$module') is None)" || missing+=("$extra")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [[ " ${missing[*]} " == *" polymlp "* ]]; then
    debian_install_missing "$python" libeigen3-dev cmake g++
fi
say "the programs of the extras ${missing[*]}"
wanted=$("$python" - "$(dirname "$0")/../pyproject.toml" "${missing[@]}" <<'READ'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print("\n".join(line for extra in sys.argv[2:] for line in extras[extra]))
READ
)
mapfile -t wanted <<<"$wanted"
"$python" -m pip install --quiet "${wanted[@]}"
