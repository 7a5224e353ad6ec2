//! The irreducible q-points of dense grids, by marking orbits.
//!
//! The first unmarked point of the grid stands for its star; its images are marked. Each image is three table look-ups
//! and three conditional subtractions, for all operations at once.

use crate::context::{Context, Ticker};
use crate::error::{Error, Result};
use crate::int3::{Mat3, Vec3};
use crate::lines;
use crate::qpoint::Grid;
use crate::symmetry::{LARGEST_POINT_GROUP, check_group, on_grid, with_inversion};

/// Operations, and their negatives with time reversal.
const LANES: usize = 2 * LARGEST_POINT_GROUP;

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

/// Indices of q-points: 32 bits where they suffice, which doubles what the processor does at a time.
trait Index: Copy + Default + PartialEq {
    fn from_i64(x: i64) -> Self;
    fn to_usize(self) -> usize;
    /// `a + b`, both below `wrap`, brought below it.
    fn wrapped(self, other: Self, wrap: Self) -> Self;
    fn plus(self, other: Self) -> Self;
}

macro_rules! index {
    ($integer:ty) => {
        impl Index for $integer {
            fn from_i64(x: i64) -> Self {
                x as $integer
            }
            fn to_usize(self) -> usize {
                self as usize
            }
            fn wrapped(self, other: Self, wrap: Self) -> Self {
                let sum = self + other;
                sum - if sum >= wrap { wrap } else { 0 }
            }
            fn plus(self, other: Self) -> Self {
                self + other
            }
        }
    };
}
index!(i32);
index!(i64);

/// What one coordinate contributes to the index of the image: by value of the coordinate, image axis and operation.
struct Contribution<I> {
    table: Vec<I>,
    lanes: usize,
}

impl<I: Index> Contribution<I> {
    fn new(operations: &[Mat3], n: Vec3, strides: Vec3, axis: usize) -> Self {
        let lanes = operations.len();
        // One step along the axis adds the same to every image; so each line is the one before it, wrapped.
        let mut step = Vec::with_capacity(3 * lanes);
        for i in 0..3 {
            step.extend(
                operations
                    .iter()
                    .map(|m| I::from_i64(m[i][axis].rem_euclid(n[i]) * strides[i])),
            );
        }
        let wraps = [0, 1, 2].map(|i| I::from_i64(n[i] * strides[i]));
        let mut table = vec![I::default(); 3 * lanes * n[axis] as usize];
        for k in 1..n[axis] as usize {
            let (done, rest) = table.split_at_mut(3 * lanes * k);
            let previous = &done[3 * lanes * (k - 1)..];
            for i in 0..3 {
                for lane in i * lanes..(i + 1) * lanes {
                    rest[lane] = previous[lane].wrapped(step[lane], wraps[i]);
                }
            }
        }
        Self { table, lanes }
    }

    fn of(&self, k: i64) -> [&[I]; 3] {
        let rows = &self.table[k as usize * 3 * self.lanes..(k as usize + 1) * 3 * self.lanes];
        let (x, rest) = rows.split_at(self.lanes);
        let (y, z) = rest.split_at(self.lanes);
        [x, y, z]
    }
}

/// Which points are marked: a bit each, or the number of the star each.
trait Marks {
    fn is_free(&self, index: usize) -> bool;
    /// Whether any of [`BLOCK`] points from an index on is free.
    fn is_any_free(&self, index: usize) -> bool;
    fn mark<I: Index>(&mut self, images: &[I], star: u32);
}

/// Points that are looked at together.
const BLOCK: usize = 16;

struct Bits(Vec<u64>);

impl Marks for Bits {
    fn is_free(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 0
    }
    fn is_any_free(&self, index: usize) -> bool {
        (index..index + BLOCK).any(|i| self.is_free(i))
    }
    fn mark<I: Index>(&mut self, images: &[I], _star: u32) {
        let words = self.0.as_mut_slice();
        for image in images {
            let index = image.to_usize();
            words[index / 64] |= 1 << (index % 64);
        }
    }
}

const FREE: u32 = u32::MAX;

struct Stars<'a>(&'a mut [u32]);

impl Marks for Stars<'_> {
    fn is_free(&self, index: usize) -> bool {
        self.0[index] == FREE
    }
    fn is_any_free(&self, index: usize) -> bool {
        self.0[index..index + BLOCK]
            .iter()
            .fold(0, |any, star| any | u32::from(*star == FREE))
            != 0
    }
    fn mark<I: Index>(&mut self, images: &[I], star: u32) {
        let stars = &mut *self.0;
        for image in images {
            stars[image.to_usize()] = star;
        }
    }
}

struct Sweep<I> {
    n: Vec3,
    wraps: [I; 3],
    contributions: [Contribution<I>; 3],
    lanes: usize,
}

impl<I: Index> Sweep<I> {
    fn new(n: Vec3, operations: &[Mat3]) -> Self {
        let strides = [n[1] * n[2], n[2], 1];
        let wraps = [0, 1, 2].map(|i| I::from_i64(n[i] * strides[i]));
        let contributions = [0, 1, 2].map(|axis| Contribution::new(operations, n, strides, axis));
        Self {
            n,
            wraps,
            contributions,
            lanes: operations.len(),
        }
    }

    /// By image axis and operation, what the first two coordinates contribute.
    fn base(&self, k0: i64, k1: i64) -> [[I; LANES]; 3] {
        let (first, second) = (self.contributions[0].of(k0), self.contributions[1].of(k1));
        let mut base = [[I::default(); LANES]; 3];
        for i in 0..3 {
            for lane in 0..self.lanes {
                base[i][lane] = first[i][lane].wrapped(second[i][lane], self.wraps[i]);
            }
        }
        base
    }

    fn images(&self, base: &[[I; LANES]; 3], k2: i64, images: &mut [I; LANES]) {
        let lanes = self.lanes;
        let [x, y, z] = self.contributions[2].of(k2);
        let (x, y, z) = (&x[..lanes], &y[..lanes], &z[..lanes]);
        let (bx, by, bz) = (&base[0][..lanes], &base[1][..lanes], &base[2][..lanes]);
        for (lane, image) in images[..lanes].iter_mut().enumerate() {
            *image = bx[lane]
                .wrapped(x[lane], self.wraps[0])
                .plus(by[lane].wrapped(y[lane], self.wraps[1]))
                .plus(bz[lane].wrapped(z[lane], self.wraps[2]));
        }
    }

    fn run<M: Marks>(&self, marks: &mut M, context: &Context) -> Result<(Vec<Vec3>, Vec<i64>)> {
        let n = self.n;
        // Few stars are smaller than the group: a little more than one point in so many is irreducible.
        let expected = (n[0] * n[1] * n[2]) as usize / self.lanes * 5 / 4 + 16;
        let (mut points, mut weights) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
        let mut images = [I::default(); LANES];
        let mut ticker = Ticker::new();
        for k0 in 0..n[0] {
            for k1 in 0..n[1] {
                let row = ((k0 * n[1] + k1) * n[2]) as usize;
                ticker.tick(context, row as u64, (n[0] * n[1] * n[2]) as u64)?;
                let mut base = None;
                let mut k2 = -1;
                loop {
                    k2 += 1;
                    while k2 + BLOCK as i64 <= n[2] && !marks.is_any_free(row + k2 as usize) {
                        k2 += BLOCK as i64;
                    }
                    if k2 >= n[2] {
                        break;
                    }
                    let own = row + k2 as usize;
                    if !marks.is_free(own) {
                        continue;
                    }
                    self.images(base.get_or_insert_with(|| self.base(k0, k1)), k2, &mut images);
                    let images = &images[..self.lanes];
                    marks.mark(images, points.len() as u32);
                    let target = I::from_i64(own as i64);
                    let fixing: u32 = images.iter().map(|image| u32::from(*image == target)).sum();
                    points.push([k0, k1, k2]);
                    // The size of an orbit is the order of the group over that of the stabiliser.
                    weights.push((self.lanes / fixing as usize) as i64);
                }
            }
        }
        Ok((points, weights))
    }
}

/// The irreducible q-points of a grid under the rotations that keep it.
///
/// Memory: a bit for each q-point, or 4 bytes with `with_mapping`, and 64 bytes for each irreducible one.
pub fn irreducible(
    grid: &Grid,
    rotations: &[Mat3],
    time_reversal: bool,
    with_mapping: bool,
    context: &Context,
) -> Result<Irreducible> {
    reserve(grid, rotations.len(), with_mapping, context)?;
    if with_mapping {
        let mut mapping = vec![FREE; grid.len() as usize];
        let (points, weights) = irreducible_into(grid, rotations, time_reversal, &mut mapping, context)?;
        return Ok(Irreducible {
            points,
            weights,
            mapping: Some(mapping),
        });
    }
    let operations = operations(grid, rotations, time_reversal)?;
    let n = grid.divisions();
    let (points, weights) = if lines::are_kept(&operations, n) {
        lines::sweep(n, &operations, None, context)?
    } else {
        run(
            grid,
            &operations,
            &mut Bits(vec![0; (grid.len() as usize).div_ceil(64)]),
            context,
        )?
    };
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
    let operations = operations(grid, rotations, time_reversal)?;
    let n = grid.divisions();
    if lines::are_kept(&operations, n) {
        return lines::sweep(n, &operations, Some(mapping), context);
    }
    mapping.fill(FREE);
    run(grid, &operations, &mut Stars(mapping), context)
}

/// Refuses a grid whose points do not fit into memory under a point group of this order.
pub fn reserve(grid: &Grid, order: usize, with_mapping: bool, context: &Context) -> Result<()> {
    let (bits, length) = (if with_mapping { 32 } else { 1 }, grid.len() as u128);
    context.reserve(
        length * bits / 8 + length / order.max(1) as u128 * 64,
        &format!("the irreducible q-points of the grid {:?}", grid.divisions()),
        "use a coarser grid",
    )
}

/// The operations on numerators. Where -1 acts as 1, two of them do the same; that leaves ratios of orders right.
fn operations(grid: &Grid, rotations: &[Mat3], time_reversal: bool) -> Result<Vec<Mat3>> {
    check_group(rotations)?;
    let kept: Vec<Mat3> = on_grid(rotations, grid.divisions())?
        .into_iter()
        .map(|(_, m)| m)
        .collect();
    Ok(if time_reversal {
        with_inversion(&kept)
    } else {
        kept
    })
}

fn run<M: Marks>(
    grid: &Grid,
    operations: &[Mat3],
    marks: &mut M,
    context: &Context,
) -> Result<(Vec<Vec3>, Vec<i64>)> {
    let n = grid.divisions();
    if grid.len() < i64::from(i32::MAX) / 2 {
        Sweep::<i32>::new(n, operations).run(marks, context)
    } else {
        Sweep::<i64>::new(n, operations).run(marks, context)
    }
}
