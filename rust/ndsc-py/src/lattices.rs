//! Supercells: normal forms, sets, reduction.

use ndsc_core::hnf::{self, Hnf};
use ndsc_core::qpoint::Grid;
use ndsc_core::{cover, enumerate, reduce, single, snf};
use numpy::{PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

use crate::convert::{
    Matrices, Vector, Vectors, forms_out, matrices, matrices_out, matrix, metric, vector_out, vectors_out,
};
use crate::error::to_python;
use crate::monitor::run;

#[pyfunction]
pub fn hermite_normal_form<'py>(
    py: Python<'py>,
    supercell: PyReadonlyArray2<'py, i64>,
) -> PyResult<(Vectors<'py>, Vectors<'py>)> {
    let (form, transform) = hnf::with_transform(&matrix(&supercell)?).map_err(|e| to_python(py, &e))?;
    Ok((
        vectors_out(py, form.matrix().to_vec())?,
        vectors_out(py, transform.to_vec())?,
    ))
}

#[pyfunction]
pub fn smith_normal_form<'py>(
    py: Python<'py>,
    supercell: PyReadonlyArray2<'py, i64>,
) -> PyResult<(Vector<'py>, Vectors<'py>, Vectors<'py>)> {
    let smith = snf::smith(&matrix(&supercell)?).map_err(|e| to_python(py, &e))?;
    Ok((
        vector_out(py, smith.diagonal.to_vec()),
        vectors_out(py, smith.left.to_vec())?,
        vectors_out(py, smith.right.to_vec())?,
    ))
}

#[pyfunction]
#[pyo3(signature = (determinant, memory, progress=None))]
pub fn hermite_normal_forms(
    py: Python<'_>,
    determinant: i64,
    memory: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Matrices<'_>> {
    let forms = run(py, memory, progress, |context| {
        hnf::all_of_size(determinant, context)
    })?;
    matrices_out(py, forms)
}

#[pyfunction]
#[pyo3(signature = (size, rotations, memory, progress=None))]
pub fn distinct_supercells<'py>(
    py: Python<'py>,
    size: i64,
    rotations: PyReadonlyArray3<'py, i64>,
    memory: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Matrices<'py>, Vector<'py>)> {
    let rotations = matrices(&rotations)?;
    let found = run(py, memory, progress, |context| {
        enumerate::distinct_supercells(size, &rotations, context)
    })?;
    let (forms, orbits): (Vec<Hnf>, Vec<i64>) = found.into_iter().unzip();
    Ok((forms_out(py, &forms)?, vector_out(py, orbits)))
}

#[pyfunction]
#[pyo3(signature = (divisions, rotations, memory, progress=None))]
pub fn minimal_cover<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
    memory: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Matrices<'py>> {
    let rotations = matrices(&rotations)?;
    let forms = run(py, memory, progress, |context| {
        cover::minimal_cover(&Grid::new(divisions)?, &rotations, context)
    })?;
    forms_out(py, &forms)
}

/// The minimal set piece by piece, in no particular order.
#[pyclass]
pub struct CoverIterator {
    inner: cover::CoverIterator,
}

#[pymethods]
impl CoverIterator {
    #[new]
    fn new(py: Python<'_>, divisions: [i64; 3], rotations: PyReadonlyArray3<'_, i64>) -> PyResult<Self> {
        let rotations = matrices(&rotations)?;
        let inner = py
            .detach(|| cover::CoverIterator::new(&Grid::new(divisions)?, &rotations))
            .map_err(|e| to_python(py, &e))?;
        Ok(Self { inner })
    }

    /// How many subgroups have been judged, and how many there are.
    #[getter]
    fn progress(&self) -> (u64, u64) {
        (self.inner.done(), self.inner.total())
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Matrices<'py>>> {
        loop {
            py.check_signals()?;
            match py
                .detach(|| self.inner.next_chunk())
                .map_err(|e| to_python(py, &e))?
            {
                None => return Ok(None),
                Some(forms) if forms.is_empty() => {}
                Some(forms) => return forms_out(py, &forms).map(Some),
            }
        }
    }
}

#[pyfunction]
pub fn smallest_single<'py>(
    py: Python<'py>,
    divisions: [i64; 3],
    rotations: PyReadonlyArray3<'py, i64>,
) -> PyResult<Vectors<'py>> {
    let rotations = matrices(&rotations)?;
    let form = py
        .detach(|| single::smallest_single(&Grid::new(divisions)?, &rotations))
        .map_err(|e| to_python(py, &e))?;
    vectors_out(py, form.matrix().to_vec())
}

#[pyfunction]
#[pyo3(signature = (supercells, cell_metric, progress=None))]
pub fn minkowski_reduce<'py>(
    py: Python<'py>,
    supercells: PyReadonlyArray3<'py, i64>,
    cell_metric: PyReadonlyArray2<'py, f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Matrices<'py>> {
    let supercells = matrices(&supercells)?;
    let metric = metric(&cell_metric)?;
    let reduced = run(py, u64::MAX, progress, |context| {
        reduce::minkowski_all(&supercells, &metric, context)
    })?;
    matrices_out(py, reduced)
}

#[pyfunction]
pub fn canonical_forms<'py>(
    py: Python<'py>,
    supercells: PyReadonlyArray3<'py, i64>,
) -> PyResult<Matrices<'py>> {
    let supercells = matrices(&supercells)?;
    let forms: Vec<Hnf> = py
        .detach(|| supercells.iter().map(Hnf::of).collect::<Result<_, _>>())
        .map_err(|e| to_python(py, &e))?;
    forms_out(py, &forms)
}

#[pyfunction]
pub fn lattice_points<'py>(
    py: Python<'py>,
    supercell: PyReadonlyArray2<'py, i64>,
    memory: u64,
) -> PyResult<Vectors<'py>> {
    let matrix = matrix(&supercell)?;
    let points = run(py, memory, None, |context| hnf::lattice_points(&matrix, context))?;
    vectors_out(py, points)
}
