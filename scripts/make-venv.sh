#!/usr/bin/env bash
# Make a virtual environment, with Debian's python3-venv first where the interpreter cannot make one by itself.
# Usage: make-venv.sh FOLDER
set -euo pipefail
. "$(dirname "$0")/lib.sh"

folder=$1
python=$(find_python)

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    debian_install "python$version-venv"
    "$python" -c 'import ensurepip, venv' || die "$python still cannot make virtual environments; install its venv module"
fi

say "virtual environment $folder ($("$python" --version))"
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --upgrade pip
