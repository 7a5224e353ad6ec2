"""Potentials of any kind behind one interface: settings, fit, rows, calculator.

A kind of potential is a subclass of :class:`~ndsc.potentials.fitting.TrainedFitter` in a module of its own, with one
line in :mod:`ndsc.potentials.registry`, and a class of settings with one line in :mod:`ndsc.potentials.settings`. It
supplies

- ``settings``: a :class:`ndsc.fit.fitter_settings.FitterSettings`, whose fields have the names that the program has,
  and which is the section ``[fit]`` of an input file where ``method`` names it. Its module imports nothing heavy;
- ``require``: a MissingExtraError with the line for pip where its package is missing;
- ``memory``: bytes that a fit needs, known from the numbers of atoms and neighbours;
- ``train``: fits labelled configurations in an empty folder. Its :class:`~ndsc.potentials.base.Job` holds bare
  structures with ``REF_*`` targets, a sigma for each, and energies of single atoms; it says which targets the program
  has used, which are compared with those that it was sent;
- ``calculator``: the potential in a file as an ASE calculator that can be pickled, and refuses species that the
  potential does not know, and files that are damaged;
- where the potential is linear in its weights, ``basis``: the :class:`~ndsc.potentials.base.Basis` that structures
  without labels make, whose rows are in units of the prior. Choices of labels, predicted errors and studies need
  nothing else.

Everything else is common (:mod:`ndsc.potentials.fitting`): energies of single atoms, plausibility, refusal where memory
is too small, folders that are whole or not there, reuse of finished fits, records, predictions on the training data.
:mod:`ndsc.potentials.linear` solves for the weights of linear models, with our sigmas.

The public names and their homes are listed in ``__init__.pyi``; each home is imported when one of its names is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
