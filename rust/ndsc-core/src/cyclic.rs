//! The maximal cyclic subgroups of a grid of q-points, numbered, without a list of the q-points.
//!
//! The grid is the product of its p-parts, and so is each subgroup. A generator of a maximal cyclic subgroup of a p-part
//! is a q-point that is not p times another; units modulo p make it unique.

use std::ops::Range;

use crate::context::{Context, Ticker};
use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Vec3, gcd, inverse_mod, multiply_mod};
use crate::qpoint::Grid;

/// Generators with one pivot: coordinate `pivot` is `value`, the others are multiples of their steps.
struct Block {
    pivot: usize,
    value: i64,
    steps: Vec3,
    counts: Vec3,
    offset: u64,
}

/// The maximal cyclic subgroups of one p-part of a grid, numbered.
pub struct Local {
    prime: i64,
    powers: Vec3,
    /// The numbers modulo each division that are 1 modulo its p-part and 0 modulo the rest.
    ones: Vec3,
    blocks: Vec<Block>,
    total: u64,
}

impl Local {
    /// Those of the prime `prime`.
    pub fn new(grid: &Grid, prime: i64) -> Self {
        let powers = prime_powers(grid, prime);
        let (mut blocks, mut offset) = (Vec::new(), 0_u64);
        for pivot in 0..3 {
            let mut value = 1;
            while value < powers[pivot] {
                // The pivot is the first coordinate of the highest order.
                let order = powers[pivot] / value;
                let (mut steps, mut counts) = ([1; 3], [1; 3]);
                for j in 0..3 {
                    if j != pivot {
                        steps[j] = (powers[j] / if j < pivot { order / prime } else { order }).max(1);
                        counts[j] = powers[j] / steps[j];
                    }
                }
                blocks.push(Block {
                    pivot,
                    value,
                    steps,
                    counts,
                    offset,
                });
                // At most 2^40: a division is at most 2^20 and one coordinate is the pivot.
                offset += (counts[0] * counts[1] * counts[2]) as u64;
                value *= prime;
            }
        }
        let n = grid.divisions();
        let ones = [0, 1, 2].map(|j| lift(1, powers[j], n[j]));
        Self {
            prime,
            powers,
            ones,
            blocks,
            total: offset,
        }
    }

    /// How many numbers there are; a few stand for nothing.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn block(&self, number: u64) -> &Block {
        &self.blocks[self.blocks.partition_point(|b| b.offset <= number) - 1]
    }

    /// The orders of some subgroups, given by their numbers in order, and how many there are of each.
    pub fn orders(&self, numbers: &[u32]) -> Vec<(i64, usize)> {
        let mut rest = numbers;
        let mut orders = Vec::new();
        for (place, block) in self.blocks.iter().enumerate() {
            let end = self.blocks.get(place + 1).map_or(self.total, |next| next.offset);
            let (own, others) = rest.split_at(rest.partition_point(|&x| u64::from(x) < end));
            if !own.is_empty() {
                orders.push((self.powers[block.pivot] / block.value, own.len()));
            }
            rest = others;
        }
        orders
    }

    /// The generator of a number; none where the number stands for a multiple of p.
    fn generator(&self, number: u64) -> Option<Vec3> {
        let block = self.block(number);
        let rest = (number - block.offset) as i64;
        let z = rest % block.counts[2];
        let y = rest / block.counts[2] % block.counts[1];
        let x = rest / block.counts[2] / block.counts[1];
        let mut k = [x * block.steps[0], y * block.steps[1], z * block.steps[2]];
        k[block.pivot] = block.value;
        (0..3)
            .any(|j| self.powers[j] > 1 && k[j] % self.prime != 0)
            .then_some(k)
    }

    /// The number of the subgroup that a q-point of the p-part generates, as numerators over the powers of p; none for a
    /// multiple of p.
    fn number(&self, k: &Vec3) -> Option<u64> {
        if (0..3).all(|j| self.powers[j] == 1 || k[j] % self.prime == 0) {
            return None;
        }
        // k_j = value times a unit, with the order powers / value.
        let value = [0, 1, 2].map(|j| gcd(k[j], self.powers[j]));
        let order = [0, 1, 2].map(|j| self.powers[j] / value[j]);
        let highest = order[0].max(order[1]).max(order[2]);
        let pivot = order.iter().position(|&x| x == highest)?;
        let inverse = inverse_mod(k[pivot] / value[pivot], highest);
        let block = self
            .blocks
            .iter()
            .find(|b| b.pivot == pivot && b.value == value[pivot])?;
        let mut number = 0;
        for j in 0..3 {
            if j != pivot {
                // Factors below 2^20 each; `order[j]` divides `highest`.
                let scaled = k[j] * inverse % self.powers[j];
                number = number * block.counts[j] + scaled / block.steps[j];
            }
        }
        Some(block.offset + number as u64)
    }

    /// The number of the subgroup that the p-part of a q-point of the whole grid generates.
    pub fn number_of_part(&self, k: &Vec3, grid: &Grid) -> Option<u64> {
        let n = grid.divisions();
        // k / N = c / power + (what the other primes contribute).
        self.number(&[0, 1, 2].map(|j| {
            let power = self.powers[j];
            multiply_mod(k[j] % power, inverse_mod(n[j] / power, power), power)
        }))
    }

    /// The numbers of the subgroups inside a supercell whose size is a power of p, ascending.
    pub fn inside(&self, form: &Hnf) -> Vec<u32> {
        let n = self.powers;
        let (f, d, a) = (form.f(), form.d, form.a);
        // Columns of the inverse of the form, as numerators, generate the q-points: x third + y second + z first.
        let third = [
            (form.b * form.e - form.c * d) * (n[0] / a) / (d * f) % n[0],
            -form.e * (n[1] / d) / f % n[1],
            n[2] / f,
        ];
        let second = [-form.b * (n[0] / a) / d % n[0], n[1] / d];
        let first = n[0] / a;
        // The multiple of `step`, in 0..count, that leads from `from` to `to` modulo `n`.
        let solve = |from: i64, to: i64, step: i64, n: i64| {
            let difference = (to - from).rem_euclid(n);
            (difference % step == 0).then_some(difference / step)
        };
        let mut found = Vec::new();
        for block in &self.blocks {
            let is_allowed = |j: usize, k: i64| k % block.steps[j] == 0;
            let pinned = |j: usize| block.pivot == j;
            let xs = if pinned(2) {
                match solve(0, block.value, third[2], n[2]) {
                    Some(x) => x..x + 1,
                    None => continue,
                }
            } else {
                0..f
            };
            for x in xs {
                let k2 = x * third[2];
                if !pinned(2) && !is_allowed(2, k2) {
                    continue;
                }
                let base1 = x * third[1];
                // The first of y, and the step to the next.
                let (start, step) = if block.pivot == 1 {
                    match solve(base1, block.value, second[1], n[1]) {
                        Some(y) => (y, d),
                        None => continue,
                    }
                } else if block.pivot == 0 {
                    // y second = value - x third modulo `first`, all but the unknown y powers of p times a unit.
                    let common = gcd(second[0], first);
                    let (rest, period) = ((block.value - x * third[0]).rem_euclid(first), first / common);
                    if rest % common != 0 {
                        continue;
                    }
                    (
                        rest / common * inverse_mod(second[0] / common, period) % period,
                        period,
                    )
                } else {
                    (0, 1)
                };
                for y in (start..d).step_by(step as usize) {
                    let k1 = (base1 + y * second[1]).rem_euclid(n[1]);
                    if !pinned(1) && !is_allowed(1, k1) {
                        continue;
                    }
                    let base0 = x * third[0] + y * second[0];
                    let zs = if pinned(0) {
                        match solve(base0, block.value, first, n[0]) {
                            Some(z) => z..z + 1,
                            None => continue,
                        }
                    } else {
                        0..a
                    };
                    for z in zs {
                        let k0 = (base0 + z * first).rem_euclid(n[0]);
                        let k = [k0, k1, k2];
                        if (pinned(0) || is_allowed(0, k0))
                            && (0..3).any(|j| n[j] > 1 && k[j] % self.prime != 0)
                        {
                            let mut number = 0;
                            for j in (0..3).filter(|&j| !pinned(j)) {
                                number = number * block.counts[j] + k[j] / block.steps[j];
                            }
                            found.push((block.offset + number as u64) as u32);
                        }
                    }
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// The same as numerators over the whole grid.
    fn lifted(&self, number: u64, grid: &Grid) -> Option<Vec3> {
        let n = grid.divisions();
        let k = self.generator(number)?;
        // Factors below 2^20 each.
        Some([0, 1, 2].map(|j| k[j] * self.ones[j] % n[j]))
    }
}

/// The p-part of each division.
fn prime_powers(grid: &Grid, p: i64) -> Vec3 {
    grid.divisions().map(|mut n| {
        let mut power = 1;
        while n % p == 0 {
            n /= p;
            power *= p;
        }
        power
    })
}

/// The number modulo `n` that is `x` modulo `power` and 0 modulo the rest of `n`.
fn lift(x: i64, power: i64, n: i64) -> i64 {
    let rest = n / power;
    multiply_mod(rest, multiply_mod(x, inverse_mod(rest, power), power), n)
}

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
