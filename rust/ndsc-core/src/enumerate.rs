//! All symmetry-distinct supercells of a size, by numbering the Hermite normal forms and marking orbits in a bitmap.

use crate::context::Context;
use crate::error::Result;
use crate::hnf::{Hnf, Ranks};
use crate::int3::{Mat3, multiply};
use crate::symmetry::{check_group, up_to_sign};

/// Between two reports.
const CHUNK: u64 = 1 << 14;

/// The symmetry-distinct supercells of `size` cells, each the first of its orbit, in order, with the size of its orbit.
///
/// Memory: a bit for each Hermite normal form of the determinant, and 120 bytes for each supercell.
pub fn distinct_supercells(size: i64, rotations: &[Mat3], context: &Context) -> Result<Vec<(Hnf, i64)>> {
    check_group(rotations)?;
    let operations = up_to_sign(rotations);
    let count = crate::hnf::count_of_size(size)?;
    context.reserve(
        count / 8 + count / operations.len() as u128 * 128 + 4 * size as u128,
        &format!("the bitmap of the {count} supercells of {size} cells, and the distinct ones among them"),
        "use a smaller size",
    )?;
    let ranks = Ranks::new(size)?;
    let mut seen = vec![0_u64; (ranks.total() as usize).div_ceil(64)];
    let mut distinct = Vec::new();
    for rank in 0..ranks.total() {
        if rank % CHUNK == 0 {
            context.report(rank, ranks.total())?;
        }
        if seen[(rank / 64) as usize] >> (rank % 64) & 1 == 1 {
            continue;
        }
        let form = ranks.form(rank);
        let matrix = form.matrix();
        let mut orbit = 0;
        for r in &operations {
            // The group holds the inverse of each of its elements: S R runs through the orbit as S R^-1 does.
            let image = ranks.rank(&Hnf::of(&multiply(&matrix, r)?)?);
            let (word, bit) = ((image / 64) as usize, 1 << (image % 64));
            orbit += i64::from(seen[word] & bit == 0);
            seen[word] |= bit;
        }
        distinct.push((form, orbit));
    }
    context.report(ranks.total(), ranks.total())?;
    Ok(distinct)
}
