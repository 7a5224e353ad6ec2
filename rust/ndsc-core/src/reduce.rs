//! Minkowski reduction of a lattice basis under a real metric, with one answer per lattice.
//!
//! Among equally short vectors (fcc has six pairs) the choice is made by integers: lengths are compared with a relative
//! tolerance, ties go to the smallest sum of absolute coefficients, then to the lexicographically largest vector, its
//! first coefficient that is not zero being positive. So the result depends neither on the basis that came in nor on the
//! last digits of the metric.

use crate::error::{Error, Result};
use crate::int3::{Mat3, Vec3, determinant};

/// A symmetric, positive definite 3x3 metric `cell cell^T`.
pub type Metric = [[f64; 3]; 3];

/// Relative tolerance within which two squared lengths are equal.
pub const LENGTH_TOLERANCE: f64 = 1e-7;

/// Relative decrease of a squared length below which the greedy loop stops: far above rounding, far below a tie.
const PROGRESS: f64 = 1e-12;
const MAX_ROUNDS: usize = 10_000;
const LARGEST_COEFFICIENT: f64 = 4.0e18;

/// Checks that a metric is finite, symmetric and positive definite.
pub fn check_metric(g: &Metric) -> Result<()> {
    let scale = g[0][0].max(g[1][1]).max(g[2][2]);
    let finite = g.iter().flatten().all(|x| x.is_finite());
    let symmetric = (0..3).all(|i| (0..3).all(|j| (g[i][j] - g[j][i]).abs() <= 1e-9 * scale));
    let minor2 = g[0][0] * g[1][1] - g[0][1] * g[1][0];
    let det = g[0][0] * (g[1][1] * g[2][2] - g[1][2] * g[2][1])
        - g[0][1] * (g[1][0] * g[2][2] - g[1][2] * g[2][0])
        + g[0][2] * (g[1][0] * g[2][1] - g[1][1] * g[2][0]);
    if finite && symmetric && g[0][0] > 0.0 && minor2 > 0.0 && det > 0.0 {
        return Ok(());
    }
    Err(Error::input(format!("the metric {g:?} is not finite, symmetric and positive definite; check the cell")))
}

fn product(g: &Metric, u: &Vec3, v: &Vec3) -> f64 {
    let u = u.map(|x| x as f64);
    let v = v.map(|x| x as f64);
    let row = |i: usize| g[i][0] * v[0] + g[i][1] * v[1] + g[i][2] * v[2];
    u[0] * row(0) + u[1] * row(1) + u[2] * row(2)
}

/// `u - x v`.
fn subtract(u: &Vec3, v: &Vec3, x: f64) -> Result<Vec3> {
    if !(x.abs() < LARGEST_COEFFICIENT) {
        return Err(Error::Overflow("lattice reduction"));
    }
    let x = x as i64;
    let mut w = *u;
    for k in 0..3 {
        w[k] = v[k].checked_mul(x).and_then(|y| u[k].checked_sub(y)).ok_or(Error::Overflow("lattice reduction"))?;
    }
    Ok(w)
}

/// Lagrange's reduction of the first two vectors.
fn reduce_pair(b: &mut Mat3, g: &Metric) -> Result<()> {
    for _ in 0..MAX_ROUNDS {
        let n0 = product(g, &b[0], &b[0]);
        let mu = (product(g, &b[0], &b[1]) / n0).round();
        b[1] = subtract(&b[1], &b[0], mu)?;
        if product(g, &b[1], &b[1]) >= n0 * (1.0 - PROGRESS) {
            return Ok(());
        }
        b.swap(0, 1);
    }
    Err(Error::Internal("Lagrange reduction: no convergence"))
}

/// The third vector minus the lattice point of the first two that is nearest to it.
fn reduce_third(b: &mut Mat3, g: &Metric) -> Result<()> {
    let (g00, g01, g11) = (product(g, &b[0], &b[0]), product(g, &b[0], &b[1]), product(g, &b[1], &b[1]));
    let (g02, g12) = (product(g, &b[0], &b[2]), product(g, &b[1], &b[2]));
    let det = g00 * g11 - g01 * g01;
    let x = ((g11 * g02 - g01 * g12) / det).round();
    let y = ((g00 * g12 - g01 * g02) / det).round();
    b[2] = subtract(&subtract(&b[2], &b[0], x)?, &b[1], y)?;
    // Rounding the coordinates in a reduced pair misses the nearest point by one step at the most.
    let mut best = (product(g, &b[2], &b[2]), b[2]);
    for i in -1..=1_i64 {
        for j in -1..=1_i64 {
            let candidate = subtract(&subtract(&b[2], &b[0], i as f64)?, &b[1], j as f64)?;
            let norm = product(g, &candidate, &candidate);
            if norm < best.0 * (1.0 - PROGRESS) {
                best = (norm, candidate);
            }
        }
    }
    b[2] = best.1;
    Ok(())
}

fn greedy(b: &mut Mat3, g: &Metric) -> Result<()> {
    for _ in 0..MAX_ROUNDS {
        b.sort_by(|u, v| product(g, u, u).total_cmp(&product(g, v, v)));
        reduce_pair(b, g)?;
        reduce_third(b, g)?;
        if product(g, &b[2], &b[2]) >= product(g, &b[1], &b[1]) * (1.0 - PROGRESS) {
            return Ok(());
        }
    }
    Err(Error::Internal("Minkowski reduction: no convergence"))
}

/// The thirteen pairs of vectors with coefficients -1, 0, 1: in a reduced basis every shortest choice is among them.
fn candidates(b: &Mat3, g: &Metric) -> Result<[(f64, Vec3); 13]> {
    let mut found = [(0.0, [0; 3]); 13];
    let mut n = 0;
    for code in 14..27_i64 {
        let x = [code / 9 - 1, code / 3 % 3 - 1, code % 3 - 1];
        let mut v = [0_i64; 3];
        for k in 0..3 {
            for i in 0..3 {
                v[k] = v[k].checked_add(x[i] * b[i][k]).ok_or(Error::Overflow("lattice reduction"))?;
            }
        }
        if v.iter().find(|&&y| y != 0).is_some_and(|&y| y < 0) {
            v = v.map(|y| -y);
        }
        found[n] = (product(g, &v, &v), v);
        n += 1;
    }
    Ok(found)
}

/// Whether `u` is preferred to `v` among equally short vectors.
fn preferred(u: &Vec3, v: &Vec3) -> bool {
    let size = |w: &Vec3| w.iter().map(|x| u128::from(x.unsigned_abs())).sum::<u128>();
    (size(u), std::cmp::Reverse(u)) < (size(v), std::cmp::Reverse(v))
}

/// The preferred one among the shortest candidates that satisfy `fits`.
fn shortest(candidates: &[(f64, Vec3)], fits: impl Fn(&Vec3) -> bool) -> Result<Vec3> {
    let mut chosen: Option<Vec3> = None;
    let minimum =
        candidates.iter().filter(|c| fits(&c.1)).map(|c| c.0).fold(f64::INFINITY, f64::min) * (1.0 + LENGTH_TOLERANCE);
    for (norm, v) in candidates {
        if *norm <= minimum && fits(v) && chosen.is_none_or(|c| preferred(v, &c)) {
            chosen = Some(*v);
        }
    }
    chosen.ok_or(Error::Internal("Minkowski reduction: no candidate"))
}

fn parallel(u: &Vec3, v: &Vec3) -> bool {
    let minor = |i: usize, j: usize| i128::from(u[i]) * i128::from(v[j]) == i128::from(u[j]) * i128::from(v[i]);
    minor(0, 1) && minor(1, 2) && minor(0, 2)
}

/// The Minkowski-reduced basis, of positive determinant, of the lattice that the rows of `s` span over a cell of metric
/// `g`: the same for every basis of that lattice.
pub fn minkowski(s: &Mat3, g: &Metric) -> Result<Mat3> {
    if determinant(s)? == 0 {
        return Err(Error::input(format!("the matrix {s:?} is singular; give three independent rows")));
    }
    let mut b = *s;
    greedy(&mut b, g)?;
    let all = candidates(&b, g)?;
    let first = shortest(&all, |_| true)?;
    let second = shortest(&all, |v| !parallel(&first, v))?;
    let third = shortest(&all, |v| determinant(&[first, second, *v]).is_ok_and(|d| d != 0))?;
    let reduced = [first, second, third];
    if determinant(&reduced)? < 0 {
        return Ok([first, second, third.map(|x| -x)]);
    }
    Ok(reduced)
}
