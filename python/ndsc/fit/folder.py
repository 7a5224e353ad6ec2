"""The folder of a fit: its files, and the key that identifies what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ndsc.files import write_text
from ndsc.fit.calculator import GapCalculator
from ndsc.fit.executable import Run
from ndsc.store import DamagedError, Store
from ndsc.versions import package_version

XML_NAME = "gap.xml"
LOG_NAME = "gap_fit.log"
TRAINING_NAME = "training.extxyz"
PREDICTIONS_NAME = "predictions.extxyz"
RECORD_NAME = "fit.json"
RECORD_FORMAT = 1


def keep_log(run: Run, target: Path) -> Path:
    """Write the log of gap_fit into the folder of the fit, also when the fit failed."""
    write_text(target / LOG_NAME, run.log + "\n")
    return target / LOG_NAME


def publish(scratch: Path, target: Path) -> None:
    """Move a complete fit into its folder: what the XML file needs first, the record that names it last."""
    stale = set(target.glob(f"{XML_NAME}.sparseX.*"))
    (target / RECORD_NAME).unlink(missing_ok=True)
    sparse = sorted(scratch.glob(f"{XML_NAME}.sparseX.*"))
    others = [scratch / name for name in (TRAINING_NAME, PREDICTIONS_NAME, XML_NAME, RECORD_NAME)]
    for path in [*sparse, *others]:
        os.replace(path, target / path.name)
    for path in stale - {target / path.name for path in sparse}:
        path.unlink(missing_ok=True)


def key_of_fit(scratch: Path, arguments: list[str]) -> str:
    """A hash of all that a fit depends on: its arguments, and the files that it reads."""
    digest = hashlib.sha256(json.dumps([RECORD_FORMAT, package_version("quippy-ase") or "unknown", arguments]).encode())
    for path in sorted(scratch.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def recorded_key(target: Path) -> str | None:
    """Key of the complete fit in a folder, None when there is none."""

    def decode(_: str, record: Any) -> str:
        GapCalculator(target / XML_NAME)  # its files may be damaged or missing although the record is there
        if not (target / PREDICTIONS_NAME).is_file():
            raise DamagedError(f"{PREDICTIONS_NAME} is missing")
        return str(record["key"])

    try:
        return Store(target, decode).load(Path(RECORD_NAME).stem)
    except (OSError, ValueError):
        return None
