//! The maximal cyclic subgroups of one p-part of a grid.

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
    pub(super) prime: i64,
    powers: Vec3,
    /// The numbers modulo each division that are 1 modulo its p-part and 0 modulo the rest.
    ones: Vec3,
    blocks: Vec<Block>,
    pub(super) total: u64,
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
    pub(super) fn generator(&self, number: u64) -> Option<Vec3> {
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
    pub(super) fn lifted(&self, number: u64, grid: &Grid) -> Option<Vec3> {
        let n = grid.divisions();
        let k = self.generator(number)?;
        // Factors below 2^20 each.
        Some([0, 1, 2].map(|j| k[j] * self.ones[j] % n[j]))
    }
}

/// The p-part of each division.
pub(super) fn prime_powers(grid: &Grid, p: i64) -> Vec3 {
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
pub(super) fn lift(x: i64, power: i64, n: i64) -> i64 {
    let rest = n / power;
    multiply_mod(rest, multiply_mod(x, inverse_mod(rest, power), power), n)
}
