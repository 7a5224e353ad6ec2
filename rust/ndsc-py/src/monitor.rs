//! Long calls answer Ctrl-C and report their progress to a Python callable.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndsc_core::context::{Context, Monitor};
use ndsc_core::error::{Error, Result};
use pyo3::prelude::*;

use crate::error::to_python;

/// Between two looks at the signals.
const INTERVAL: Duration = Duration::from_millis(100);
/// Calls that take less say nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at Python's signals and calls `progress(done, total)`.
struct PythonMonitor {
    progress: Option<Py<PyAny>>,
    start: Instant,
    last: Mutex<Instant>,
    failure: Mutex<Option<PyErr>>,
}

impl Monitor for PythonMonitor {
    fn report(&self, done: u64, total: u64) -> Result<()> {
        let now = Instant::now();
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if now.duration_since(*last) < INTERVAL {
                return Ok(());
            }
            *last = now;
        }
        let outcome = Python::attach(|py| {
            py.check_signals()?;
            match &self.progress {
                Some(progress) if now.duration_since(self.start) > PATIENCE => {
                    progress.call1(py, (done, total)).map(|_| ())
                }
                _ => Ok(()),
            }
        });
        outcome.map_err(|failure| {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            Error::Interrupted
        })
    }
}

/// Runs `work` without the GIL; what it or its monitor raises becomes a Python exception.
pub fn run<T: Send>(
    py: Python<'_>,
    memory: u64,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&Context) -> Result<T> + Send,
) -> PyResult<T> {
    let start = Instant::now();
    let monitor = PythonMonitor {
        progress,
        start,
        last: Mutex::new(start),
        failure: Mutex::new(None),
    };
    let outcome = py.detach(|| {
        work(&Context {
            monitor: &monitor,
            memory,
        })
    });
    outcome.map_err(|error| {
        let failure = monitor
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        failure.unwrap_or_else(|| to_python(py, &error))
    })
}
