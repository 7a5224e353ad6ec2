//! The maximal cyclic subgroups of a grid of q-points, numbered, without a list of the q-points.
//!
//! The grid is the product of its p-parts, and so is each subgroup. A generator of a maximal cyclic subgroup of a p-part
//! is a q-point that is not p times another; units modulo p make it unique.

mod local;

use std::ops::Range;

use crate::context::{Context, Ticker};
use crate::error::{Error, Result};
use crate::int3::Vec3;
use crate::qpoint::Grid;

use local::{Local, lift, prime_powers};

/// The sum of two wrapped q-points, wrapped.
fn add(a: &Vec3, b: &Vec3, n: &Vec3) -> Vec3 {
    let mut sum = [0; 3];
    for i in 0..3 {
        let x = a[i] + b[i];
        sum[i] = if x >= n[i] { x - n[i] } else { x };
    }
    sum
}

/// Longest list of lifted generators of one p-part that is kept ready.
const LONGEST_TABLE: u64 = 1 << 20;

/// All maximal cyclic subgroups of a grid, numbered.
pub struct MaximalCyclic {
    grid: Grid,
    /// All p-parts but the last, slowest first.
    outer: Vec<Local>,
    /// The p-part with the most subgroups, fastest.
    inner: Option<Local>,
    table: Option<Vec<Option<Vec3>>>,
    total: u64,
}

impl MaximalCyclic {
    /// Those of `grid`.
    pub fn new(grid: &Grid) -> Result<Self> {
        let mut locals: Vec<Local> = grid.primes().iter().map(|&p| Local::new(grid, p)).collect();
        locals.sort_by_key(|l| l.total);
        let mut total = 1_u64;
        for local in &locals {
            total = total
                .checked_mul(local.total)
                .ok_or(Error::Overflow("number of subgroups of the grid"))?;
        }
        let inner = locals.pop();
        let table = inner
            .as_ref()
            .filter(|l| l.total <= LONGEST_TABLE)
            .map(|l| (0..l.total).map(|number| l.lifted(number, grid)).collect());
        Ok(Self {
            grid: grid.clone(),
            outer: locals,
            inner,
            table,
            total,
        })
    }

    /// How many numbers there are; a few stand for nothing.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn outer_generator(&self, mut number: u64) -> Option<Vec3> {
        let mut sum = [0; 3];
        for local in self.outer.iter().rev() {
            let k = local.lifted(number % local.total, &self.grid)?;
            number /= local.total;
            sum = add(&sum, &k, &self.grid.divisions());
        }
        Some(sum)
    }

    /// Calls `visit` with one generator of each subgroup of a range of numbers.
    pub fn visit(&self, range: Range<u64>, mut visit: impl FnMut(Vec3) -> Result<()>) -> Result<()> {
        let Some(inner) = &self.inner else {
            return if range.contains(&0) { visit([0; 3]) } else { Ok(()) };
        };
        let n = self.grid.divisions();
        let mut number = range.start;
        while number < range.end {
            let outer = number / inner.total;
            let end = range.end.min((outer + 1) * inner.total);
            if let Some(base) = self.outer_generator(outer) {
                for i in number - outer * inner.total..end - outer * inner.total {
                    let k = match &self.table {
                        Some(table) => table[i as usize],
                        None => inner.lifted(i, &self.grid),
                    };
                    if let Some(k) = k {
                        visit(add(&base, &k, &n))?;
                    }
                }
            }
            number = end;
        }
        Ok(())
    }
}

/// For one p-part: which of some rows (bits) make a unit modulo p with a generator.
struct Units {
    prime: i64,
    rows: Vec<Vec3>,
    /// By the residues of the generator, where there are few.
    table: Option<Vec<u64>>,
}

impl Units {
    /// Largest prime whose cubes of residues are tabulated.
    const LARGEST: i64 = 13;

    fn new(prime: i64, rows: &[Vec3]) -> Self {
        let rows = rows.iter().map(|row| row.map(|x| x.rem_euclid(prime))).collect();
        let mut units = Self {
            prime,
            rows,
            table: None,
        };
        if prime <= Self::LARGEST {
            let p = prime;
            let all =
                (0..p * p * p).map(|i| units.compute(&[i / (p * p), i / p % p, i % p], u64::MAX, false));
            units.table = Some(all.collect());
        }
        units
    }

    /// The wanted bits that are set; all, or the first of them.
    fn compute(&self, k: &Vec3, wanted: u64, first: bool) -> u64 {
        let k = k.map(|x| x % self.prime);
        let mut bits = 0;
        for (number, row) in self.rows.iter().enumerate().filter(|x| wanted >> x.0 & 1 == 1) {
            if (row[0] * k[0] + row[1] * k[1] + row[2] * k[2]) % self.prime != 0 {
                bits |= 1 << number;
                if first {
                    break;
                }
            }
        }
        bits
    }

    fn bits(&self, k: &Vec3, wanted: u64, first: bool) -> u64 {
        let p = self.prime;
        match &self.table {
            Some(table) => table[((k[0] % p * p + k[1] % p) * p + k[2] % p) as usize] & wanted,
            None => self.compute(k, wanted, first),
        }
    }
}

impl MaximalCyclic {
    /// Calls `visit` with a generator k of each subgroup for which `row . k` is prime to the grid for none of at most
    /// 64 rows. Most subgroups are passed over by a look at their residues.
    pub fn visit_without_unit(
        &self,
        rows: &[Vec3],
        context: &Context,
        mut visit: impl FnMut(Vec3) -> Result<()>,
    ) -> Result<()> {
        let Some(inner) = &self.inner else { return Ok(()) };
        let outer_units: Vec<Units> = self.outer.iter().map(|l| Units::new(l.prime, rows)).collect();
        let units = Units::new(inner.prime, rows);
        let bits_of = |number: u64, wanted: u64, first: bool| {
            inner.generator(number).map(|k| units.bits(&k, wanted, first))
        };
        let table: Option<Vec<Option<u64>>> = (inner.total <= LONGEST_TABLE && units.table.is_some())
            .then(|| (0..inner.total).map(|i| bits_of(i, u64::MAX, false)).collect());
        let mut ticker = Ticker::new();
        for outer in 0..self.total / inner.total {
            let Some(wanted) = self.outer_bits(outer, &outer_units) else {
                continue;
            };
            for i in 0..inner.total {
                let bits = match &table {
                    Some(table) => table[i as usize].map(|bits| bits & wanted),
                    None => bits_of(i, wanted, true),
                };
                if bits == Some(0) {
                    let number = outer * inner.total + i;
                    self.visit(number..number + 1, &mut visit)?;
                }
                ticker.tick(context, outer * inner.total + i, self.total)?;
            }
        }
        Ok(())
    }

    /// The rows that make a unit modulo every prime but the last; none where the number stands for nothing.
    fn outer_bits(&self, mut number: u64, units: &[Units]) -> Option<u64> {
        let mut bits = u64::MAX;
        for (local, units) in self.outer.iter().zip(units).rev() {
            bits &= units.bits(&local.generator(number % local.total)?, u64::MAX, false);
            number /= local.total;
        }
        Some(bits)
    }
}

/// A generator of a maximal cyclic subgroup that contains the q-point `k`.
pub fn maximal_generator(grid: &Grid, k: &Vec3) -> Vec3 {
    let n = grid.divisions();
    let k = grid.wrap(k);
    let mut generator = [0; 3];
    for &p in grid.primes() {
        let powers = prime_powers(grid, p);
        let mut local = [k[0] % powers[0], k[1] % powers[1], k[2] % powers[2]];
        if local == [0; 3] {
            // Every subgroup contains zero; take the first axis that the prime divides.
            local[powers.iter().position(|&x| x > 1).unwrap_or(0)] = 1;
        }
        while (0..3).all(|j| powers[j] == 1 || local[j] % p == 0) {
            local = local.map(|x| x / p);
        }
        let lifted = [0, 1, 2].map(|j| lift(local[j], powers[j], n[j]));
        generator = add(&generator, &lifted, &n);
    }
    generator
}
