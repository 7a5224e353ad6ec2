//! Core errors become the exceptions of `ndsc.errors`.

use ndsc_core::error::Error;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

/// The Python exception of a core error.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let name = match error {
        Error::Overflow(_) => "IntegerOverflowError",
        Error::Input(_) | Error::TooLarge(_) => "InputError",
        Error::Internal(_) => "InternalError",
        Error::Interrupted => return PyErr::new::<PyKeyboardInterrupt, _>(()),
    };
    let build = || -> PyResult<PyErr> {
        let class = py.import("ndsc.errors")?.getattr(name)?;
        Ok(PyErr::from_value(class.call1((sentence(&error.to_string()),))?))
    };
    build().unwrap_or_else(|failure| failure)
}

/// The message with a capital letter and a full stop, as the other messages of the package.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let capital = letters
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    format!(
        "{capital}{}{}",
        letters.as_str(),
        if message.ends_with('.') { "" } else { "." }
    )
}
