"""The verdict on a potential, on the scale of its crystal, and why it is likely poor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ndsc.report.causes import Cause, causes_of
from ndsc.report.published import PAPER_ELASTIC_PERCENT
from ndsc.report.text import count, number
from ndsc.results import IMAGINARY_THZ, Comparison, PhononsSummary, Results

#: Root mean square error of the frequencies that a good potential has at the most, per cent of the highest frequency.
RMSE_PERCENT = 2.0
#: Elastic constants below this part of the largest count as so large in their errors.
SMALLEST_CONSTANT = 0.1
#: Highest frequency where none is known, THz: that of a crystal for which the limit is 0.2 THz.
USUAL_THZ = 10.0


@dataclass(frozen=True)
class Verdict:
    """Whether the potential is close to its reference on the scale of the crystal, and why.

    Attributes
    ----------
    good : bool
        It is, and nothing about the run is doubtful.
    word : str
        The same in words.
    text : str
        The numbers.
    causes : tuple of Cause
        Where it is not close: the likely causes, the likeliest first, each with the key to change.
    """

    good: bool
    word: str
    text: str
    causes: tuple[Cause, ...] = ()


def verdict_of(results: Results, lowest: float | None = None, highest: float | None = None) -> Verdict | None:
    """Compare phonons and elastic constants with what a good potential reaches; None when the run has neither.

    Without a reference, what the choice of labels predicts is compared with it, and the words say so.

    Parameters
    ----------
    results : Results
    lowest, highest : float, THz, optional
        The lowest and the highest frequency that are predicted, for a run without a reference.

    Frequencies are to be within 2 % of the highest one (RMSE over the mesh), elastic constants within 6 % as those of
    the paper (section 4), those below a tenth of the largest in per cent of that. An imaginary frequency that the
    reference does not have is a fault, however small the RMSE is, and so is a label that is missing or a constant that
    has no value. With a warning the numbers may be good and still mean nothing, so the verdict names it.
    """
    findings: list[tuple[bool, str]] = []
    predicted = results.phonons is None and results.without_reference
    if predicted:
        findings += _predicted(results, lowest, highest)
    elif results.phonons is not None:
        findings += _phonons(results.phonons)
    elif results.fit is not None:
        findings.append((False, "The phonons of the potential could not be computed."))
    if (worst := _worst_elastic(results)) is not None:
        name, error = worst
        text = f"The elastic constant {name} of the potential has no value."
        if error is not None:
            text = f"Elastic constants agree within {error:.2g} % (worst: {name})."
        findings.append((error is not None and error <= PAPER_ELASTIC_PERCENT, text))
    if not findings:
        return None
    if results.labels is not None and results.labels.failures:
        missing = len(results.labels.failures)
        findings.append(
            (False, f"{count(missing, 'reference calculation')} {'has' if missing == 1 else 'have'} no label.")
        )
    reached = all(holds for holds, _ in findings)
    word = "Within" if reached else "Not within"
    if predicted:
        word = f"Predicted {'' if reached else 'not '}to be within"
    word += f" {RMSE_PERCENT:g} % of the highest frequency and {PAPER_ELASTIC_PERCENT:g} % in elastic constants"
    if results.warnings:
        word += f", with {count(len(results.warnings), 'warning')}"
    # What is wrong comes first.
    text = " ".join(text for _, text in sorted(findings, key=lambda finding: finding[0]))
    causes = () if reached or results.fit is None else tuple(causes_of(results))
    return Verdict(good=reached and not results.warnings, word=f"{word}.", text=text, causes=causes)


def _percent(rmse: float | None, highest: float | None) -> float | None:
    return None if rmse is None else 100.0 * rmse / (highest or USUAL_THZ)


def _worst_elastic(results: Results) -> tuple[str, float | None] | None:
    """The constant with the largest error and that error in per cent; None for the error of one without a value."""
    known = {name: value for name, value in (results.elastic or {}).items() if value.reference is not None}
    largest = max((abs(value.reference or 0.0) for value in known.values()), default=0.0)
    if not known:
        return None

    def error(value: Comparison) -> float:
        if value.model is None or value.reference is None:
            return math.inf
        size = max(abs(value.reference), SMALLEST_CONSTANT * largest)
        return 100.0 * abs(value.model - value.reference) / size if size > 0 else 0.0

    name = max(known, key=lambda key: error(known[key]))
    found = error(known[name])
    return name, None if math.isinf(found) else found


def _phonons(phonons: PhononsSummary) -> list[tuple[bool, str]]:
    """What is to be said of the phonons, and whether it is good; of instability only where there is one."""
    rmse, highest, lowest = phonons.rmse_mesh_thz, phonons.reference_max_frequency_thz, phonons.min_frequency_thz
    percent = _percent(rmse, highest)
    if rmse is None or percent is None:
        return [(False, "The phonons of the potential are not finite.")]
    share = f", {percent:.2g} % of the highest frequency" if highest else ""
    text = f"Phonons agree with the reference to {rmse:.3g} THz{share} (RMSE over the mesh)."
    found = [(percent <= RMSE_PERCENT, text)]
    theirs = phonons.reference_min_frequency_thz
    if lowest is not None and lowest < IMAGINARY_THZ and not (theirs is not None and theirs < IMAGINARY_THZ):
        found.append(
            (False, f"The potential is dynamically unstable and the reference is not ({number(lowest, 2)} THz).")
        )
    return found


def _predicted(results: Results, lowest: float | None, highest: float | None) -> list[tuple[bool, str]]:
    """What is expected of a potential that nothing is compared with."""
    chosen = results.selection
    if chosen is None or results.fit is None:
        return []
    found = []
    if chosen.predicted_rmse_thz is not None:
        percent = _percent(chosen.predicted_rmse_thz, highest)
        share = "" if highest is None else f", {percent:.2g} % of the highest frequency"
        found.append(
            (
                percent is not None and percent <= RMSE_PERCENT,
                f"Phonons have an expected error of {chosen.predicted_rmse_thz:.2g} THz{share} (RMSE over the "
                "Brillouin zone); nothing was compared with a reference.",
            )
        )
    if chosen.predicted_elastic_percent is not None:
        found.append(
            (
                chosen.predicted_elastic_percent <= PAPER_ELASTIC_PERCENT,
                f"Elastic constants are expected to be within {chosen.predicted_elastic_percent:.2g} %.",
            )
        )
    if lowest is not None and lowest < IMAGINARY_THZ:
        found.append((False, f"The predicted phonons are imaginary, down to {number(lowest, 2)} THz."))
    return found
