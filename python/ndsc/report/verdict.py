"""The verdict on a potential, by the accuracy that the paper reports for its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ndsc.claims import run_check
from ndsc.report.published import PAPER_ELASTIC_PERCENT, PAPER_RMSE_THZ
from ndsc.report.text import count, number
from ndsc.results import IMAGINARY_THZ, PhononsSummary, Results

#: The tests of a run, with the metrics of a study.
ACCURATE = f"rmse_mesh_thz[potential] <= {PAPER_RMSE_THZ}"
STABLE = f"min_frequency_thz[potential] >= {IMAGINARY_THZ} or reference_min_frequency_thz[potential] < {IMAGINARY_THZ}"
ELASTIC = f"largest_elastic_error_percent[potential] <= {PAPER_ELASTIC_PERCENT}"


@dataclass(frozen=True)
class Verdict:
    """Whether the potential is as close to its reference as the paper's are, and why.

    Attributes
    ----------
    good : bool
        It is, and nothing about the run is doubtful.
    word : str
        The same in words.
    text : str
        The numbers.
    """

    good: bool
    word: str
    text: str


def verdict_of(results: Results, lowest: float | None = None) -> Verdict | None:
    """Compare phonons and elastic constants with the paper's accuracy; None when the run has neither.

    Without a reference, what the choice of labels predicts is compared with it, and the words say so.

    Parameters
    ----------
    results : Results
    lowest : float, THz, optional
        The lowest frequency that is predicted, for a run without a reference.

    The paper's potentials have a phonon RMSE below 0.5 THz and elastic constants within 6 % (section 4). An imaginary
    frequency that the reference does not have is a fault, however small the RMSE is, and so is a label that is missing
    or a constant that has no value. With a warning the numbers may be as good as the paper's and still mean nothing, so
    the verdict names it.
    """
    from pandas import DataFrame

    numbers: dict[str, float | None] = {}
    said: dict[str, str] = {}
    findings: list[tuple[bool, str]] = []
    predicted = results.phonons is None and results.without_reference
    if predicted:
        findings += _predicted(results, lowest)
    elif results.phonons is not None:
        numbers |= results.phonons.model_dump(
            include={"rmse_mesh_thz", "min_frequency_thz", "reference_min_frequency_thz"}
        )
        said |= _phonons(results.phonons)
    elif results.fit is not None:
        findings.append((False, "The phonons of the potential could not be computed."))
    if results.worst_elastic is not None:
        name, value = results.worst_elastic
        error = None if value.error_percent is None else abs(value.error_percent)
        numbers["largest_elastic_error_percent"] = error
        said[ELASTIC] = (
            f"The elastic constant {name} of the potential has no value."
            if error is None
            else f"Elastic constants agree within {error:.2g} % (worst: {name})."
        )
    row = {name: math.nan if value is None else value for name, value in numbers.items()}
    frame = DataFrame([{"potential": "potential", "seed": None, "run": "run", **row}])
    checks = [run_check(text, test, frame) for test, text in said.items()]
    # Only instability is worth a word.
    findings += [(check.holds, check.claim) for check in checks if check.test != STABLE or not check.holds]
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
    word += f" the published accuracy ({PAPER_RMSE_THZ:g} THz, {PAPER_ELASTIC_PERCENT:g} %)"
    if results.warnings:
        word += f", with {count(len(results.warnings), 'warning')}"
    # What is wrong comes first.
    text = " ".join(text for _, text in sorted(findings, key=lambda finding: finding[0]))
    return Verdict(good=reached and not results.warnings, word=f"{word}.", text=text)


def _phonons(phonons: PhononsSummary) -> dict[str, str]:
    """The sentence for each test of the phonons."""
    rmse, highest, lowest = phonons.rmse_mesh_thz, phonons.reference_max_frequency_thz, phonons.min_frequency_thz
    said = {ACCURATE: "The phonons of the potential are not finite."}
    if rmse is not None:
        share = f", {100 * rmse / highest:.2g} % of the highest frequency" if highest else ""
        said[ACCURATE] = f"Phonons agree with the reference to {rmse:.3g} THz{share} (RMSE over the mesh)."
    if lowest is not None:
        said[STABLE] = f"The potential is unstable where the reference is not ({number(lowest, 2)} THz)."
    return said


def _predicted(results: Results, lowest: float | None) -> list[tuple[bool, str]]:
    """What is expected of a potential that nothing is compared with."""
    chosen = results.selection
    if chosen is None or results.fit is None:
        return []
    found = []
    if chosen.predicted_rmse_thz is not None:
        found.append(
            (
                chosen.predicted_rmse_thz <= PAPER_RMSE_THZ,
                f"Phonons are expected to be wrong by {chosen.predicted_rmse_thz:.2g} THz (RMSE over the Brillouin "
                "zone); nothing was compared with a reference.",
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
