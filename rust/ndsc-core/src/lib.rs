//! Exact integer algebra of supercells and q-points.
//!
//! Conventions: rows of a supercell matrix S are lattice vectors in units of the unit cell; a q-point in reduced
//! coordinates is a column, and is commensurate with S exactly when `S q` is integer. Module order:
//! `error <- int3 <- hnf <- symmetry <- qpoint <- cover, enumerate`, and `reduce` on `int3`.

pub mod cover;
pub mod enumerate;
pub mod error;
pub mod hnf;
pub mod int3;
pub mod qpoint;
pub mod reduce;
pub mod symmetry;
