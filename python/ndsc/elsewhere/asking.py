"""The labels that a calculation of several steps lacks, as far as they can be known."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from ase import Atoms

from ndsc.codes.specification import CalculatorSpec
from ndsc.elsewhere.manifest import Wanted
from ndsc.errors import NdscError
from ndsc.reference.store import Label, LabelStore
from ndsc.reference.stored import StoredCalculator
from ndsc.rounding import rounded

#: A stress that is not zero, so that nobody takes the missing label for atoms that do not interact.
_HARDLY = 1e-15


class MissingCalculator(StoredCalculator):
    """Answers from the store, and notes what is not there; such atoms are at rest and without stress.

    A relaxation then ends where its next label is missing, and a series of strained cells goes on to the next one. What
    is worked out with it means nothing once something is in `missing`.

    Attributes
    ----------
    missing : dict of str to ase.Atoms
        By key.
    """

    def __init__(self, spec: CalculatorSpec, store: LabelStore) -> None:
        super().__init__(spec, store)
        self.missing: dict[str, Atoms] = {}

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Let something be worked out, only to see what it asks for: what it says of made-up numbers means nothing."""
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        except NdscError:
            if not self.missing:
                raise
        finally:
            logging.disable(before)

    def _computed(self, key: str) -> Label:
        atoms = rounded(self.atoms)
        atoms.set_constraint()
        self.missing.setdefault(key, atoms)
        stress = np.full(6, _HARDLY)
        return Label(key, 0.0, np.zeros((len(self.atoms), 3)), stress, 0.0)

    def wanted(self, task: str, name: str) -> list[Wanted]:
        """The missing labels."""
        found = []
        for number, atoms in enumerate(self.missing.values()):
            atoms.info["ndsc_name"] = name if len(self.missing) == 1 else f"{name}-{number:03d}"
            found.append(Wanted(atoms, self.spec, task))
        return found
