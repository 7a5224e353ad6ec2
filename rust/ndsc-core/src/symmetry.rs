//! The point group acting on q-points: integer matrices R, `q' = R q` for columns of reduced coordinates.
//!
//! A supercell matrix S (rows in units of the cell) goes to `S R^-1`, so that `S q` integer stays `S' q'` integer.

use crate::error::{Error, Result};
use crate::int3::{IDENTITY, Mat3, determinant, multiply};

/// The largest finite group of 3x3 integer matrices.
pub const LARGEST_POINT_GROUP: usize = 48;

/// Checks that the matrices are a group: each of determinant 1 or -1, all different, closed under products.
pub fn check_group(rotations: &[Mat3]) -> Result<()> {
    if rotations.is_empty() || rotations.len() > LARGEST_POINT_GROUP {
        return Err(Error::input(format!(
            "{} rotations are no crystallographic point group, which has 1 to {LARGEST_POINT_GROUP}",
            rotations.len()
        )));
    }
    let mut sorted = rotations.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::input(
            "some of the rotations are equal; give each operation of the point group once",
        ));
    }
    for r in rotations {
        let det = determinant(r)?;
        if det != 1 && det != -1 {
            return Err(Error::input(format!(
                "the rotation {r:?} has determinant {det}, not 1 or -1"
            )));
        }
    }
    // Generate from as few matrices as possible: everything that comes out must be given.
    let mut is_generated: Vec<bool> = sorted.iter().map(|m| *m == IDENTITY).collect();
    let mut generated = vec![IDENTITY];
    let mut generators: Vec<Mat3> = Vec::new();
    for (number, r) in sorted.iter().enumerate() {
        if is_generated[number] {
            continue;
        }
        generators.push(*r);
        let mut queue = generated.clone();
        while let Some(element) = queue.pop() {
            for g in &generators {
                let product = multiply(g, &element)?;
                let Ok(place) = sorted.binary_search(&product) else {
                    return Err(Error::input(format!(
                        "the rotations are no group: the product of {g:?} and {element:?} is missing"
                    )));
                };
                if !is_generated[place] {
                    is_generated[place] = true;
                    generated.push(product);
                    queue.push(product);
                }
            }
        }
    }
    if generated.len() != rotations.len() {
        return Err(Error::input(
            "the rotations are no group: the identity is missing",
        ));
    }
    Ok(())
}

fn are_opposite(a: &Mat3, b: &Mat3) -> bool {
    let mut pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.all(|(x, y)| x.checked_add(*y) == Some(0))
}

/// One of each pair R, -R: both do the same to a lattice.
pub fn up_to_sign(operations: &[Mat3]) -> Vec<Mat3> {
    let mut kept: Vec<Mat3> = Vec::new();
    for m in operations {
        if !kept.iter().any(|other| are_opposite(other, m)) {
            kept.push(*m);
        }
    }
    kept
}

/// The operations and their negatives, each once.
pub fn with_inversion(operations: &[Mat3]) -> Result<Vec<Mat3>> {
    let mut all = operations.to_vec();
    for m in operations {
        let mut negative = *m;
        for x in negative.iter_mut().flatten() {
            *x = x
                .checked_neg()
                .ok_or(Error::Overflow("inversion of a rotation"))?;
        }
        all.push(negative);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// How each rotation acts on numerators over the grid, `k' = M k mod N` with `M_ij = N_i R_ij / N_j`, for those
/// rotations that map the grid onto itself; with the index of each in `rotations`.
pub fn on_grid(rotations: &[Mat3], grid: [i64; 3]) -> Result<Vec<(usize, Mat3)>> {
    let mut found = Vec::new();
    'rotation: for (index, r) in rotations.iter().enumerate() {
        let mut m = [[0; 3]; 3];
        for i in 0..3 {
            for j in 0..3 {
                let scaled = grid[i]
                    .checked_mul(r[i][j])
                    .ok_or(Error::Overflow("rotation of a grid"))?;
                if scaled % grid[j] != 0 {
                    continue 'rotation;
                }
                m[i][j] = scaled / grid[j];
            }
        }
        found.push((index, m));
    }
    Ok(found)
}
