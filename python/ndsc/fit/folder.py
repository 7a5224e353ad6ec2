"""The folder of a fit: its files, and the key that identifies what it was made from."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.database import write_database
from ndsc.errors import FitError, InputError
from ndsc.files import ScratchFolder
from ndsc.fit.evaluation import Predictions, predict
from ndsc.progress import Progress
from ndsc.store import Store
from ndsc.versions import package_version

log = logging.getLogger(__name__)

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


class _Reusable(Protocol):
    """What a fit says of itself."""

    @property
    def reused(self) -> bool:
        """Whether it was there already."""


_Fit = TypeVar("_Fit", bound=_Reusable)


def stored_or_made(fits: Store[_Fit], make: Callable[[], _Fit], target: Path, *, reuse: bool) -> _Fit:
    """The fit that is in a folder, or one that is made now and kept there; without `reuse` always the latter."""
    if not reuse:
        fit = make()
        fits.put(RECORD, fit)
        return fit
    fit = fits.get_or_compute(RECORD, make)
    if fit.reused:
        log.info("The potential in %s was made from the same data and settings; it is used again.", target)
    return fit


def key_of_fit(scratch: Path, arguments: list[str]) -> str:
    """A hash of all that a fit depends on: its arguments, and the files that it reads."""
    digest = hashlib.sha256(json.dumps([RECORD_FORMAT, package_version("quippy-ase") or "unknown", arguments]).encode())
    for path in sorted(scratch.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def scratch_of(target: Path) -> ScratchFolder:
    """A folder beside the results of a fit, in which it is made; `target` is made when it is not there.

    Raises
    ------
    InputError
        When nothing can be written there.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        return ScratchFolder(target)
    except OSError as error:
        raise InputError(
            f"The potential cannot be written to {target} ({error.strerror}). Choose a folder that you may write to."
        ) from error


def different_counts(sent: Mapping[str, int], read: Mapping[str, int]) -> str:
    """In which numbers of targets what a program has read differs from what it was sent; empty when in none."""
    return "; ".join(
        f"{name.replace('_', ' ')}: {number} sent, {read.get(name, 'none')} read"
        for name, number in sent.items()
        if read.get(name) != number
    )


def write_predictions(
    path: Path, frames: Sequence[Atoms], calculator: Calculator, *, progress: Progress, advice: str = "."
) -> Predictions:
    """Evaluate a potential on its own training data and write what it gives.

    Parameters
    ----------
    path : path
    frames : sequence of ase.Atoms
    calculator : ase.calculators.calculator.Calculator
    progress : callable
    advice : str
        How the message of a potential that is not finite ends.

    Raises
    ------
    FitError
        When the potential is not finite somewhere; nothing is written then.
    """
    predicted = predict(frames, calculator, progress=progress)
    predictions = Predictions.from_frames(predicted)
    if predictions.unusable:
        raise FitError(
            f"The potential is not finite on {len(predictions.unusable)} of the {len(frames)} configurations that it "
            f"was fitted to (the first is number {predictions.unusable[0]}), so it was discarded. Look for two atoms "
            f"on one site and for sigmas that are too small{advice}"
        )
    write_database(path, predicted)
    return predictions
