//! Arrays in and out: contiguous int64 and float64.

use numpy::ndarray::{Array1, Array2, Array3};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use ndsc_core::hnf::Hnf;
use ndsc_core::int3::{Mat3, Vec3};
use ndsc_core::reduce::Metric;

pub type Vector<'py> = Bound<'py, PyArray1<i64>>;
pub type Vectors<'py> = Bound<'py, PyArray2<i64>>;
pub type Matrices<'py> = Bound<'py, PyArray3<i64>>;

fn wrong_shape(wanted: &str, shape: &[usize]) -> PyErr {
    PyValueError::new_err(format!("An array of shape {wanted} was expected, not {shape:?}."))
}

pub fn matrices(array: &PyReadonlyArray3<'_, i64>) -> PyResult<Vec<Mat3>> {
    let shape = array.shape();
    if shape[1] != 3 || shape[2] != 3 {
        return Err(wrong_shape("(n, 3, 3)", shape));
    }
    // `as_slice` also takes arrays in Fortran order, whose elements come in another order.
    if array.is_c_contiguous()
        && let Ok(flat) = array.as_slice()
    {
        let (rows, _) = flat.as_chunks::<3>();
        return Ok(rows.as_chunks::<3>().0.to_vec());
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
        return Err(wrong_shape("(n, 3)", shape));
    }
    let view = array.as_array();
    Ok(view.outer_iter().map(|v| std::array::from_fn(|i| v[i])).collect())
}

pub fn matrix(array: &PyReadonlyArray2<'_, i64>) -> PyResult<Mat3> {
    let rows = vectors(array)?;
    rows.try_into().map_err(|_| wrong_shape("(3, 3)", array.shape()))
}

pub fn metric(array: &PyReadonlyArray2<'_, f64>) -> PyResult<Metric> {
    if array.shape() != [3, 3] {
        return Err(wrong_shape("(3, 3)", array.shape()));
    }
    let view = array.as_array();
    Ok(std::array::from_fn(|i| std::array::from_fn(|j| view[[i, j]])))
}

pub fn reals(array: &PyReadonlyArray2<'_, f64>) -> PyResult<Vec<[f64; 3]>> {
    let shape = array.shape();
    if shape[1] != 3 {
        return Err(wrong_shape("(n, 3)", shape));
    }
    let view = array.as_array();
    Ok(view.outer_iter().map(|v| std::array::from_fn(|i| v[i])).collect())
}

pub fn reals_out(py: Python<'_>, rows: Vec<[f64; 3]>) -> PyResult<Bound<'_, PyArray2<f64>>> {
    table_out(py, rows.into_flattened(), 3)
}

/// Values in rows of `columns`.
pub fn table_out<T: numpy::Element>(
    py: Python<'_>,
    values: Vec<T>,
    columns: usize,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    let array = Array2::from_shape_vec((values.len() / columns, columns), values);
    Ok(array
        .map_err(|e| PyValueError::new_err(e.to_string()))?
        .into_pyarray(py))
}

pub fn vector_out(py: Python<'_>, values: Vec<i64>) -> Vector<'_> {
    Array1::from_vec(values).into_pyarray(py)
}

pub fn vectors_out(py: Python<'_>, rows: Vec<Vec3>) -> PyResult<Vectors<'_>> {
    let n = rows.len();
    let array = Array2::from_shape_vec((n, 3), rows.into_flattened());
    Ok(array
        .map_err(|e| PyValueError::new_err(e.to_string()))?
        .into_pyarray(py))
}

pub fn matrices_out(py: Python<'_>, rows: Vec<Mat3>) -> PyResult<Matrices<'_>> {
    let n = rows.len();
    let array = Array3::from_shape_vec((n, 3, 3), rows.into_flattened().into_flattened());
    Ok(array
        .map_err(|e| PyValueError::new_err(e.to_string()))?
        .into_pyarray(py))
}

pub fn forms_out<'py>(py: Python<'py>, forms: &[Hnf]) -> PyResult<Matrices<'py>> {
    matrices_out(py, forms.iter().map(Hnf::matrix).collect())
}
