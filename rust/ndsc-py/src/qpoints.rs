//! q-points: numerators over a grid.

use ndsc_core::hnf::Hnf;
use ndsc_core::qpoint::{self, Grid};
use ndsc_core::{cover, irreducible};
use numpy::{PyArray3, PyArrayMethods, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

use crate::convert::{
    Matrices, Vector, Vectors, forms_out, matrices, matrix, vector_out, vectors, vectors_out,
};
use crate::error::to_python;
use crate::monitor::run;

fn grid(py: Python<'_>, divisions: [i64; 3]) -> PyResult<Grid> {
    Grid::new(divisions).map_err(|e| to_python(py, &e))
}

#[pyfunction]
pub fn orders<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    qpoints: PyReadonlyArray2<'py, i64>,
) -> PyResult<Vector<'py>> {
    let grid = grid(py, divisions)?;
    let orders: Result<Vec<i64>, _> = vectors(&qpoints)?
        .iter()
        .map(|k| grid.order(&grid.wrap(k)))
        .collect();
    Ok(vector_out(py, orders.map_err(|e| to_python(py, &e))?))
}

#[pyfunction]
pub fn are_commensurate<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    supercell: PyReadonlyArray2<'py, i64>,
    qpoints: PyReadonlyArray2<'py, i64>,
) -> PyResult<Vec<bool>> {
    let grid = grid(py, divisions)?;
    let matrix = matrix(&supercell)?;
    Ok(vectors(&qpoints)?
        .iter()
        .map(|k| qpoint::is_commensurate(&matrix, &grid, k))
        .collect())
}

#[pyfunction]
pub fn smallest_supercells<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    qpoints: PyReadonlyArray2<'py, i64>,
) -> PyResult<Matrices<'py>> {
    let grid = grid(py, divisions)?;
    let qpoints = vectors(&qpoints)?;
    let forms: Vec<Hnf> = py
        .detach(|| {
            qpoints
                .iter()
                .map(|k| grid.smallest_supercell(k))
                .collect::<Result<_, _>>()
        })
        .map_err(|e| to_python(py, &e))?;
    forms_out(py, &forms)
}

#[pyfunction]
pub fn star<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    qpoint: [i64; 3],
) -> PyResult<(Vectors<'py>, Vector<'py>)> {
    let images = qpoint::star(&grid(py, divisions)?, &matrices(&rotations)?, &qpoint)
        .map_err(|e| to_python(py, &e))?;
    let (points, indices): (Vec<_>, Vec<_>) = images.into_iter().map(|(k, i)| (k, i as i64)).unzip();
    Ok((vectors_out(py, points)?, vector_out(py, indices)))
}

#[pyfunction]
pub fn little_group<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    qpoint: [i64; 3],
) -> PyResult<Vector<'py>> {
    let indices = qpoint::little_group(&grid(py, divisions)?, &matrices(&rotations)?, &qpoint)
        .map_err(|e| to_python(py, &e))?;
    Ok(vector_out(py, indices.into_iter().map(|i| i as i64).collect()))
}

#[pyfunction]
pub fn locate<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    qpoints: PyReadonlyArray2<'py, i64>,
) -> PyResult<(Matrices<'py>, Vector<'py>)> {
    let rotations = matrices(&rotations)?;
    let qpoints = vectors(&qpoints)?;
    let grid = grid(py, divisions)?;
    let found: Vec<(Hnf, usize)> = py
        .detach(|| {
            qpoints
                .iter()
                .map(|k| cover::locate(&grid, &rotations, k))
                .collect::<Result<_, _>>()
        })
        .map_err(|e| to_python(py, &e))?;
    let forms: Vec<Hnf> = found.iter().map(|(form, _)| *form).collect();
    Ok((
        forms_out(py, &forms)?,
        vector_out(py, found.iter().map(|(_, index)| *index as i64).collect()),
    ))
}

#[pyfunction]
#[pyo3(signature = (divisions, rotations, time_reversal, memory, progress=None))]
pub fn irreducible_qpoints<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    time_reversal: bool,
    memory: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Vectors<'py>, Vector<'py>)> {
    let rotations = matrices(&rotations)?;
    let found = run(py, memory, progress, |context| {
        irreducible::irreducible(&Grid::new(divisions)?, &rotations, time_reversal, false, context)
    })?;
    Ok((vectors_out(py, found.points)?, vector_out(py, found.weights)))
}

type WithMap<'py> = (Vectors<'py>, Vector<'py>, Bound<'py, PyArray3<u32>>);

#[pyfunction]
#[pyo3(signature = (divisions, rotations, time_reversal, memory, progress=None))]
pub fn irreducible_qpoints_with_map<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    time_reversal: bool,
    memory: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<WithMap<'py>> {
    let rotations = matrices(&rotations)?;
    let grid = grid(py, divisions)?;
    let order = rotations.len();
    run(py, memory, None, |context| {
        irreducible::reserve(&grid, order, true, context)
    })?;
    // NumPy allocates large arrays in huge pages, which halves the time of the scattered writes.
    let shape = divisions.map(|x| x as usize);
    let empty = py.import("numpy")?.call_method1("empty", (shape, "uint32"))?;
    let mapping: Bound<'py, PyArray3<u32>> = empty.cast_into()?;
    let mut writable = mapping.try_readwrite()?;
    let places = writable.as_slice_mut()?;
    let (points, weights) = run(py, memory, progress, |context| {
        irreducible::irreducible_into(&grid, &rotations, time_reversal, places, context)
    })?;
    drop(writable);
    Ok((vectors_out(py, points)?, vector_out(py, weights), mapping))
}
