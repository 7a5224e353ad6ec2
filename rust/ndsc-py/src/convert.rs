//! Arrays in and out: contiguous int64 and float64.

use numpy::ndarray::{Array2 as NdArray2, Array3 as NdArray3};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::to_python;
use ndsc_core::int3::{Mat3, Vec3};
use ndsc_core::qpoint::Grid;
use ndsc_core::reduce::Metric;

pub fn grid(py: Python<'_>, divisions: Vec3) -> PyResult<Grid> {
    Grid::new(divisions).map_err(|e| to_python(py, &e))
}

pub fn matrices(array: &PyReadonlyArray3<'_, i64>) -> PyResult<Vec<Mat3>> {
    let shape = array.shape();
    if shape[1] != 3 || shape[2] != 3 {
        return Err(PyValueError::new_err(format!("an array of shape (n, 3, 3) was expected, not {shape:?}")));
    }
    let view = array.as_array();
    Ok(view
        .outer_iter()
        .map(|m| std::array::from_fn(|i| std::array::from_fn(|j| m[[i, j]])))
        .collect())
}

pub fn vectors(array: &PyReadonlyArray2<'_, i64>) -> PyResult<Vec<Vec3>> {
    let shape = array.shape();
    if shape[1] != 3 {
        return Err(PyValueError::new_err(format!("an array of shape (n, 3) was expected, not {shape:?}")));
    }
    let view = array.as_array();
    Ok(view.outer_iter().map(|v| std::array::from_fn(|i| v[i])).collect())
}

pub fn metric(array: &PyReadonlyArray2<'_, f64>) -> PyResult<Metric> {
    let shape = array.shape();
    if shape != [3, 3] {
        return Err(PyValueError::new_err(format!("a metric of shape (3, 3) was expected, not {shape:?}")));
    }
    let view = array.as_array();
    Ok(std::array::from_fn(|i| std::array::from_fn(|j| view[[i, j]])))
}

pub fn array1(py: Python<'_>, values: Vec<i64>) -> Bound<'_, PyArray1<i64>> {
    values.into_pyarray(py)
}

pub fn array2<'py>(
    py: Python<'py>,
    rows: impl ExactSizeIterator<Item = Vec3>,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let n = rows.len();
    let flat: Vec<i64> = rows.flatten().collect();
    let array = NdArray2::from_shape_vec((n, 3), flat).map_err(|e| PyValueError::new_err(e.to_string()))?;
    Ok(array.into_pyarray(py))
}

pub fn array3<'py>(
    py: Python<'py>,
    rows: impl ExactSizeIterator<Item = Mat3>,
) -> PyResult<Bound<'py, PyArray3<i64>>> {
    let n = rows.len();
    let flat: Vec<i64> = rows.flat_map(|m| m.into_iter().flatten()).collect();
    let array = NdArray3::from_shape_vec((n, 3, 3), flat).map_err(|e| PyValueError::new_err(e.to_string()))?;
    Ok(array.into_pyarray(py))
}
