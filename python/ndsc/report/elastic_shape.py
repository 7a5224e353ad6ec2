"""The picture of a crystal's elastic constants: the Voigt matrix, and Young's modulus by direction."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ndsc.elastic import ElasticConstants
from ndsc.report.style import GRID, MODEL, MUTED, SECOND, THIRD, new_figure, paper_style, plain

FloatArray = NDArray[np.float64]

#: The planes of the standard axes that directions turn in.
_PLANES = (("xy", (0, 1), MODEL), ("xz", (0, 2), SECOND), ("yz", (1, 2), THIRD))
_STRESSES = ("xx", "yy", "zz", "yz", "xz", "xy")
#: Directions of one turn.
_STEPS = 361


def young_modulus_along(compliance: ArrayLike, directions: ArrayLike) -> FloatArray:
    """Young's modulus along directions: stress over strain when a crystal is pulled along each of them.

    Parameters
    ----------
    compliance : (6, 6) array, 1/GPa
        In Voigt order with engineering shear strains (:attr:`~ndsc.elastic.ElasticConstants.compliance`).
    directions : (n, 3) array
        Unit vectors.

    Returns
    -------
    (n,) array, GPa
    """
    x, y, z = np.asarray(directions, dtype=float).T
    stress = np.stack([x * x, y * y, z * z, y * z, x * z, x * y], axis=-1)
    strain = np.einsum("ni,ij,nj->n", stress, np.asarray(compliance, dtype=float), stress)
    return np.asarray(1.0 / strain, dtype=float)


def in_plane_modulus(in_plane: dict[str, float], angles: ArrayLike) -> FloatArray:
    """Young's modulus of a sheet along directions in its plane.

    Parameters
    ----------
    in_plane : dict of str to float, N/m
        :attr:`~ndsc.elastic.ElasticConstants.in_plane`.
    angles : (n,) array, radians
        From the x axis.

    Returns
    -------
    (n,) array, N/m
    """
    c11, c22, c12, c66, c16, c26 = (in_plane.get(f"C{i}", 0.0) for i in (11, 22, 12, 66, 16, 26))
    compliance = np.linalg.inv([[c11, c12, c16], [c12, c22, c26], [c16, c26, c66]])
    x, y = np.cos(np.asarray(angles, dtype=float)), np.sin(np.asarray(angles, dtype=float))
    stress = np.stack([x * x, y * y, x * y], axis=-1)
    return np.asarray(1.0 / np.einsum("ni,ij,nj->n", stress, compliance, stress), dtype=float)


def elastic_figure(constants: ElasticConstants, *, title: str = "") -> Figure:
    """Draw the Voigt matrix, and beside it Young's modulus by direction in the planes of the standard axes.

    Of a sheet, the modulus in its plane is drawn; of a crystal that is not stable, of wires and of molecules, the
    matrix alone.

    Parameters
    ----------
    constants : ElasticConstants
    title : str
        Above the matrix.
    """
    directional = constants.stable and constants.dimension >= 2
    with paper_style():
        figure = new_figure(7.4 if directional else 4.0, 3.7)
        grid = figure.add_gridspec(1, 2 if directional else 1)
        _draw_matrix(figure.add_subplot(grid[0, 0]), constants, title)
        if directional:
            _draw_moduli(figure.add_subplot(grid[0, 1], projection="polar"), constants)
    return figure


def _draw_matrix(axes: Axes, constants: ElasticConstants, title: str) -> None:
    matrix, names = constants.matrix, list(_STRESSES)
    if constants.unit == "N/m":
        matrix, names = _matrix_of_sheet(constants), ["xx", "yy", "xy"]
    largest = float(np.abs(matrix).max()) or 1.0
    axes.imshow(matrix / largest, cmap="RdBu", vmin=-1.6, vmax=1.6)
    # What symmetry forbids is zero up to rounding.
    digits = 0 if largest >= 1000 else 1
    for row, column in np.ndindex(*matrix.shape):
        value = float(matrix[row, column])
        zero = abs(value) < 1e-6 * largest
        axes.text(
            column, row, "·" if zero else f"{value:.{digits}f}".replace("-", "−"), ha="center", va="center",
            fontsize=8.5, color=MUTED if zero else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_xlabel("strain")
    axes.set_ylabel("stress")
    ions = "relaxed ions" if constants.relaxed_ions else "clamped ions"
    what = ions if constants.stable else f"{ions}, not stable"
    what = f"Elastic constants ({constants.unit}), {what}"
    axes.set_title(f"{plain(title)}\n{what}" if title else what)


def _matrix_of_sheet(constants: ElasticConstants) -> FloatArray:
    """(3, 3) array, N/m : the Voigt matrix in the plane of a sheet."""
    indices = (("11", "12", "16"), ("12", "22", "26"), ("16", "26", "66"))
    return np.array([[constants.in_plane.get(f"C{name}", 0.0) for name in row] for row in indices])


def _draw_moduli(axes: Axes, constants: ElasticConstants) -> None:
    angles = np.linspace(0.0, 2.0 * np.pi, _STEPS)
    if constants.dimension == 2:
        axes.plot(angles, in_plane_modulus(constants.in_plane, angles), color=MODEL, linewidth=1.4)
        axes.set_title("Young's modulus in the plane (N/m)")
    else:
        for number, (name, (first, second), colour) in enumerate(_PLANES):
            directions = np.zeros((_STEPS, 3))
            directions[:, first], directions[:, second] = np.cos(angles), np.sin(angles)
            moduli = young_modulus_along(constants.compliance, directions)
            # Planes that symmetry makes the same lie on each other: each is drawn thinner than the one below.
            axes.plot(angles, moduli, color=colour, linewidth=3.2 - 1.1 * number, label=name)
        axes.set_title("Young's modulus by direction (GPa)")
        axes.legend(
            title="plane, with the angle from its first axis", title_fontsize=8.5, fontsize=8.5, loc="upper center",
            bbox_to_anchor=(0.5, -0.06), ncols=3, handlelength=1.4,
        )  # fmt: skip
    axes.set_rmin(0.0)  # type: ignore[attr-defined]
    axes.set_rlabel_position(22.5)  # type: ignore[attr-defined]
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(labelsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.spines["polar"].set_color(GRID)
