//! Hermite normal forms `[[a, b, c], [0, d, e], [0, 0, f]]` with `0 <= b < d`, `0 <= c, e < f`: the one basis of each
//! sublattice of the integers that this crate sorts, compares and stores by.

use crate::error::{Error, Result};
use crate::int3::{Mat3, Vec3, adjugate, determinant, divisors, multiply};

/// A Hermite normal form. Its order (derived: size, then a, d, b, c, e) is the order of every set that is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hnf {
    /// The determinant `a d f`.
    pub size: i64,
    /// First diagonal element.
    pub a: i64,
    /// Second diagonal element.
    pub d: i64,
    /// Row 1, column 2.
    pub b: i64,
    /// Row 1, column 3.
    pub c: i64,
    /// Row 2, column 3.
    pub e: i64,
}

impl Hnf {
    /// Third diagonal element.
    pub fn f(&self) -> i64 {
        self.size / (self.a * self.d)
    }

    /// As a matrix.
    pub fn matrix(&self) -> Mat3 {
        [[self.a, self.b, self.c], [0, self.d, self.e], [0, 0, self.f()]]
    }

    /// The Hermite normal form of the lattice spanned by the rows of `s`.
    ///
    /// Fails when `s` is singular.
    pub fn of(s: &Mat3) -> Result<Self> {
        let size = determinant(s)?.checked_abs().ok_or(Error::Overflow("determinant"))?;
        if size == 0 {
            return Err(Error::input(format!("the matrix {s:?} is singular; give three independent rows")));
        }
        let mut rows = *s;
        let first = eliminate(&mut rows, 0)?;
        let second = eliminate(&mut rows, 1)?;
        debug_assert!(first && second);
        for i in 0..3 {
            if rows[i][i] < 0 {
                rows[i] = scaled_sum(&[0; 3], &rows[i], -1)?;
            }
        }
        for (i, j) in [(0, 1), (1, 2), (0, 2)] {
            let quotient = rows[i][j].div_euclid(rows[j][j]);
            rows[i] = scaled_sum(&rows[i], &rows[j], -quotient)?;
        }
        let [[a, b, c], [_, d, e], _] = rows;
        Ok(Self { size, a, d, b, c, e })
    }
}

/// `u + factor * v`.
fn scaled_sum(u: &Vec3, v: &Vec3, factor: i64) -> Result<Vec3> {
    let mut sum = *u;
    for k in 0..3 {
        sum[k] = v[k].checked_mul(factor).and_then(|x| x.checked_add(u[k])).ok_or(Error::Overflow("Hermite normal form"))?;
    }
    Ok(sum)
}

/// Euclid's algorithm on column `j` of the rows from `j` on: leaves zeros below the diagonal.
fn eliminate(rows: &mut Mat3, j: usize) -> Result<bool> {
    loop {
        let Some(pivot) = (j..3).filter(|&i| rows[i][j] != 0).min_by_key(|&i| rows[i][j].unsigned_abs()) else {
            return Ok(false);
        };
        rows.swap(j, pivot);
        let mut done = true;
        for i in j + 1..3 {
            let quotient = rows[i][j] / rows[j][j];
            rows[i] = scaled_sum(&rows[i], &rows[j], -quotient)?;
            done &= rows[i][j] == 0;
        }
        if done {
            return Ok(true);
        }
    }
}

/// All Hermite normal forms of a determinant, in their order.
pub fn all_of_size(size: i64) -> Result<Vec<Hnf>> {
    if size < 1 {
        return Err(Error::input(format!("a supercell of {size} cells does not exist; give a determinant of at least 1")));
    }
    let mut all = Vec::new();
    for a in divisors(size) {
        for d in divisors(size / a) {
            let f = size / a / d;
            for b in 0..d {
                for c in 0..f {
                    for e in 0..f {
                        all.push(Hnf { size, a, d, b, c, e });
                    }
                }
            }
        }
    }
    Ok(all)
}

/// The most lattice points that are listed at once (2.4 GB of coordinates).
pub const MOST_LATTICE_POINTS: i64 = 100_000_000;

/// The lattice points inside the supercell `s`: those `n = x s` with `0 <= x < 1`, in lexicographic order.
pub fn lattice_points(s: &Mat3) -> Result<Vec<Vec3>> {
    let form = Hnf::of(s)?;
    if form.size > MOST_LATTICE_POINTS {
        return Err(Error::TooLarge(format!(
            "the supercell {s:?} has {} cells, whose list would take {} GB; use at most {MOST_LATTICE_POINTS} cells",
            form.size,
            form.size / 41_666_667
        )));
    }
    // x = n adjugate / det; with the sign of det moved into the adjugate the floor is one integer division.
    let det = determinant(s)?;
    let sign = det.signum();
    let adjugate = adjugate(s)?.map(|row| row.map(|x| x * sign));
    let mut points = Vec::with_capacity(form.size as usize);
    for i in 0..form.a {
        for j in 0..form.d {
            for k in 0..form.f() {
                let scaled = multiply(&[[i, j, k], [0; 3], [0; 3]], &adjugate)?[0];
                let whole = scaled.map(|x| x.div_euclid(form.size));
                let shift = multiply(&[whole, [0; 3], [0; 3]], s)?[0];
                points.push([i - shift[0], j - shift[1], k - shift[2]]);
            }
        }
    }
    points.sort_unstable();
    Ok(points)
}
