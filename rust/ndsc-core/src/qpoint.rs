//! q-points as integer numerators over a grid: `q = (k1/N1, k2/N2, k3/N3)`.

use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, factorise, gcd, inverse_mod, multiply_mod};
use crate::symmetry::on_grid;

/// The finest division of an axis: keeps every product of two numerators inside 64 bits.
pub const FINEST: i64 = 1 << 20;

/// A grid `N1 x N2 x N3` of q-points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    n: Vec3,
    exponent: i64,
    primes: Vec<i64>,
}

impl Grid {
    /// A grid with these divisions.
    pub fn new(n: Vec3) -> Result<Self> {
        if n.iter().any(|&x| x < 1) {
            return Err(Error::input(format!(
                "the grid {} x {} x {} has a division below 1; give three positive integers",
                n[0], n[1], n[2]
            )));
        }
        if n.iter().any(|&x| x > FINEST) {
            return Err(Error::input(format!(
                "the grid {} x {} x {} is finer than {FINEST} along an axis; give a coarser one",
                n[0], n[1], n[2]
            )));
        }
        let exponent = lcm(lcm(n[0], n[1])?, n[2])?;
        let mut primes: Vec<i64> = n.iter().flat_map(|&x| factorise(x)).map(|(p, _)| p).collect();
        primes.sort_unstable();
        primes.dedup();
        Ok(Self { n, exponent, primes })
    }

    /// The divisions along the three axes.
    pub fn divisions(&self) -> Vec3 {
        self.n
    }

    /// The largest order of a q-point: the least common multiple of the divisions.
    pub fn exponent(&self) -> i64 {
        self.exponent
    }

    /// The primes that divide the number of q-points, ascending.
    pub fn primes(&self) -> &[i64] {
        &self.primes
    }

    /// The number of q-points.
    pub fn len(&self) -> i64 {
        self.n[0] * self.n[1] * self.n[2]
    }

    /// Never: a grid has at least the point zero.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The numerators brought into `0..N`.
    pub fn wrap(&self, k: &Vec3) -> Vec3 {
        [k[0].rem_euclid(self.n[0]), k[1].rem_euclid(self.n[1]), k[2].rem_euclid(self.n[2])]
    }

    /// The rotated q-point; `m` acts on numerators (see [`on_grid`]).
    pub fn rotate(&self, m: &Mat3, k: &Vec3) -> Vec3 {
        let mut image = [0; 3];
        for i in 0..3 {
            // Wrapped factors below 2^20 each: the sum stays far inside 64 bits.
            let sum: i64 = (0..3).map(|j| m[i][j].rem_euclid(self.n[i]) * k[j]).sum();
            image[i] = sum.rem_euclid(self.n[i]);
        }
        image
    }

    /// The order of a q-point: the smallest `m` for which `m q` is a reciprocal lattice vector.
    pub fn order(&self, k: &Vec3) -> Result<i64> {
        let part = |i: usize| self.n[i] / gcd(k[i], self.n[i]);
        lcm(lcm(part(0), part(1))?, part(2))
    }

    /// The one smallest supercell that holds a q-point.
    pub fn smallest_supercell(&self, k: &Vec3) -> Result<Hnf> {
        let k = self.wrap(k);
        let order = self.order(&k)?;
        let mut numerators = [0; 3];
        for i in 0..3 {
            // k_i / N_i in lowest terms has a denominator that divides the order.
            let common = gcd(k[i], self.n[i]);
            numerators[i] = (k[i] / common) * (order / (self.n[i] / common));
        }
        Ok(smallest_supercell(&numerators, order))
    }
}

fn lcm(a: i64, b: i64) -> Result<i64> {
    (a / gcd(a, b)).checked_mul(b).ok_or(Error::Overflow("least common multiple of the grid"))
}

/// The one smallest supercell of `q = (k1, k2, k3)/n` with `0 <= k < n`, `gcd(k1, k2, k3, n) = 1`: the direct formula.
pub fn smallest_supercell(k: &Vec3, n: i64) -> Hnf {
    let g3 = gcd(k[2], n);
    let g23 = gcd(k[1], g3);
    let (a, d, f) = (g23, g3 / g23, n / g3);
    let inverse = inverse_mod(k[2] / g3, f);
    let negated = |x: i64, m: i64| (m - x).rem_euclid(m);
    // e = -(d k2 / g3) (k3 / g3)^-1 mod f, and d / g3 = 1 / g23.
    let e = negated(multiply_mod(k[1] / g23 % f, inverse, f), f);
    let b = negated(multiply_mod(k[0] % d, inverse_mod(k[1] / g23, d), d), d);
    let sum = (i128::from(a) * i128::from(k[0]) + i128::from(b) * i128::from(k[1])) / i128::from(g3);
    let c = negated(multiply_mod((sum % i128::from(f)) as i64, inverse, f), f);
    Hnf { size: n, a, d, b, c, e }
}

/// The irreducible q-points of a grid: numerators and how many q-points each stands for.
///
/// The representative is the first of its star in the order of the grid (third axis fastest).
pub fn irreducible(grid: &Grid, rotations: &[Mat3], time_reversal: bool) -> Result<(Vec<Vec3>, Vec<i64>)> {
    let n = grid.divisions();
    let mut operations: Vec<Mat3> = on_grid(rotations, n)?.into_iter().map(|(_, m)| m).collect();
    if time_reversal {
        let reversed: Vec<Mat3> = operations.iter().map(|m| m.map(|row| row.map(|x| -x))).collect();
        operations.extend(reversed);
        operations.sort_unstable();
        operations.dedup();
    }
    let mut seen = vec![false; grid.len() as usize];
    let index = |k: &Vec3| ((k[0] * n[1] + k[1]) * n[2] + k[2]) as usize;
    let (mut points, mut weights) = (Vec::new(), Vec::new());
    for k0 in 0..n[0] {
        for k1 in 0..n[1] {
            for k2 in 0..n[2] {
                let k = [k0, k1, k2];
                if seen[index(&k)] {
                    continue;
                }
                let mut weight = 0;
                for m in &operations {
                    let image = index(&grid.rotate(m, &k));
                    if !seen[image] {
                        seen[image] = true;
                        weight += 1;
                    }
                }
                points.push(k);
                weights.push(weight);
            }
        }
    }
    Ok((points, weights))
}
