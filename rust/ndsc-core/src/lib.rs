//! Exact integer algebra of supercells and q-points.
//!
//! Conventions: rows of a supercell matrix S are lattice vectors in units of the unit cell; a q-point in reduced
//! coordinates is a column, and is commensurate with S exactly when `S q` is integer. Module order:
//! `error, context <- int3 <- hnf, snf, reduce <- sites, symmetry <- bravais, qpoint <- cyclic <- cover, irreducible,
//! enumerate, single`.

pub mod bravais;
pub mod context;
pub mod cover;
pub mod cyclic;
pub mod enumerate;
pub mod error;
pub mod hnf;
pub mod int3;
pub mod irreducible;
mod lines;
pub mod qpoint;
pub mod reduce;
pub mod single;
pub mod sites;
pub mod snf;
pub mod symmetry;
