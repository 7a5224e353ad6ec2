"""The folder of a fit: its files, and the key that identifies what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ndsc.versions import package_version

XML_NAME = "gap.xml"
LOG_NAME = "gap_fit.log"
TRAINING_NAME = "training.extxyz"
PREDICTIONS_NAME = "predictions.extxyz"
#: The name of the record in the folder, which is a :class:`ndsc.store.Store` of one result.
RECORD = "fit"
RECORD_FORMAT = 1


def publish(
    scratch: Path,
    target: Path,
    names: Sequence[str] = (TRAINING_NAME, PREDICTIONS_NAME, XML_NAME),
    record: str = RECORD,
) -> None:
    """Move a complete fit into its folder; its record, which says that it is complete, is written afterwards."""
    stale = set(target.glob(f"{XML_NAME}.sparseX.*"))
    (target / f"{record}.json").unlink(missing_ok=True)
    sparse = sorted(scratch.glob(f"{XML_NAME}.sparseX.*"))
    others = [scratch / name for name in names]
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
