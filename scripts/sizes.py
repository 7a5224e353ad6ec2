"""Measure how long ndsc takes to start, and how large the pages of the site are: python scripts/sizes.py [site]"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("--version", "--help", "supercells Al --grid 4", "phonons Al --grid 4")


def main() -> None:
    """Print the shortest of three times of each command, wall and processor, and the largest pages of a site."""
    # The first call writes the modules' bytecode, which an installation has.
    installed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for command in COMMANDS:
        wall, processor = [], []
        for _ in range(3):
            start, before = time.perf_counter(), os.times()
            program = [sys.executable, "-m", "ndsc", *command.split()]
            subprocess.run(program, check=True, capture_output=True, env=installed)
            after = os.times()
            wall.append(time.perf_counter() - start)
            processor.append(sum(after[2:4]) - sum(before[2:4]))
        sys.stdout.write(f"{min(wall):6.2f} s, {min(processor):5.2f} s of processor time  ndsc {command}\n")
    if len(sys.argv) > 1:
        files = [file for file in Path(sys.argv[1]).rglob("*") if file.is_file()]
        pages = sorted((file for file in files if file.suffix == ".html"), key=lambda file: -file.stat().st_size)
        for page in pages[:3]:
            sys.stdout.write(f"{page.stat().st_size / 1000:6.0f} kB {page}\n")
        total = sum(file.stat().st_size for file in files)
        sys.stdout.write(f"{total / 1e6:6.1f} MB in {len(files)} files, {len(pages)} of them pages\n")


if __name__ == "__main__":
    main()
