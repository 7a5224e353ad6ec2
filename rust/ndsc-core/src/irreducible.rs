//! The irreducible q-points of dense grids, by marking stars.
//!
//! The first unmarked point of the grid stands for its star; its images are marked. That is done only on the lines along
//! the third axis that are the first of their orbits (see [`crate::lines`]): every star has its first point there, and
//! the rest of the map is copied line by line, at the speed of the memory.

use crate::context::{Context, Ticker};
use crate::error::{Error, Result};
use crate::int3::{Mat3, Vec3};
use crate::lines::{Images, Lines, actions, keep_lines};
use crate::qpoint::Grid;
use crate::symmetry::{check_group, on_grid, with_inversion};

/// Irreducible q-points: the first of each star in the order of the grid (third axis fastest), how many points each
/// stands for, and on request the star of every point of the grid.
pub struct Irreducible {
    /// Numerators.
    pub points: Vec<Vec3>,
    /// Sizes of the stars.
    pub weights: Vec<i64>,
    /// For each point of the grid the number of its star.
    pub mapping: Option<Vec<u32>>,
}

/// Which points are marked: a bit each, or the number of the star each.
trait Marks {
    /// Frees the points of a line.
    fn free_line(&mut self, start: usize, length: usize);
    fn is_free(&self, index: usize) -> bool;
    fn mark(&mut self, index: usize, star: u32);
}

struct Bits(Vec<u64>);

impl Marks for Bits {
    fn free_line(&mut self, _start: usize, _length: usize) {}
    fn is_free(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 0
    }
    fn mark(&mut self, index: usize, _star: u32) {
        self.0[index / 64] |= 1 << (index % 64);
    }
}

const FREE: u32 = u32::MAX;

struct Stars<'a>(&'a mut [u32]);

impl Marks for Stars<'_> {
    fn free_line(&mut self, start: usize, length: usize) {
        self.0[start..start + length].fill(FREE);
    }
    fn is_free(&self, index: usize) -> bool {
        self.0[index] == FREE
    }
    fn mark(&mut self, index: usize, star: u32) {
        self.0[index] = star;
    }
}

/// Marks the stars on the first lines; points, weights and the lines.
fn sweep<M: Marks>(
    grid: &Grid,
    group: &[Mat3],
    marks: &mut M,
    context: &Context,
) -> Result<(Vec<Vec3>, Vec<i64>, Lines)> {
    let n = grid.divisions();
    let length = n[2] as usize;
    let (keeping, others) = keep_lines(group, n)?;
    let lines = Lines::new(n, &keeping, context, |line| {
        marks.free_line(line * length, length);
    })?;
    let mut images = Images::new(n, &others);
    // Few stars are smaller than the group: a little more than one point in so many is irreducible.
    let expected = grid.len() as usize / group.len() * 5 / 4 + 16;
    let (mut points, mut weights) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
    let mut ticker = Ticker::new();
    for line in lines.firsts() {
        let own = [line as i64 / n[1], line as i64 % n[1]];
        let row = line * length;
        ticker.tick(context, row as u64, grid.len() as u64)?;
        let moves = lines.onto_itself(line);
        images.start(own[0], own[1]);
        for k in 0..length {
            if !marks.is_free(row + k) {
                continue;
            }
            let star = points.len() as u32;
            let mut fixing = 0;
            for step in moves {
                let image = step.image(k, length);
                marks.mark(row + image, star);
                fixing += usize::from(image == k);
            }
            for [x, y, z] in images.of(k) {
                let (first, step) = lines.origin(x * n[1] as usize + y);
                let origin = step.origin(z, length);
                for step in lines.onto_itself(first) {
                    let image = step.image(origin, length);
                    marks.mark(first * length + image, star);
                    fixing += usize::from(first == line && image == k);
                }
            }
            points.push([own[0], own[1], k as i64]);
            // The size of an orbit is the order of the group over that of the stabiliser.
            weights.push((group.len() / fixing) as i64);
        }
    }
    Ok((points, weights, lines))
}

/// The irreducible q-points of a grid under the rotations that keep it.
///
/// Memory: a bit for each q-point, or 4 bytes with `with_mapping`; 8 bytes for each line of them along the third axis,
/// and 64 bytes for each irreducible one.
pub fn irreducible(
    grid: &Grid,
    rotations: &[Mat3],
    time_reversal: bool,
    with_mapping: bool,
    context: &Context,
) -> Result<Irreducible> {
    reserve(grid, rotations.len(), with_mapping, context)?;
    if with_mapping {
        let mut mapping = vec![0; grid.len() as usize];
        let (points, weights) = irreducible_into(grid, rotations, time_reversal, &mut mapping, context)?;
        return Ok(Irreducible {
            points,
            weights,
            mapping: Some(mapping),
        });
    }
    let group = group(grid, rotations, time_reversal)?;
    let mut bits = Bits(vec![0; (grid.len() as usize).div_ceil(64)]);
    let (points, weights, _) = sweep(grid, &group, &mut bits, context)?;
    Ok(Irreducible {
        points,
        weights,
        mapping: None,
    })
}

/// The same, with the number of the star of every point written to `mapping`, which has a place for each.
pub fn irreducible_into(
    grid: &Grid,
    rotations: &[Mat3],
    time_reversal: bool,
    mapping: &mut [u32],
    context: &Context,
) -> Result<(Vec<Vec3>, Vec<i64>)> {
    if mapping.len() as i64 != grid.len() {
        return Err(Error::input(format!(
            "a map of {} places was given for the {} q-points of the grid",
            mapping.len(),
            grid.len()
        )));
    }
    let group = group(grid, rotations, time_reversal)?;
    let (points, weights, lines) = sweep(grid, &group, &mut Stars(mapping), context)?;
    lines.copy(mapping, context)?;
    Ok((points, weights))
}

/// Refuses a grid whose points do not fit into memory under a point group of this order.
pub fn reserve(grid: &Grid, order: usize, with_mapping: bool, context: &Context) -> Result<()> {
    let (bits, length) = (if with_mapping { 32 } else { 1 }, grid.len() as u128);
    context.reserve(
        length * bits / 8
            + Lines::memory(grid.divisions())
            + Images::memory(grid.divisions(), order)
            + length / order.max(1) as u128 * 64,
        &format!("the irreducible q-points of the grid {:?}", grid.divisions()),
        "use a coarser grid",
    )
}

/// How the rotations that keep the grid act on its points, each action once; they are a group.
fn group(grid: &Grid, rotations: &[Mat3], time_reversal: bool) -> Result<Vec<Mat3>> {
    check_group(rotations)?;
    let kept: Vec<Mat3> = on_grid(rotations, grid.divisions())?
        .into_iter()
        .map(|(_, m)| m)
        .collect();
    let operations = if time_reversal {
        with_inversion(&kept)?
    } else {
        kept
    };
    Ok(actions(&operations, grid.divisions()))
}
