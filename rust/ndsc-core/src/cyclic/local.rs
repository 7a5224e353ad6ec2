//! The maximal cyclic subgroups of one p-part of a grid.

use crate::int3::{Vec3, inverse_mod, multiply_mod};
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

    fn block(&self, number: u64) -> &Block {
        &self.blocks[self.blocks.partition_point(|b| b.offset <= number) - 1]
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
