//! The rotations of a lattice: all that a crystal with one atom in its cell needs.

use crate::error::Result;
use crate::int3::{IDENTITY, Mat3, Vec3, determinant, multiply, transpose, unimodular_inverse};
use crate::reduce::{Metric, check_metric, minkowski};
use crate::symmetry::check_group;

/// Rotations whose deviation lies between these multiples of the tolerance are left to another program.
const CLEAR: (f64, f64) = (0.25, 4.0);

fn product(g: &Metric, u: &Vec3, v: &Vec3) -> f64 {
    let (u, v) = (u.map(|x| x as f64), v.map(|x| x as f64));
    (0..3)
        .map(|i| u[i] * (0..3).map(|j| g[i][j] * v[j]).sum::<f64>())
        .sum()
}

/// A vector that an image of a reduced one can be.
struct Candidate {
    vector: Vec3,
    /// The same as floats, and times the metric.
    floats: [f64; 3],
    scaled: [f64; 3],
}

impl Candidate {
    fn new(vector: Vec3, g: &Metric) -> Self {
        let floats = vector.map(|x| x as f64);
        let scaled = [0, 1, 2].map(|i| (0..3).map(|j| g[i][j] * floats[j]).sum());
        Self {
            vector,
            floats,
            scaled,
        }
    }

    fn product(&self, other: &Self) -> f64 {
        (0..3).map(|i| self.floats[i] * other.scaled[i]).sum()
    }
}

/// The rotations W (fractional columns, `x' = W x`) that keep the lattice of a cell with the metric `g`; the identity
/// first. None where the tolerance, a length, decides whether one of them does.
pub fn rotations(g: &Metric, tolerance: f64) -> Result<Option<Vec<Mat3>>> {
    check_metric(g)?;
    let rows = minkowski(&IDENTITY, g)?;
    let reduced: Metric = [0, 1, 2].map(|i| [0, 1, 2].map(|j| product(g, &rows[i], &rows[j])));
    // How far scalar products differ, as a length.
    let deviation = |i: usize, j: usize, value: f64| {
        (value - reduced[i][j]).abs() / reduced[i][i].max(reduced[j][j]).sqrt()
    };
    let limit = CLEAR.1 * tolerance;
    // Images of reduced vectors are as short as they are, and so have coefficients -1, 0 and 1.
    let all = (0..27).map(|x| [x / 9 - 1, x / 3 % 3 - 1, x % 3 - 1]);
    let candidates: Vec<Candidate> = all.map(|v| Candidate::new(v, &reduced)).collect();
    let near: Vec<Vec<(&Candidate, f64)>> = (0..3)
        .map(|i| {
            let with_deviation = candidates.iter().map(|v| (v, deviation(i, i, v.product(v))));
            with_deviation.filter(|x| x.1 <= limit).collect()
        })
        .collect();
    // y = change x for coordinates y in the reduced cell.
    let change = transpose(&unimodular_inverse(&rows)?);
    let back = transpose(&rows);
    let mut found = vec![IDENTITY];
    for (u, first) in &near[0] {
        for (v, second) in &near[1] {
            let uv = deviation(0, 1, u.product(v));
            if uv > limit {
                continue;
            }
            for (w, third) in &near[2] {
                let others = [(0, 2, u), (1, 2, v)].map(|(i, j, x)| deviation(i, j, x.product(w)));
                let largest = [*first, *second, *third, uv, others[0], others[1]]
                    .into_iter()
                    .fold(0.0, f64::max);
                let images = [u.vector, v.vector, w.vector];
                if largest > limit || determinant(&images)?.abs() != 1 {
                    continue;
                }
                if largest > CLEAR.0 * tolerance {
                    return Ok(None);
                }
                let rotation = multiply(&back, &multiply(&transpose(&images), &change)?)?;
                if rotation != IDENTITY {
                    found.push(rotation);
                }
            }
        }
    }
    Ok(check_group(&found).is_ok().then_some(found))
}
