//! Python bindings of `ndsc-core`: convert, call without the GIL, map the error. Nothing is computed here.
#![allow(missing_docs)] // The Python signatures live in python/ndsc/_core.pyi.
#![allow(clippy::needless_pass_by_value)] // Readonly arrays are extracted by value.

mod convert;
mod error;
mod lattices;
mod monitor;
mod qpoints;
mod structures;

use pyo3::prelude::*;

/// The compiled core of ndsc; use the functions of `ndsc` instead.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::lattices::{
        CoverIterator, canonical_forms, distinct_supercells, hermite_normal_form, hermite_normal_forms,
        lattice_points, minimal_cover, minkowski_reduce, smallest_single, smith_normal_form,
    };
    #[pymodule_export]
    use crate::qpoints::{
        are_commensurate, irreducible_qpoints, irreducible_qpoints_with_map, little_group, locate, orders,
        smallest_supercells, star,
    };
    #[pymodule_export]
    use crate::structures::{overlap, shortest_distance, site_images, symmetry_operations};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
