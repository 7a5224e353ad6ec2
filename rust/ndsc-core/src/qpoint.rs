//! q-points as integer numerators over a grid: `q = (k1/N1, k2/N2, k3/N3)`.

use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, factorise, gcd, inverse_mod, multiply_mod};
use crate::symmetry::{check_group, on_grid};

/// The finest division of an axis: keeps every product of two numerators, and the number of q-points, inside 64 bits.
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
        [
            k[0].rem_euclid(self.n[0]),
            k[1].rem_euclid(self.n[1]),
            k[2].rem_euclid(self.n[2]),
        ]
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
    (a / gcd(a, b))
        .checked_mul(b)
        .ok_or(Error::Overflow("least common multiple of the grid"))
}

/// The one smallest supercell of `q = (k1, k2, k3)/n` with `0 <= k < n`, `gcd(k1, k2, k3, n) = 1`: the direct formula.
///
/// ```
/// use ndsc_core::qpoint::smallest_supercell;
/// // q = (1/2, 0, 1/4): (2, 0, -4) q, (0, 1, 0) q and (1, 0, -2) q are integers.
/// assert_eq!(smallest_supercell(&[2, 0, 1], 4).matrix(), [[1, 0, 2], [0, 1, 0], [0, 0, 4]]);
/// ```
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
    Hnf {
        size: n,
        a,
        d,
        b,
        c,
        e,
    }
}

/// Whether the q-point is commensurate with the supercell `s`: `s q` integer.
pub fn is_commensurate(s: &Mat3, grid: &Grid, k: &Vec3) -> bool {
    let k = grid.wrap(k);
    let order = i128::from(grid.exponent());
    s.iter().all(|row| {
        let mut sum = 0_i128;
        for j in 0..3 {
            let step = order / i128::from(grid.divisions()[j]);
            // Each factor is below 2^63, 2^60 and 2^20 after the remainder: reduce before the second product.
            let element = i128::from(row[j]).rem_euclid(order);
            sum += (element * step).rem_euclid(order) * i128::from(k[j]);
        }
        sum % order == 0
    })
}

/// The star of a q-point: its distinct images in order, and for each the first rotation that leads there.
pub fn star(grid: &Grid, rotations: &[Mat3], k: &Vec3) -> Result<Vec<(Vec3, usize)>> {
    check_group(rotations)?;
    let k = grid.wrap(k);
    let operations = on_grid(rotations, grid.divisions())?;
    let mut images: Vec<(Vec3, usize)> = operations.iter().map(|(i, m)| (grid.rotate(m, &k), *i)).collect();
    images.sort_unstable();
    images.dedup_by_key(|image| image.0);
    Ok(images)
}

/// The little group of a q-point: the indices of the rotations that leave it where it is, up to reciprocal lattice
/// vectors. All rotations count, also those that do not keep the grid.
pub fn little_group(grid: &Grid, rotations: &[Mat3], k: &Vec3) -> Result<Vec<usize>> {
    check_group(rotations)?;
    let k = grid.wrap(k);
    let order = grid.exponent();
    let scaled = [0, 1, 2].map(|j| k[j] * (order / grid.divisions()[j]));
    let mut little = Vec::new();
    for (index, r) in rotations.iter().enumerate() {
        let image = crate::int3::apply(r, &scaled)?;
        if (0..3).all(|i| (i128::from(image[i]) - i128::from(scaled[i])) % i128::from(order) == 0) {
            little.push(index);
        }
    }
    Ok(little)
}
