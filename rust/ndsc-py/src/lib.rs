//! Python bindings of `ndsc-core`: convert, call without the GIL, map the error. Nothing is computed here.
#![allow(missing_docs)] // the Python docstrings live in the stub file

mod convert;
mod error;

use numpy::{PyArray1, PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

use convert::{array1, array2, array3, grid, matrices, metric, vectors};
use error::to_python;
use ndsc_core::{cover, enumerate, hnf, qpoint, reduce};

type Array1<'py> = Bound<'py, PyArray1<i64>>;
type Array2<'py> = Bound<'py, PyArray2<i64>>;
type Array3<'py> = Bound<'py, PyArray3<i64>>;

#[pyfunction]
fn hermite_normal_forms(py: Python<'_>, determinant: i64) -> PyResult<Array3<'_>> {
    let forms = py.detach(|| hnf::all_of_size(determinant)).map_err(|e| to_python(py, &e))?;
    array3(py, forms.iter().map(hnf::Hnf::matrix))
}

#[pyfunction]
fn distinct_supercells<'py>(
    py: Python<'py>,
    size: i64,
    rotations: PyReadonlyArray3<'py, i64>,
) -> PyResult<Array3<'py>> {
    let rotations = matrices(&rotations)?;
    let forms = py.detach(|| enumerate::distinct_supercells(size, &rotations)).map_err(|e| to_python(py, &e))?;
    array3(py, forms.iter().map(hnf::Hnf::matrix))
}

#[pyfunction]
fn minimal_cover<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
) -> PyResult<Array3<'py>> {
    let rotations = matrices(&rotations)?;
    let cover = py
        .detach(|| cover::minimal_cover(&qpoint::Grid::new(divisions)?, &rotations))
        .map_err(|e| to_python(py, &e))?;
    array3(py, cover.iter().map(hnf::Hnf::matrix))
}

#[pyfunction]
fn locate<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    qpoints: PyReadonlyArray2<'py, i64>,
) -> PyResult<(Array3<'py>, Array1<'py>)> {
    let rotations = matrices(&rotations)?;
    let qpoints = vectors(&qpoints)?;
    let grid = grid(py, divisions)?;
    let found: Vec<_> = py
        .detach(|| qpoints.iter().map(|k| cover::locate(&grid, &rotations, k)).collect::<Result<_, _>>())
        .map_err(|e| to_python(py, &e))?;
    let forms = array3(py, found.iter().map(|(form, _): &(hnf::Hnf, usize)| form.matrix()))?;
    Ok((forms, array1(py, found.iter().map(|(_, index)| *index as i64).collect())))
}

#[pyfunction]
fn irreducible_qpoints<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    time_reversal: bool,
) -> PyResult<(Array2<'py>, Array1<'py>)> {
    let rotations = matrices(&rotations)?;
    let (points, weights) = py
        .detach(|| qpoint::irreducible(&qpoint::Grid::new(divisions)?, &rotations, time_reversal))
        .map_err(|e| to_python(py, &e))?;
    Ok((array2(py, points.into_iter())?, array1(py, weights)))
}

#[pyfunction]
fn minkowski_reduce<'py>(
    py: Python<'py>,
    supercells: PyReadonlyArray3<'py, i64>,
    cell_metric: PyReadonlyArray2<'py, f64>,
) -> PyResult<Array3<'py>> {
    let supercells = matrices(&supercells)?;
    let metric = metric(&cell_metric)?;
    let reduced: Vec<_> = py
        .detach(|| {
            reduce::check_metric(&metric)?;
            supercells.iter().map(|s| reduce::minkowski(s, &metric)).collect::<Result<_, _>>()
        })
        .map_err(|e| to_python(py, &e))?;
    array3(py, reduced.into_iter())
}

#[pyfunction]
fn smallest_supercells<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    qpoints: PyReadonlyArray2<'py, i64>,
) -> PyResult<Array3<'py>> {
    let qpoints = vectors(&qpoints)?;
    let grid = grid(py, divisions)?;
    let forms: Vec<_> = py
        .detach(|| qpoints.iter().map(|k| grid.smallest_supercell(k)).collect::<Result<_, _>>())
        .map_err(|e| to_python(py, &e))?;
    array3(py, forms.iter().map(hnf::Hnf::matrix))
}

#[pyfunction]
fn canonical_forms<'py>(py: Python<'py>, supercells: PyReadonlyArray3<'py, i64>) -> PyResult<Array3<'py>> {
    let supercells = matrices(&supercells)?;
    let forms: Vec<_> = py
        .detach(|| supercells.iter().map(hnf::Hnf::of).collect::<Result<_, _>>())
        .map_err(|e| to_python(py, &e))?;
    array3(py, forms.iter().map(hnf::Hnf::matrix))
}

#[pyfunction]
fn lattice_points<'py>(py: Python<'py>, supercell: PyReadonlyArray2<'py, i64>) -> PyResult<Array2<'py>> {
    let rows = vectors(&supercell)?;
    let matrix: [[i64; 3]; 3] =
        rows.try_into().map_err(|_| pyo3::exceptions::PyValueError::new_err("a (3, 3) matrix was expected"))?;
    let points = py.detach(|| hnf::lattice_points(&matrix)).map_err(|e| to_python(py, &e))?;
    array2(py, points.into_iter())
}

/// The compiled core of ndsc; use the functions of `ndsc` instead.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(hermite_normal_forms, module)?)?;
    module.add_function(wrap_pyfunction!(distinct_supercells, module)?)?;
    module.add_function(wrap_pyfunction!(minimal_cover, module)?)?;
    module.add_function(wrap_pyfunction!(locate, module)?)?;
    module.add_function(wrap_pyfunction!(irreducible_qpoints, module)?)?;
    module.add_function(wrap_pyfunction!(minkowski_reduce, module)?)?;
    module.add_function(wrap_pyfunction!(smallest_supercells, module)?)?;
    module.add_function(wrap_pyfunction!(canonical_forms, module)?)?;
    module.add_function(wrap_pyfunction!(lattice_points, module)?)?;
    Ok(())
}
