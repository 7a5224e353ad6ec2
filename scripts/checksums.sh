#!/usr/bin/env bash
# Write data/SHA256SUMS again: the checksum of every file of the shipped databases.
set -euo pipefail
cd "$(dirname "$0")/../data"
find . -type f ! -name SHA256SUMS ! -path '*/claims/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > SHA256SUMS
