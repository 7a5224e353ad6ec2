#!/usr/bin/env bash
# Check that the compiled core can be built here: cargo, a linker and, for `check-rust.sh lint`, clippy and rustfmt.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

command -v cargo >/dev/null || die "there is no cargo on PATH; install a Rust toolchain (https://rustup.rs) and try again"
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
found=$(rustc --version | cut -d' ' -f2)
[ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
    die "Rust $found is too old, $needed or newer is needed; update it (rustup update) or install it from https://rustup.rs"
command -v cc >/dev/null || debian_install gcc libc6-dev

if [ "${1:-}" = lint ]; then
    for part in fmt:rustfmt clippy:clippy; do
        cargo "${part%%:*}" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || die "cargo ${part%%:*} is missing; install the ${part##*:} of your Rust toolchain"
        rustup component add "${part##*:}"
    done
fi
