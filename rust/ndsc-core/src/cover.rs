//! The smallest set of supercells that holds every q-point of a grid up to symmetry.
//!
//! A supercell holds a subgroup of the q-points of the grid. Every q-point lies in a maximal cyclic subgroup, and the
//! smallest supercell that holds a generator of one is unique. So one supercell per orbit of maximal cyclic subgroups
//! under the point group covers the grid, every choice is forced, and the set minimises `sum(size^p)` for every
//! `p >= log2(3)`.

use std::collections::HashSet;

use crate::error::Result;
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, inverse_mod, multiply_mod};
use crate::qpoint::Grid;
use crate::symmetry::{check_group, on_grid};

/// The maximal cyclic subgroups of the p-part of a grid, each by one generator modulo the p-parts of the divisions.
///
/// A generator is a q-point that is not p times another. Its pivot is the first coordinate of the highest order; units
/// bring the pivot to a power of p, which leaves nothing to choose.
fn local_generators(p: i64, powers: Vec3) -> Vec<Vec3> {
    let mut found = Vec::new();
    for pivot in 0..3 {
        let mut value = 1;
        while value < powers[pivot] {
            let order = powers[pivot] / value;
            // Coordinates before the pivot have a lower order, those after it an order at most as high.
            let step = |j: usize| {
                if j == pivot { powers[j] } else { (powers[j] / if j < pivot { order / p } else { order }).max(1) }
            };
            let (s0, s1, s2) = (step(0), step(1), step(2));
            for x in (0..powers[0]).step_by(s0 as usize) {
                for y in (0..powers[1]).step_by(s1 as usize) {
                    for z in (0..powers[2]).step_by(s2 as usize) {
                        let mut k = [x, y, z];
                        k[pivot] = value;
                        if (0..3).any(|j| powers[j] > 1 && k[j] % p != 0) {
                            found.push(k);
                        }
                    }
                }
            }
            value *= p;
        }
    }
    found
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

/// One generator of each maximal cyclic subgroup of the grid.
fn generators(grid: &Grid) -> Vec<Vec3> {
    let n = grid.divisions();
    let mut all = vec![[0; 3]];
    for &p in grid.primes() {
        let powers = prime_powers(grid, p);
        let local: Vec<Vec3> = local_generators(p, powers)
            .iter()
            .map(|k| [lift(k[0], powers[0], n[0]), lift(k[1], powers[1], n[1]), lift(k[2], powers[2], n[2])])
            .collect();
        all = all
            .iter()
            .flat_map(|k| local.iter().map(|l| grid.wrap(&[k[0] + l[0], k[1] + l[1], k[2] + l[2]])))
            .collect();
    }
    all
}

/// A maximal generator whose multiples contain the q-point `k`.
fn maximal_generator(grid: &Grid, k: &Vec3) -> Vec3 {
    let n = grid.divisions();
    let mut generator = [0; 3];
    for &p in grid.primes() {
        let powers = prime_powers(grid, p);
        let mut local = [k[0].rem_euclid(powers[0]), k[1].rem_euclid(powers[1]), k[2].rem_euclid(powers[2])];
        if local == [0; 3] {
            let axis = if powers[0] > 1 { 0 } else if powers[1] > 1 { 1 } else { 2 };
            local[axis] = 1;
        }
        while (0..3).all(|j| local[j] % p == 0 || powers[j] == 1) {
            local = local.map(|x| x / p);
        }
        for j in 0..3 {
            generator[j] += lift(local[j], powers[j], n[j]);
        }
    }
    grid.wrap(&generator)
}

/// The smallest set of supercells, as Hermite normal forms in their order; each is the first of its orbit.
pub fn minimal_cover(grid: &Grid, rotations: &[Mat3]) -> Result<Vec<Hnf>> {
    check_group(rotations)?;
    let operations = on_grid(rotations, grid.divisions())?;
    let mut seen = HashSet::new();
    let mut cover = Vec::new();
    for generator in generators(grid) {
        let own = grid.smallest_supercell(&generator)?;
        if seen.contains(&own) {
            continue;
        }
        let mut first = own;
        for (_, m) in &operations {
            let image = grid.smallest_supercell(&grid.rotate(m, &generator))?;
            first = first.min(image);
            seen.insert(image);
        }
        cover.push(first);
    }
    cover.sort_unstable();
    Ok(cover)
}

/// The supercell of the minimal set that holds a q-point, and the index of the rotation that brings it there.
pub fn locate(grid: &Grid, rotations: &[Mat3], k: &Vec3) -> Result<(Hnf, usize)> {
    let generator = maximal_generator(grid, k);
    let mut best = None;
    for (index, m) in on_grid(rotations, grid.divisions())? {
        let candidate = (grid.smallest_supercell(&grid.rotate(&m, &generator))?, index);
        best = Some(best.map_or(candidate, |b: (Hnf, usize)| b.min(candidate)));
    }
    best.ok_or(crate::error::Error::Internal("locate: no rotation keeps the grid"))
}
