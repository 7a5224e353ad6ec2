//! Minkowski reduction of a lattice basis under a real metric, with one answer per lattice.
//!
//! Among equally short vectors (fcc has six pairs) the choice is made by integers: lengths are compared with a relative
//! tolerance, ties go to the smallest sum of absolute coefficients, then to the lexicographically largest vector, its
//! first coefficient that is not zero being positive. So the result depends neither on the basis that came in nor on the
//! last digits of the metric.

use rayon::prelude::*;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::int3::{Mat3, Vec3, determinant};

/// A symmetric, positive definite 3x3 metric `cell cell^T`.
pub type Metric = [[f64; 3]; 3];

/// Relative tolerance within which two squared lengths are equal.
pub const LENGTH_TOLERANCE: f64 = 1e-7;

/// Relative decrease of a squared length that is worth a step: far above rounding, far below a tie.
const PROGRESS: f64 = 1e-10;
const MAX_ROUNDS: usize = 10_000;
const LARGEST_COEFFICIENT: f64 = 4.0e18;
/// Supercells between two reports, and in one piece of work for a thread.
const CHUNK: usize = 1 << 17;
const PIECE: usize = 1 << 8;

/// Checks that a metric is finite, symmetric and positive definite.
pub fn check_metric(g: &Metric) -> Result<()> {
    let scale = g[0][0].max(g[1][1]).max(g[2][2]);
    let finite = g.iter().flatten().all(|x| x.is_finite());
    let symmetric = (0..3).all(|i| (0..3).all(|j| (g[i][j] - g[j][i]).abs() <= 1e-9 * scale));
    let minor2 = g[0][0] * g[1][1] - g[0][1] * g[1][0];
    let det = g[0][0] * (g[1][1] * g[2][2] - g[1][2] * g[2][1])
        - g[0][1] * (g[1][0] * g[2][2] - g[1][2] * g[2][0])
        + g[0][2] * (g[1][0] * g[2][1] - g[1][1] * g[2][0]);
    if finite && symmetric && g[0][0] > 0.0 && minor2 > 0.0 && det > 0.0 && det.is_finite() {
        return Ok(());
    }
    Err(Error::input(format!(
        "the metric {g:?} is not finite, symmetric and positive definite; check the cell"
    )))
}

/// Scalar products of three vectors.
#[derive(Clone, Copy)]
struct Gram {
    g00: f64,
    g11: f64,
    g22: f64,
    g01: f64,
    g02: f64,
    g12: f64,
}

impl Gram {
    fn of(b: &Mat3, g: &Metric) -> Self {
        let u = b.map(|row| row.map(|x| x as f64));
        let v = u.map(|r| [0, 1, 2].map(|j| r[0] * g[0][j] + r[1] * g[1][j] + r[2] * g[2][j]));
        let dot = |i: usize, j: usize| u[i][0] * v[j][0] + u[i][1] * v[j][1] + u[i][2] * v[j][2];
        Self {
            g00: dot(0, 0),
            g11: dot(1, 1),
            g22: dot(2, 2),
            g01: dot(0, 1),
            g02: dot(0, 2),
            g12: dot(1, 2),
        }
    }

    fn swap01(&mut self) {
        std::mem::swap(&mut self.g00, &mut self.g11);
        std::mem::swap(&mut self.g02, &mut self.g12);
    }

    fn swap12(&mut self) {
        std::mem::swap(&mut self.g11, &mut self.g22);
        std::mem::swap(&mut self.g01, &mut self.g02);
    }

    /// Squared lengths of the [`CANDIDATES`].
    fn norms(&self) -> [f64; 13] {
        let (t01, t02, t12) = (2.0 * self.g01, 2.0 * self.g02, 2.0 * self.g12);
        let (s01, s02, s12) = (self.g00 + self.g11, self.g00 + self.g22, self.g11 + self.g22);
        let all = s01 + self.g22;
        [
            self.g00,
            self.g11,
            self.g22,
            s01 + t01,
            s01 - t01,
            s02 + t02,
            s02 - t02,
            s12 + t12,
            s12 - t12,
            all + t01 + t02 + t12,
            all + t01 - t02 - t12,
            all - t01 + t02 - t12,
            all - t01 - t02 + t12,
        ]
    }
}

/// The largest integer not above `x`; a call of the C library would cost as much as the rest of a step.
fn floor(x: f64) -> f64 {
    if x.abs() > LARGEST_COEFFICIENT {
        return x;
    }
    let truncated = x as i64 as f64;
    if truncated > x { truncated - 1.0 } else { truncated }
}

/// `u - x v`.
fn subtract(u: &Vec3, v: &Vec3, x: f64) -> Result<Vec3> {
    if x.is_nan() || x.abs() > LARGEST_COEFFICIENT {
        return Err(Error::Overflow("lattice reduction"));
    }
    let x = x as i64;
    let mut w = *u;
    for k in 0..3 {
        let product = v[k].checked_mul(x).ok_or(Error::Overflow("lattice reduction"))?;
        w[k] = u[k]
            .checked_sub(product)
            .ok_or(Error::Overflow("lattice reduction"))?;
    }
    Ok(w)
}

/// Shorter vectors first.
fn sort(b: &mut Mat3, gram: &mut Gram) {
    for pair in [0, 1, 0] {
        if pair == 0 && gram.g00 > gram.g11 {
            b.swap(0, 1);
            gram.swap01();
        } else if pair == 1 && gram.g11 > gram.g22 {
            b.swap(1, 2);
            gram.swap12();
        }
    }
}

/// Lagrange's reduction of the first two vectors; true when something changed.
fn reduce_pair(b: &mut Mat3, gram: &mut Gram) -> Result<bool> {
    let mut changed = false;
    for _ in 0..MAX_ROUNDS {
        if gram.g01.abs() <= gram.g00 * (0.5 + PROGRESS) {
            return Ok(changed);
        }
        let x = floor(gram.g01 / gram.g00 + 0.5);
        b[1] = subtract(&b[1], &b[0], x)?;
        gram.g11 += x * (x * gram.g00 - 2.0 * gram.g01);
        gram.g01 -= x * gram.g00;
        gram.g12 -= x * gram.g02;
        changed = true;
        if gram.g11 >= gram.g00 * (1.0 - PROGRESS) {
            return Ok(changed);
        }
        b.swap(0, 1);
        gram.swap01();
    }
    Err(Error::Internal("Lagrange reduction: no convergence"))
}

/// The third vector minus the lattice point of the first two that is nearest to it; true when something changed.
fn reduce_third(b: &mut Mat3, gram: &Gram) -> Result<bool> {
    let det = gram.g00 * gram.g11 - gram.g01 * gram.g01;
    let x = floor((gram.g11 * gram.g02 - gram.g01 * gram.g12) / det);
    let y = floor((gram.g00 * gram.g12 - gram.g01 * gram.g02) / det);
    // The pair is reduced, so the nearest point is a corner of the parallelogram around the projection.
    let mut best = (gram.g22 * (1.0 - PROGRESS), 0.0, 0.0);
    for (x, y) in [(x, y), (x + 1.0, y), (x, y + 1.0), (x + 1.0, y + 1.0)] {
        let linear = x * gram.g02 + y * gram.g12;
        let norm = gram.g22 - 2.0 * linear + x * (x * gram.g00 + 2.0 * y * gram.g01) + y * y * gram.g11;
        if norm < best.0 {
            best = (norm, x, y);
        }
    }
    if best.1 == 0.0 && best.2 == 0.0 {
        return Ok(false);
    }
    b[2] = subtract(&subtract(&b[2], &b[0], best.1)?, &b[1], best.2)?;
    Ok(true)
}

/// The greedy reduction of three vectors, which in three dimensions is Minkowski's.
///
/// Scalar products are made afresh from the integers in each round, so rounding cannot add up.
fn greedy(b: &mut Mat3, g: &Metric) -> Result<Gram> {
    for _ in 0..MAX_ROUNDS {
        let mut gram = Gram::of(b, g);
        sort(b, &mut gram);
        let pair = reduce_pair(b, &mut gram)?;
        if gram.g00 > gram.g11 * (1.0 + PROGRESS) {
            continue;
        }
        let third = reduce_third(b, &gram)?;
        if !pair && !third {
            return Ok(gram);
        }
    }
    Err(Error::Internal("Minkowski reduction: no convergence"))
}

/// The thirteen pairs of coefficients -1, 0, 1: in a reduced basis every shortest choice is among them.
const CANDIDATES: [[i64; 3]; 13] = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
    [1, 1, 0],
    [1, -1, 0],
    [1, 0, 1],
    [1, 0, -1],
    [0, 1, 1],
    [0, 1, -1],
    [1, 1, 1],
    [1, 1, -1],
    [1, -1, 1],
    [1, -1, -1],
];

/// A candidate as a vector, its first coefficient that is not zero being positive.
fn vector(x: &Vec3, b: &Mat3) -> Result<Vec3> {
    let mut v = [0_i64; 3];
    for k in 0..3 {
        for i in 0..3 {
            // x is -1, 0 or 1.
            v[k] = v[k]
                .checked_add(x[i] * b[i][k])
                .ok_or(Error::Overflow("lattice reduction"))?;
        }
    }
    Ok(positive(&v))
}

/// Whether `u` is preferred to `v` among equally short vectors.
fn preferred(u: &Vec3, v: &Vec3) -> bool {
    let size = |w: &Vec3| {
        w.iter()
            .fold(0_u64, |sum, x| sum.saturating_add(x.unsigned_abs()))
    };
    (size(u), std::cmp::Reverse(u)) < (size(v), std::cmp::Reverse(v))
}

/// The candidates that can be among the shortest: no longer than the third vector.
struct Short {
    norms: [f64; 13],
    numbers: [usize; 13],
    count: usize,
}

impl Short {
    fn new(gram: &Gram) -> Self {
        let norms = gram.norms();
        let limit = gram.g22 * (1.0 + 4.0 * LENGTH_TOLERANCE);
        let (mut numbers, mut count) = ([0; 13], 0);
        for (number, norm) in norms.iter().enumerate() {
            numbers[count] = number;
            count += usize::from(*norm <= limit);
        }
        Self {
            norms,
            numbers,
            count,
        }
    }

    /// The preferred one among the shortest candidates that fit, with its coefficients.
    fn shortest(&self, b: &Mat3, fits: impl Fn(&Vec3) -> bool) -> Result<(Vec3, Vec3)> {
        let fitting = || {
            self.numbers[..self.count]
                .iter()
                .copied()
                .filter(|&i| fits(&CANDIDATES[i]))
        };
        let limit = fitting().map(|i| self.norms[i]).fold(f64::INFINITY, f64::min) * (1.0 + LENGTH_TOLERANCE);
        let mut chosen: Option<(Vec3, Vec3)> = None;
        for i in fitting().filter(|&i| self.norms[i] <= limit) {
            let v = vector(&CANDIDATES[i], b)?;
            if chosen.is_none_or(|(_, c)| preferred(&v, &c)) {
                chosen = Some((CANDIDATES[i], v));
            }
        }
        chosen.ok_or(Error::Internal("Minkowski reduction: no candidate"))
    }
}

/// A vector with its first coefficient that is not zero positive.
fn positive(v: &Vec3) -> Vec3 {
    if *v < [0; 3] { v.map(|y| -y) } else { *v }
}

/// The reduced basis itself, where no other candidate is as short as one of its vectors: nothing is left to choose.
fn without_ties(b: &Mat3, gram: &Gram) -> Result<Option<Mat3>> {
    let norms = gram.norms();
    let above = |norm: f64, least: f64| norm > least * (1.0 + 2.0 * LENGTH_TOLERANCE);
    let in_plane = norms[3].min(norms[4]);
    let outside = norms[5..].iter().copied().fold(f64::INFINITY, f64::min);
    let is_unique = above(gram.g11, gram.g00)
        && above(gram.g22, gram.g11)
        && above(in_plane, gram.g11)
        && above(outside, gram.g22);
    if !is_unique || b.iter().flatten().any(|x| *x == i64::MIN) {
        return Ok(None);
    }
    let [first, second, third] = [0, 1, 2].map(|i| positive(&b[i]));
    if determinant(&[first, second, third])? < 0 {
        return Ok(Some([first, second, third.map(|x| -x)]));
    }
    Ok(Some([first, second, third]))
}

/// The Minkowski-reduced basis, of positive determinant, of the lattice that the rows of `s` span over a cell of metric
/// `g`: the same for every basis of that lattice.
///
/// ```
/// use ndsc_core::reduce::minkowski;
/// let cubic = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
/// assert_eq!(minkowski(&[[1, 7, 3], [0, 1, 9], [0, 0, 1]], &cubic).unwrap(), [[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
/// ```
pub fn minkowski(s: &Mat3, g: &Metric) -> Result<Mat3> {
    if determinant(s)? == 0 {
        return Err(Error::input(format!(
            "the matrix {s:?} is singular; give three independent rows"
        )));
    }
    let mut b = *s;
    let gram = greedy(&mut b, g)?;
    if let Some(basis) = without_ties(&b, &gram)? {
        return Ok(basis);
    }
    let short = Short::new(&gram);
    let (x0, first) = short.shortest(&b, |_| true)?;
    let (x1, second) = short.shortest(&b, |x| *x != x0)?;
    let normal = [
        x0[1] * x1[2] - x0[2] * x1[1],
        x0[2] * x1[0] - x0[0] * x1[2],
        x0[0] * x1[1] - x0[1] * x1[0],
    ];
    let outside = |x: &Vec3| normal[0] * x[0] + normal[1] * x[1] + normal[2] * x[2] != 0;
    let (_, third) = short.shortest(&b, outside)?;
    if determinant(&[first, second, third])? < 0 {
        return Ok([first, second, third.map(|x| -x)]);
    }
    Ok([first, second, third])
}

/// The reduced bases of many supercells, in parallel.
pub fn minkowski_all(supercells: &[Mat3], g: &Metric, context: &Context) -> Result<Vec<Mat3>> {
    check_metric(g)?;
    let mut reduced = vec![[[0; 3]; 3]; supercells.len()];
    let mut done = 0;
    for (input, output) in supercells.chunks(CHUNK).zip(reduced.chunks_mut(CHUNK)) {
        input
            .par_chunks(PIECE)
            .zip(output.par_chunks_mut(PIECE))
            .try_for_each(|(input, output)| {
                for (s, r) in input.iter().zip(output) {
                    *r = minkowski(s, g)?;
                }
                Ok(())
            })?;
        done += input.len() as u64;
        context.report(done, supercells.len() as u64)?;
    }
    Ok(reduced)
}
