# Shared by the scripts of this folder: messages, and Debian packages. Source it, do not run it.

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Install Debian packages, with sudo when we are not root; say what to do where that is impossible.
debian_install() {
    command -v apt-get >/dev/null || die "the packages $* are needed and there is no apt-get here; install their equivalents and try again"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "the Debian packages $* are needed; as root, run: apt-get install $*"
        root=(sudo)
    fi
    say "installing Debian packages: $*"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Install the Debian packages among those named that are not there, and the headers of a Python where it has none.
# Usage: debian_install_missing PYTHON PACKAGE...
debian_install_missing() {
    local python=$1 package headers packages=()
    shift
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || packages+=("$package")
    done
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if [ ! -f "$headers/Python.h" ]; then
        packages+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev")
    fi
    [ ${#packages[@]} -eq 0 ] || debian_install "${packages[@]}"
}

# Print the first Python that is new enough: $PYTHON, python3, then the versioned names.
find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    die "no Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3.11"
}
