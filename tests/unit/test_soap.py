"""Our own derivatives of SOAP descriptors against quippy's."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from ndsc.fit.kernels import Kernel, descriptor_of, expansion_of, ready, rows_of
from ndsc.fit.soap import _harmonics

pytestmark = [
    pytest.mark.gap,
    pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'"),
]


def text(species, number, *, cutoff=4.0, width=1.0, n_max=4, l_max=3, atom_sigma=0.5, more=""):
    listed = " ".join(map(str, species))
    return (
        f"soap cutoff={cutoff} cutoff_transition_width={width} n_max={n_max} l_max={l_max} atom_sigma={atom_sigma} "
        f"zeta=3 delta=1.5 covariance_type=dot_product add_species=F n_species={len(species)} Z={number} "
        f"species_Z={{{listed}}} {more}"
    )


def structure(species, *, n_atoms=5, periodic=True, seed=0):
    random = np.random.default_rng(seed)
    positions = np.arange(n_atoms)[:, None] * [2.2, 0.4, 0.1] + random.normal(0, 0.15, (n_atoms, 3))
    cell = np.diag([2.2 * n_atoms, 2.6, 2.9]) + random.normal(0, 0.2, (3, 3))
    if not periodic:
        cell = np.eye(3) * 40.0
    return Atoms(np.resize(species, n_atoms), positions, cell=cell, pbc=periodic)


def kernels_of(descriptions, frame):
    """One kernel for each description; the sparse points are environments of other structures."""
    kernels, start = [], 0
    for number, description in descriptions:
        others = [structure(sorted(set(frame.numbers)), seed=seed) for seed in (5, 6)]
        points = np.vstack([descriptor_of(description).calc(other)["data"] for other in others])
        columns = slice(start, start + len(points))
        kernels.append(Kernel(description, number, points, 4.0, 3.0, 1.5, columns))
        start += len(points)
    return kernels


def assert_same(ours, theirs):
    for part in (slice(0, 1), slice(1, -6), slice(-6, None)):
        assert np.abs(ours[part] - theirs[part]).max() <= 1e-10 * np.abs(theirs[part]).max()


@pytest.mark.parametrize(
    ("species", "settings"),
    [
        ((13,), {}),
        ((13,), {"n_max": 8, "l_max": 6, "cutoff": 6.0}),
        ((13,), {"n_max": 3, "l_max": 1}),
        ((8, 22), {"n_max": 8, "l_max": 6, "cutoff": 6.0}),
        ((13, 29), {"l_max": 8, "width": 0.5}),
        ((13, 29), {"atom_sigma": 0.8, "cutoff": 7.0, "width": 2.0}),
        ((3, 8, 22), {"n_max": 5}),
        ((13, 29), {"more": "central_weight=0.5"}),
        ((8, 22), {"more": "cutoff_dexp=4 cutoff_scale=3.0 cutoff_rate=1.0"}),
    ],
)
@pytest.mark.parametrize("periodic", [True, False])
def test_rows_are_those_with_quippys_derivatives(species, settings, periodic):
    frame = structure(species, periodic=periodic)
    kernels = kernels_of([(number, text(species, number, **settings)) for number in species], frame)
    own = ready(kernels)
    assert all(kernel.expansion is not None for kernel in own)
    assert all(kernel.expansion.covers(frame) for kernel in own)
    assert_same(rows_of(frame, own), rows_of(frame, kernels))


@pytest.mark.parametrize(
    "settings", [{"atom_sigma": 0.1}, {"cutoff": 1.5}, {"more": "central_reference_all_species=T"}]
)
def test_what_tables_do_not_give_is_left_to_quippy(settings):
    frame = structure((13, 29))
    kernels = kernels_of([(13, text((13, 29), 13, **settings))], frame)
    own = ready(kernels)
    assert_same(rows_of(frame, own), rows_of(frame, kernels))
    assert own[0].expansion is None


def test_descriptions_of_another_kind_have_no_tables():
    for missing in ("n_max=4", "species_Z={13 29}", "cutoff_transition_width=1.0"):
        assert expansion_of(text((13, 29), 13).replace(missing, "")) is None
    assert expansion_of(text((29, 13), 13)) is None


def test_atoms_that_are_too_close_are_left_to_quippy():
    frame = structure((13, 29))
    frame.positions[1] = frame.positions[0] + [0.3, 0.0, 0.5]
    kernels = kernels_of([(13, text((13, 29), 13))], frame)
    own = ready(kernels)
    assert own[0].expansion is not None
    assert not own[0].expansion.covers(frame)
    assert np.array_equal(rows_of(frame, own), rows_of(frame, kernels))
    frame.numbers[2] = 8
    frame.positions[1] += 1.0
    assert not own[0].expansion.covers(frame)


def test_expansions_do_not_depend_on_the_points():
    frame = structure((13,))
    (kernel,) = ready(kernels_of([(13, text((13,), 13))], frame))
    half = replace(kernel, points=kernel.points[:3], columns=slice(0, 3))
    assert np.allclose(rows_of(frame, [half]), rows_of(frame, [kernel])[:, :3], rtol=1e-12, atol=1e-14)


def test_harmonic_polynomials():
    random = np.random.default_rng(0)
    directions = random.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    values, gradients = _harmonics(5)(directions)
    for degree in range(6):
        part = slice(degree**2, (degree + 1) ** 2)
        # The addition theorem: sums of products are Legendre polynomials of the cosine.
        legendre = np.polynomial.legendre.Legendre.basis(degree)(directions @ directions.T)
        assert values[:, part] @ values[:, part].T == pytest.approx(legendre, abs=1e-12)
        # Euler's theorem: homogeneous polynomials.
        along = np.einsum("ka,kam->km", directions, gradients[:, :, part])
        assert along == pytest.approx(degree * values[:, part], abs=1e-12)
