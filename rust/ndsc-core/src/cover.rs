//! The smallest set of supercells that holds every q-point of a grid up to symmetry.
//!
//! A supercell holds a subgroup of the q-points of the grid. Every q-point lies in a maximal cyclic subgroup, and the
//! smallest supercell that holds a generator of one is unique. So one supercell per orbit of maximal cyclic subgroups
//! under the point group covers the grid, every choice is forced, and the set minimises `sum(size^p)` for every
//! `p >= log2(3)`.
//!
//! A subgroup is kept when no operation brings it to a smaller Hermite normal form: each is judged on its own, so that
//! nothing is remembered but the answer, and threads cannot change it. Where N^2 bits are at hand, marking the images of
//! those that were met saves most of the judging.

mod axis;

use rayon::prelude::*;

use crate::context::{Context, Ticker};
use crate::cyclic::{MaximalCyclic, maximal_generator};
use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, gcd, inverse_mod};
use crate::qpoint::Grid;
use crate::symmetry::{check_group, on_grid, up_to_sign};

/// Subgroups between two reports, and in one piece of work for a thread.
const CHUNK: u64 = 1 << 17;
const PIECE: u64 = 1 << 12;

/// Isotropic grids: a q-point with a third coordinate prime to N has the form `[[1, 0, c], [0, 1, e], [0, 0, N]]`,
/// which comes before all others; `(c, e)` then costs one table look-up and two products.
struct Table {
    n: i64,
    reciprocal: u64,
    /// Largest sum of absolute elements in a row of an operation.
    bound: i64,
    /// Inverse of `x` modulo n at `x + bound * n`, 0 where there is none.
    inverse: Vec<u32>,
}

impl Table {
    const LARGEST: i64 = 1 << 24;

    fn new(grid: &Grid, operations: &[Mat3]) -> Option<Self> {
        let [n, n1, n2] = grid.divisions();
        let rows = operations.iter().flatten();
        let bound = rows
            .map(|row| {
                row.iter()
                    .map(|x| x.saturating_abs())
                    .fold(0, i64::saturating_add)
            })
            .max()?;
        let length = n.checked_mul(bound.checked_mul(2)?.checked_add(1)?)?;
        if n1 != n || n2 != n || length > Self::LARGEST {
            return None;
        }
        let one_period: Vec<u32> = (0..n)
            .map(|x| {
                if gcd(x, n) == 1 {
                    inverse_mod(x, n).max(i64::from(n == 1)) as u32
                } else {
                    0
                }
            })
            .collect();
        let inverse = one_period
            .iter()
            .copied()
            .cycle()
            .take((length + 1) as usize)
            .collect();
        Some(Self {
            n,
            reciprocal: u64::MAX / n as u64,
            bound,
            inverse,
        })
    }

    fn inverse(&self, x: i64) -> i64 {
        i64::from(self.inverse[(x + self.bound * self.n) as usize])
    }

    /// `-x inverse mod n`, for `|x| <= bound n`.
    fn entry(&self, x: i64, inverse: i64) -> i64 {
        let product = ((self.bound * self.n - x) * inverse) as u64;
        // Multiplying by floor(2^64 / n) gives the quotient or one less; dividing would take much longer.
        let quotient = ((u128::from(product) * u128::from(self.reciprocal)) >> 64) as u64;
        let remainder = (product - quotient * self.n as u64) as i64;
        if remainder >= self.n {
            remainder - self.n
        } else {
            remainder
        }
    }
}

fn row_times(row: &Vec3, k: &Vec3) -> i64 {
    row[0] * k[0] + row[1] * k[1] + row[2] * k[2]
}

/// Decides which subgroup stands for its orbit.
pub struct Orbits {
    grid: Grid,
    operations: Vec<Mat3>,
    table: Option<Table>,
}

impl Orbits {
    /// The operations of a point group that keep the grid.
    pub fn new(grid: &Grid, rotations: &[Mat3]) -> Result<Self> {
        check_group(rotations)?;
        let all: Vec<Mat3> = on_grid(rotations, grid.divisions())?
            .into_iter()
            .map(|(_, m)| m)
            .collect();
        let operations = up_to_sign(&all);
        let table = Table::new(grid, &operations);
        Ok(Self {
            grid: grid.clone(),
            operations,
            table,
        })
    }

    /// How many operations tell subgroups apart.
    pub fn order(&self) -> usize {
        self.operations.len()
    }

    /// The supercell of the q-point `k`, when it is the first of its orbit.
    pub fn first(&self, k: &Vec3) -> Result<Option<Hnf>> {
        if let Some(table) = &self.table {
            let inverse = table.inverse(k[2]);
            if inverse != 0 {
                return Ok(self.first_by_table(table, k, inverse));
            }
            if self
                .operations
                .iter()
                .any(|m| table.inverse(row_times(&m[2], k)) != 0)
            {
                return Ok(None);
            }
        }
        let own = self.grid.smallest_supercell(k)?;
        for m in &self.operations {
            if self.grid.smallest_supercell(&self.grid.rotate(m, k))? < own {
                return Ok(None);
            }
        }
        Ok(Some(own))
    }

    fn first_by_table(&self, table: &Table, k: &Vec3, inverse: i64) -> Option<Hnf> {
        let (c, e) = (table.entry(k[0], inverse), table.entry(k[1], inverse));
        for m in &self.operations {
            let inverse = table.inverse(row_times(&m[2], k));
            if inverse == 0 {
                continue;
            }
            let image_c = table.entry(row_times(&m[0], k), inverse);
            if image_c < c || image_c == c && table.entry(row_times(&m[1], k), inverse) < e {
                return None;
            }
        }
        Some(Hnf {
            size: table.n,
            a: 1,
            d: 1,
            b: 0,
            c,
            e,
        })
    }
}

/// The minimal set piece by piece, for grids whose set does not fit into memory.
pub struct CoverIterator {
    orbits: Orbits,
    subgroups: MaximalCyclic,
    next: u64,
}

impl CoverIterator {
    /// Starts at the beginning.
    pub fn new(grid: &Grid, rotations: &[Mat3]) -> Result<Self> {
        Ok(Self {
            orbits: Orbits::new(grid, rotations)?,
            subgroups: MaximalCyclic::new(grid)?,
            next: 0,
        })
    }

    /// How many subgroups are judged in all.
    pub fn total(&self) -> u64 {
        self.subgroups.total()
    }

    /// How many subgroups have been judged.
    pub fn done(&self) -> u64 {
        self.next
    }

    /// The supercells among the next subgroups (there may be none of them), or nothing at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Hnf>>> {
        let (start, end) = (self.next, self.total().min(self.next + CHUNK));
        if start == end {
            return Ok(None);
        }
        let pieces = (end - start).div_ceil(PIECE);
        let found = (0..pieces)
            .into_par_iter()
            .map(|piece| {
                let begin = start + piece * PIECE;
                let mut kept = Vec::new();
                self.subgroups.visit(begin..end.min(begin + PIECE), |k| {
                    kept.extend(self.orbits.first(&k)?);
                    Ok(())
                })?;
                Ok(kept)
            })
            .collect::<Result<Vec<Vec<Hnf>>>>()?;
        self.next = end;
        Ok(Some(found.concat()))
    }
}

/// One bit for each form `[[1, 0, c], [0, 1, e], [0, 0, N]]`.
struct Met {
    bits: Vec<u64>,
    n: i64,
}

impl Met {
    fn new(n: i64) -> Self {
        Self {
            bits: vec![0; ((n * n) as usize).div_ceil(64)],
            n,
        }
    }

    fn contains(&self, c: i64, e: i64) -> bool {
        let index = (c * self.n + e) as usize;
        self.bits[index / 64] >> (index % 64) & 1 == 1
    }

    fn insert(&mut self, c: i64, e: i64) {
        let index = (c * self.n + e) as usize;
        self.bits[index / 64] |= 1 << (index % 64);
    }
}

/// The cover of an isotropic grid: first the forms `[[1, 0, c], [0, 1, e], [0, 0, N]]` in their order, marking the images
/// of those that were not met; then the few subgroups that have no image among them.
fn cover_by_marking(pieces: &CoverIterator, table: &Table, context: &Context) -> Result<Vec<Hnf>> {
    let n = table.n;
    let mut met = Met::new(n);
    let mut cover = Vec::new();
    let mut ticker = Ticker::new();
    for c in 0..n {
        for e in 0..n {
            if met.contains(c, e) {
                continue;
            }
            cover.push(Hnf {
                size: n,
                a: 1,
                d: 1,
                b: 0,
                c,
                e,
            });
            let k = [n - c, n - e, 1];
            for m in &pieces.orbits.operations {
                // The first two numerators go up to n: a row of sum `bound` stays within `bound n`.
                let inverse = table.inverse(row_times(&m[2], &k));
                if inverse != 0 {
                    met.insert(
                        table.entry(row_times(&m[0], &k), inverse),
                        table.entry(row_times(&m[1], &k), inverse),
                    );
                }
            }
        }
        ticker.tick(context, (c * n) as u64, pieces.total())?;
    }
    let rows: Vec<Vec3> = pieces.orbits.operations.iter().map(|m| m[2]).collect();
    pieces.subgroups.visit_without_unit(&rows, context, |k| {
        cover.extend(pieces.orbits.first(&k)?);
        Ok(())
    })?;
    Ok(cover)
}

/// The smallest set of supercells, as Hermite normal forms in their order; each is the first of its orbit.
///
/// Time grows with the number of maximal cyclic subgroups (about N^2 for an isotropic grid), memory with the answer.
pub fn minimal_cover(grid: &Grid, rotations: &[Mat3], context: &Context) -> Result<Vec<Hnf>> {
    let mut pieces = CoverIterator::new(grid, rotations)?;
    let expected = u128::from(pieces.total()) / pieces.orbits.order() as u128;
    context.reserve(
        expected * (size_of::<Hnf>() + 2 * size_of::<Mat3>()) as u128,
        &format!(
            "the set of more than {expected} supercells for the grid {:?}",
            grid.divisions()
        ),
        "use a coarser grid, or go through the set piece by piece",
    )?;
    let [n, n1, n2] = grid.divisions();
    if n == n1
        && n == n2
        && let Some(operations) = axis::keeping_third(&pieces.orbits.operations, n)
    {
        return axis::cover(n, &operations, context);
    }
    let marks = (n as u128).pow(2) / 8;
    if let Some(table) = pieces
        .orbits
        .table
        .as_ref()
        .filter(|_| marks < u128::from(context.memory))
    {
        let mut cover = cover_by_marking(&pieces, table, context)?;
        cover.sort_unstable();
        return Ok(cover);
    }
    let mut cover = Vec::with_capacity(expected as usize);
    while let Some(chunk) = pieces.next_chunk()? {
        cover.extend(chunk);
        context.report(pieces.done(), pieces.total())?;
    }
    cover.sort_unstable();
    Ok(cover)
}

/// The supercell of the minimal set that holds a q-point, and the index of the rotation that brings it there.
pub fn locate(grid: &Grid, rotations: &[Mat3], k: &Vec3) -> Result<(Hnf, usize)> {
    let generator = maximal_generator(grid, k);
    let mut best: Option<(Hnf, usize)> = None;
    for (index, m) in on_grid(rotations, grid.divisions())? {
        let candidate = (grid.smallest_supercell(&grid.rotate(&m, &generator))?, index);
        best = Some(best.map_or(candidate, |b| b.min(candidate)));
    }
    best.ok_or(Error::Internal("locate: no rotation keeps the grid"))
}
