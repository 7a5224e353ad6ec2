"""One sentence about the potential, measured by what the paper reports of its own."""

from __future__ import annotations

from dataclasses import dataclass

from ndsc.report.published import PAPER_ELASTIC_PERCENT, PAPER_RMSE_THZ
from ndsc.report.text import number
from ndsc.results import IMAGINARY_THZ, Results


@dataclass(frozen=True)
class Verdict:
    """Whether the potential is as close to its reference as the paper's are, and why.

    Attributes
    ----------
    good : bool
    word : str
        The same in words.
    text : str
        The numbers.
    """

    good: bool
    word: str
    text: str


def judge(results: Results) -> Verdict | None:
    """Compare phonons and elastic constants with the paper's accuracy; None when the run has neither.

    The paper's potentials have a phonon RMSE below 0.5 THz and elastic constants within 6 % (section 4). An imaginary
    frequency that the reference does not have is a fault, however small the RMSE is, and so is a label that is missing
    or a constant that has no value.
    """
    sentences: list[str] = []
    faults: list[str] = []
    phonons = results.phonons
    if phonons is None and results.fit is not None:
        faults.append("the phonons of the potential could not be computed.")
    if phonons is not None:
        rmse = phonons.rmse_mesh_thz
        highest = phonons.reference_max_frequency_thz
        if rmse is None:
            faults.append("the phonons of the potential are not finite.")
        else:
            share = f", {100 * rmse / highest:.2g} % of the highest frequency" if highest else ""
            sentence = f"phonons agree with the reference to {rmse:.3g} THz{share} (RMSE over the mesh)."
            (sentences if rmse <= PAPER_RMSE_THZ else faults).append(sentence)
        lowest, reference = phonons.min_frequency_thz, phonons.reference_min_frequency_thz
        if lowest is not None and lowest < IMAGINARY_THZ and (reference is None or reference >= IMAGINARY_THZ):
            faults.append(f"the potential is unstable where the reference is not ({number(lowest, 2)} THz).")
    worst = results.worst_elastic
    if worst is not None:
        name, value = worst
        if value.error_percent is None:
            faults.append(f"the elastic constant {name} of the potential has no value.")
        else:
            sentence = f"elastic constants agree within {abs(value.error_percent):.2g} % (worst: {name})."
            (sentences if abs(value.error_percent) <= PAPER_ELASTIC_PERCENT else faults).append(sentence)
    if not sentences and not faults:
        return None
    if results.labels is not None and results.labels.failures:
        missing = len(results.labels.failures)
        faults.append(f"{missing} reference calculation{' has' if missing == 1 else 's have'} no label.")
    limits = f"{PAPER_RMSE_THZ:g} THz, {PAPER_ELASTIC_PERCENT:g} %"
    word = (
        f"Within the published accuracy ({limits})." if not faults else f"Not within the published accuracy ({limits})."
    )
    text = " ".join(sentence[0].upper() + sentence[1:] for sentence in [*faults, *sentences])
    return Verdict(good=not faults, word=word, text=text)
