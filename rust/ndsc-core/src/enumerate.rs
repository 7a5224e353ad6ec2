//! All symmetry-distinct supercells of a size.

use std::collections::HashSet;

use crate::error::Result;
use crate::hnf::{Hnf, all_of_size};
use crate::int3::{Mat3, multiply};
use crate::symmetry::check_group;

/// The symmetry-distinct supercells of `size` cells, each the first of its orbit, in order.
pub fn distinct_supercells(size: i64, rotations: &[Mat3]) -> Result<Vec<Hnf>> {
    check_group(rotations)?;
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for form in all_of_size(size)? {
        if seen.contains(&form) {
            continue;
        }
        distinct.push(form);
        let matrix = form.matrix();
        for r in rotations {
            seen.insert(Hnf::of(&multiply(&matrix, r)?)?);
        }
    }
    Ok(distinct)
}
