#!/usr/bin/env bash
# Install the wheel in dist/ into a clean virtual environment without a compiler on PATH, import it and run it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

wheels=(dist/*.whl)
[ ${#wheels[@]} -eq 1 ] && [ -f "${wheels[0]}" ] || die "one wheel is expected in dist/, found: ${wheels[*]}"
case ${wheels[0]} in *-abi3-*) ;; *) die "${wheels[0]} is no abi3 wheel" ;; esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
scripts/make-venv.sh "$folder/venv"

# Nothing of this machine but the environment itself: no compiler, no cargo, no source tree.
clean() { (cd "$folder" && env -u PYTHONPATH PATH="$folder/venv/bin" "$@"); }
if clean cc --version >/dev/null 2>&1; then die "a compiler is on the PATH of the wheel test"; fi
say "installing ${wheels[0]} in a clean environment"
clean pip install --quiet --only-binary :all: "$PWD/${wheels[0]}"
clean python -c 'import ndsc; from ase.build import bulk; assert len(ndsc.find_supercells(bulk("Al"), 4)) == 5; print(ndsc.__file__)'
clean ndsc --version
clean python -c 'from ndsc.report.page import template; [template(n) for n in ("report.html.j2", "study.md.j2", "studies.md.j2")]'
clean ndsc supercells Al --grid 4 4 4 --json >/dev/null
say "the wheel works without a compiler"
