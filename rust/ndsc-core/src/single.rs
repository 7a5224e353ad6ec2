//! The smallest single supercell that holds a whole grid of q-points up to symmetry.
//!
//! It holds a subgroup H of the q-points A whose images under the point group cover A. If H has index j in A, at most
//! as many images as there are operations (up to sign) cover A, so j is at most that number; and H contains j A, so that
//! the cover is decided on A / j A, at most 24^3 points however dense the grid is.

use crate::error::{Error, Result};
use crate::hnf::{Hnf, Ranks};
use crate::int3::{Mat3, Vec3, adjugate, gcd, transpose};
use crate::qpoint::Grid;
use crate::symmetry::{check_group, on_grid, up_to_sign};

/// Whether the images of H (numerators, as a lattice) cover the q-points modulo `quotient`.
fn covers(subgroup: &Hnf, quotient: Vec3, operations: &[Mat3]) -> bool {
    for x in 0..quotient[0] {
        for y in 0..quotient[1] {
            for z in 0..quotient[2] {
                let k = [x, y, z];
                let held = operations.iter().any(|m| {
                    let image = [0, 1, 2].map(|i| m[i][0] * k[0] + m[i][1] * k[1] + m[i][2] * k[2]);
                    subgroup.contains(&image)
                });
                if !held {
                    return false;
                }
            }
        }
    }
    true
}

/// The supercell that holds exactly the q-points of a subgroup: dual to the lattice `B diag(1/N)`.
fn dual(subgroup: &Hnf, n: Vec3) -> Result<Hnf> {
    let transposed = transpose(&adjugate(&subgroup.matrix())?);
    let mut s = [[0; 3]; 3];
    for i in 0..3 {
        for j in 0..3 {
            let scaled = transposed[i][j]
                .checked_mul(n[j])
                .ok_or(Error::Overflow("single supercell"))?;
            s[i][j] = scaled / subgroup.size;
        }
    }
    Hnf::of(&s)
}

/// The smallest supercell that holds every q-point of the grid up to symmetry; among several the first.
pub fn smallest_single(grid: &Grid, rotations: &[Mat3]) -> Result<Hnf> {
    check_group(rotations)?;
    let n = grid.divisions();
    let all: Vec<Mat3> = on_grid(rotations, n)?.into_iter().map(|(_, m)| m).collect();
    let operations = up_to_sign(&all);
    for index in (1..=operations.len() as i64).rev() {
        let quotient = n.map(|x| gcd(x, index));
        let reduced: Vec<Mat3> = operations
            .iter()
            .map(|m| [0, 1, 2].map(|i| [0, 1, 2].map(|j| m[i][j].rem_euclid(n[i]))))
            .collect();
        let ranks = Ranks::new(index)?;
        let mut best: Option<Hnf> = None;
        for rank in 0..ranks.total() {
            let subgroup = ranks.form(rank);
            let inside = subgroup.contains(&[n[0], 0, 0])
                && subgroup.contains(&[0, n[1], 0])
                && subgroup.contains(&[0, 0, n[2]]);
            if inside && covers(&subgroup, quotient, &reduced) {
                let form = dual(&subgroup, n)?;
                best = Some(best.map_or(form, |b| b.min(form)));
            }
        }
        if let Some(form) = best {
            return Ok(form);
        }
    }
    Err(Error::Internal(
        "single supercell: the whole grid does not cover itself",
    ))
}
