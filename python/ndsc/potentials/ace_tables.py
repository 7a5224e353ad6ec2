"""Basis functions of the atomic cluster expansion: made by ace-jax, kept as tables that NumPy evaluates.

ace-jax evaluates its basis with JAX, which compiles a program of its own for every number of atoms and neighbours; that
takes many seconds each, and the many small and different cells of a database make many. Here everything that defines a
basis is asked of ace-jax once: radial functions on a fine grid, solid harmonics as polynomials, products and their
coupling as they are. This is the only module that imports ace-jax.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_interp_spline
from scipy.sparse import coo_array, csr_array

from ndsc.errors import FitError, InputError, MissingExtraError

if TYPE_CHECKING:
    from ndsc.potentials.ace_settings import AceSettings

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Distances of the tables of radial functions, Å: from the first on; below it functions go on as straight lines, as in
#: ace-jax's own tables for LAMMPS.
CLOSEST, N_POINTS, SPLINE_ORDER = 0.5, 3000, 5
#: Largest deviation of harmonics from the polynomials that they are.
ROUNDING = 1e-9
#: What a file of ours or of ace-jax is read as.
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class AceTables:
    """All that defines a basis of n_functions for each element, and its prior.

    The function b of the environment of an atom is ``sum_p coupling[b, p] * prod_k A[products[p][k]]``, where the
    density A sums ``R(r) Y(r)`` over neighbours. Behind these come the pair functions, which are sums of R themselves.

    Attributes
    ----------
    elements : tuple of str
        Chemical symbols, in ace-jax's order.
    cutoff : float, Å
    gamma : (m,) array
        ace-jax's smoothness prior: the weights are expected to be as small as 1 / gamma. First the functions of all
        elements, then the pair functions of all elements.
    radial : mapping of (int, int) to BSpline
        For an atom and a neighbour of these elements, radial functions of the density, then pair functions.
    n_radial, n_pair : int
        How many there are of each.
    harmonics, derivatives : (n_powers, n_harmonics) and (3, n_powers, n_harmonics) array
        Coefficients of solid harmonics and of their derivatives in the powers of x, y and z.
    powers : (n_powers, 3) int array
    density : (n_density, 2) int array
        Number of the radial function and of the harmonic of each density.
    products : tuple of (n, order) int arrays
    coupling : (n_functions, n_products) sparse array
    source : mapping
        What ace-jax calls meta.
    """

    elements: tuple[str, ...]
    cutoff: float
    gamma: FloatArray
    radial: Mapping[tuple[int, int], BSpline]
    n_radial: int
    n_pair: int
    harmonics: FloatArray
    derivatives: FloatArray
    powers: IntArray
    density: IntArray
    products: tuple[IntArray, ...]
    coupling: csr_array
    source: Mapping[str, Any]

    @property
    def n_functions(self) -> int:
        """Functions of an environment that are products of densities."""
        return int(self.coupling.shape[0])

    @property
    def n_weights(self) -> int:
        """Number m of weights."""
        return len(self.gamma)


@dataclass(frozen=True, eq=False)
class AceWeights:
    """What a fit determines.

    Attributes
    ----------
    weights : (m,) array, eV
    e0 : dict of str to eV
        Energies of single atoms.
    """

    weights: FloatArray
    e0: dict[str, float]


def build_tables(elements: Sequence[str], settings: AceSettings) -> AceTables:
    """The basis of some elements.

    Parameters
    ----------
    elements : sequence of str
    settings : AceSettings

    Raises
    ------
    MissingExtraError
        When ace-jax is not installed, or not for this platform.
    InputError
        When ace-jax refuses the settings.
    """
    made = _built(elements, settings)
    with _double():
        model, meta = made.eval_pair()
        return _tables(model, meta, np.asarray(made.gamma, dtype=float))


def write_ace(path: Path, elements: Sequence[str], settings: AceSettings, fitted: AceWeights) -> None:
    """Write a potential as ace-jax's ``ACECalculator``, ``aj eval`` and exporters read it.

    Raises
    ------
    MissingExtraError
        When ace-jax is not installed.
    """
    from ace_jax.basis.export import readout_to_npz, save_npz

    made = _built(elements, settings)
    tables_of = made.meta
    with _double():
        import jax.numpy as jnp

        tensor, pair = readout_to_npz(fitted.weights, tables_of["n_B"], tables_of["n_pair"], len(elements))
        e0 = np.array([fitted.e0[symbol] for symbol in elements])
        model = dataclasses.replace(
            made.model, WB=jnp.asarray(tensor), Wpair=jnp.asarray(pair), E0=jnp.asarray(e0), folded=False, ctilde=None
        )
        with path.open("wb") as file:
            save_npz(file, made._replace(model=model))


def read_ace(path: Path) -> tuple[AceTables, AceWeights]:
    """Basis and weights of a potential in a file.

    Raises
    ------
    MissingExtraError
        When ace-jax is not installed.
    InputError
        When the file is not such a potential, or damaged.
    """
    require_ace()
    import ace_jax

    if path.suffix != ".npz":
        raise InputError(f"{path} is not a potential of ace-jax: a file that ends in .npz is expected.")
    try:
        content = BytesIO(path.read_bytes())
        with _double():
            # NumPy refuses pickled objects here, which could run code.
            model, meta, arrays = ace_jax.load(content)
            if "gamma" in arrays.files:
                gamma = np.array(arrays["gamma"], dtype=float)
            else:
                from ace_jax.basis.prior import gamma_from_model

                gamma = np.asarray(gamma_from_model(meta), dtype=float)
            tables = _tables(model, meta, gamma)
            weights = np.concatenate([np.asarray(model.WB).T.reshape(-1), np.asarray(model.Wpair).T.reshape(-1)])
            energies = np.asarray(model.E0, dtype=float)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}). Give a potential of ace-jax.") from error
    except InputError:
        raise
    except Exception as error:
        # What a damaged file makes of ace-jax is an error of any kind.
        raise InputError(
            f"{path} is not a potential of ace-jax, or damaged ({type(error).__name__}: {error}). Fit it again."
        ) from error
    if weights.shape != gamma.shape or not (np.isfinite(weights).all() and np.isfinite(energies).all()):
        raise InputError(f"{path} holds weights that are not finite, or too few weights. Fit the potential again.")
    e0 = {symbol: float(energy) for symbol, energy in zip(tables.elements, energies, strict=True)}
    return tables, AceWeights(weights, e0)


def count_weights(n_elements: int, settings: AceSettings) -> int:
    """How many weights a basis has, without building it.

    Raises
    ------
    MissingExtraError
        When ace-jax is not installed.
    """
    require_ace()
    from ace_jax.basis.spec import build_spec

    degree = settings.degree(n_elements)
    functions, _, _ = build_spec(n_elements, settings.order, degree, settings.wL)
    return n_elements * (len(functions) + degree)


def require_ace() -> None:
    """Refuse to go on without ace-jax.

    Raises
    ------
    MissingExtraError
        When it is not installed.
    """
    try:
        import ace_jax
    except ImportError as error:
        raise MissingExtraError(
            f"[fit] method = 'ace' needs ace-jax, which is not installed, or not completely ({error}). Install it "
            "with `pip install 'ndsc[ace]'`."
        ) from error
    del ace_jax


def _double() -> Any:
    """JAX with double precision, here only: other programs of the same process choose for themselves."""
    import jax

    return jax.enable_x64(True)


def _built(elements: Sequence[str], settings: AceSettings) -> Any:
    """ace-jax's own basis."""
    require_ace()
    from ace_jax.basis.coupling import BasisUnavailable
    from ace_jax.basis.model import build_model

    numbers = [atomic_numbers[symbol] for symbol in elements]
    try:
        with _double():
            degree = settings.degree(len(elements))
            return build_model(numbers, settings.order, degree, wL=settings.wL, rcut=settings.cutoff, r0=settings.r0)
    except BasisUnavailable as error:
        raise MissingExtraError(f"ace-jax cannot make a basis on this computer: {error}.") from error
    except ValueError as error:
        hint = " Give [fit.ace] r0, the distance of neighbours in Å." if "bond length" in str(error) else ""
        raise InputError(f"ace-jax refuses the settings of the basis: {error}.{hint}") from error


def _tables(model: Any, meta: Mapping[str, Any], gamma: FloatArray) -> AceTables:
    """Tables of one of ace-jax's models."""
    if meta.get("schema_version") != SCHEMA or not bool(model.ysolid):
        raise InputError(
            "The basis is of a kind that ace-jax makes and ndsc does not read. Use ace_jax.ACECalculator for it."
        )
    density = np.column_stack([np.asarray(model.aspec_r), np.asarray(model.aspec_y)]).astype(np.int64)
    products = tuple(np.asarray(group, dtype=np.int64) for group in model.aa_specs)
    # JAX takes the last one where a number is too large, without a word.
    if any(group.size and not 0 <= group.min() <= group.max() < len(density) for group in products):
        raise InputError("The products of the basis name densities that are not there. Build or fit it again.")
    degree = int(np.sqrt(density[:, 1].max()))
    powers, harmonics = _harmonics(model, degree)
    shape = (int(meta["n_B"]), sum(map(len, products)))
    entries = np.asarray(model.a2b_vals, dtype=float), (np.asarray(model.a2b_rows), np.asarray(model.a2b_cols))
    radial, n_radial, n_pair = _radial(model, len(meta["elements"]), float(meta["rcut"]))
    if not (density.min() >= 0 and density[:, 0].max() < n_radial and density[:, 1].max() < harmonics.shape[1]):
        raise InputError("The densities of the basis name functions that are not there. Build or fit it again.")
    if len(gamma) != len(meta["elements"]) * (shape[0] + n_pair) or not (gamma > 0).all():
        raise InputError("The prior of the basis does not fit its functions. Build it again.")
    return AceTables(
        elements=tuple(chemical_symbols[int(number)] for number in meta["elements"]),
        cutoff=float(meta["rcut"]),
        gamma=gamma,
        radial=radial,
        n_radial=n_radial,
        n_pair=n_pair,
        harmonics=harmonics,
        derivatives=_derivatives(powers, harmonics),
        powers=powers,
        density=density,
        products=products,
        coupling=csr_array(coo_array(entries, shape=shape)),
        source=json.loads(json.dumps(dict(meta))),
    )


def _radial(model: Any, n_elements: int, cutoff: float) -> tuple[dict[tuple[int, int], BSpline], int, int]:
    """Splines through ace-jax's radial functions, and how many are those of the density and of pairs."""
    import jax.numpy as jnp

    r = np.linspace(CLOSEST, cutoff, N_POINTS)
    vectors = jnp.asarray(np.column_stack([r, np.zeros((N_POINTS, 2))]))
    found, sizes = {}, (0, 0)
    for centre in range(n_elements):
        for neighbour in range(n_elements):
            species = (jnp.full(N_POINTS, number, dtype=jnp.int32) for number in (centre, neighbour))
            values = [np.asarray(part, dtype=float) for part in model.radial(vectors, *species)]
            sizes = values[0].shape[1], values[1].shape[1]
            found[centre, neighbour] = make_interp_spline(r, np.concatenate(values, axis=1), k=SPLINE_ORDER)
    return found, *sizes


def _harmonics(model: Any, degree: int) -> tuple[IntArray, FloatArray]:
    """Powers of x, y, z and the coefficients of ace-jax's solid harmonics in them."""
    import jax.numpy as jnp

    powers = np.array(
        [(a, b, n - a - b) for n in range(degree + 1) for a in range(n + 1) for b in range(n - a + 1)], dtype=np.int64
    )
    points = np.random.default_rng(0).uniform(-1.0, 1.0, size=(3 * len(powers), 3))
    terms = np.prod(points[:, None, :] ** powers[None], axis=-1)
    values = np.asarray(model.angular(jnp.asarray(points)), dtype=float)[:, : (degree + 1) ** 2]
    found = np.zeros((len(powers), values.shape[1]))
    for n in range(degree + 1):
        own, columns = powers.sum(axis=1) == n, slice(n**2, (n + 1) ** 2)
        found[own, columns] = np.linalg.lstsq(terms[:, own], values[:, columns], rcond=None)[0]
    if not np.max(np.abs(terms @ found - values)) < ROUNDING:
        raise FitError("The harmonics of ace-jax are not solid harmonics. Install the version that ndsc names.")
    return powers, found


def _derivatives(powers: IntArray, harmonics: FloatArray) -> FloatArray:
    """Coefficients of the derivatives with x, y and z of polynomials."""
    numbers = {tuple(power): number for number, power in enumerate(powers.tolist())}
    found = np.zeros((3, *harmonics.shape))
    for number, power in enumerate(powers.tolist()):
        for axis in range(3):
            if power[axis]:
                lower = [value - (1 if other == axis else 0) for other, value in enumerate(power)]
                found[axis, numbers[tuple(lower)]] += power[axis] * harmonics[number]
    return found
