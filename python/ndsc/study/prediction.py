"""The errors that the labels of a potential predict of it, and how much of the truth is inside the predicted bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ndsc.phonons import PhononComparison
from ndsc.selection import PhononTarget, Target
from ndsc.selection.noise import calibration, most_probable_noise
from ndsc.selection.posterior import Posterior
from ndsc.selection.prediction import predict_errors, predict_phonons
from ndsc.selection.selector import observations
from ndsc.study.fitting import Fitted

#: Parts of the modes that bands are to hold, by the name of the metric.
BANDS = {"band_68": 0.68, "band_95": 0.95}


def predicted_metrics(
    fitted: Fitted, targets: Sequence[Target], truth: PhononComparison | None
) -> dict[str, float | None]:
    """Predicted errors of a potential, and the parts of the modes of the reference that are inside the bands.

    Parameters
    ----------
    fitted : Fitted
    targets : sequence of Target
        Of the run that it is compared with, prepared with the rows of its model.
    truth : PhononComparison or None
        With the frequencies of the reference.

    Returns
    -------
    dict of str to float or None
        ``predicted_rmse_thz``, ``predicted_elastic_percent``, ``band_68`` and ``band_95``.
    """
    frames, model = list(fitted.task.selected.frames), fitted.model()
    labels = observations(frames, model.rows(frames), model.n_weights, fitted.e0)
    noise = most_probable_noise(labels) if fitted.noise is None else fitted.noise
    posterior, factors = Posterior.of_labels(labels, noise), calibration(labels, noise)
    errors = predict_errors(posterior, targets, factors=factors)
    metrics = {"predicted_rmse_thz": errors.rmse_thz, "predicted_elastic_percent": errors.elastic_percent}
    phonons = next((target for target in targets if isinstance(target, PhononTarget)), None)
    if truth is None or phonons is None:
        return {**metrics, **dict.fromkeys(BANDS)}
    predicted = predict_phonons(posterior, phonons, truth.mesh_qpoints, factor=factors.bands)
    for name, part in BANDS.items():
        lower, upper = predicted.band(part)
        inside = (lower <= truth.reference_mesh) & (truth.reference_mesh <= upper)
        metrics[name] = float(np.average(inside.mean(axis=1), weights=truth.mesh_weights))
    return metrics
