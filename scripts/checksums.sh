#!/usr/bin/env bash
# Write data/SHA256SUMS again: the checksum of every file of the shipped databases that git knows, so `git add` comes first.
set -euo pipefail
cd "$(dirname "$0")/../data"
git ls-files -z -- . ':!SHA256SUMS' | sed -z 's|^|./|' | LC_ALL=C sort -z | xargs -0 sha256sum > SHA256SUMS
