//! Slow, obvious versions of what the crate does, for tests and benches.
#![allow(dead_code)] // Each test and bench uses some of them.

use std::collections::{BTreeMap, BTreeSet};

use ndsc_core::int3::{IDENTITY, Mat3, Vec3, multiply};
use ndsc_core::reduce::Metric;

/// The group that some matrices generate.
pub fn generate(generators: &[Mat3]) -> Vec<Mat3> {
    let mut group = BTreeSet::from([IDENTITY]);
    loop {
        let more: BTreeSet<Mat3> = group
            .iter()
            .flat_map(|g| generators.iter().map(|h| multiply(g, h).unwrap()))
            .collect();
        let before = group.len();
        group.extend(more);
        if group.len() == before {
            return group.into_iter().collect();
        }
    }
}

/// The 48 operations of the cube on reciprocal coordinates of a simple cubic cell.
pub fn simple_cubic() -> Vec<Mat3> {
    generate(&[
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
        [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
    ])
}

/// The same 48 on reduced q-points of the fcc primitive cell `(0 1 1), (1 0 1), (1 1 0)`.
pub fn face_centred() -> Vec<Mat3> {
    // q is reduced by rows of the cell A: k = q A^-T, so R = A C A^-1 for a Cartesian operation C; A^-1 has halves.
    let cell = [[0, 1, 1], [1, 0, 1], [1, 1, 0]];
    let twice_inverse = [[-1, 1, 1], [1, -1, 1], [1, 1, -1]];
    let conjugate = |c: &Mat3| {
        let doubled = multiply(&multiply(&cell, c).unwrap(), &twice_inverse).unwrap();
        doubled.map(|row| row.map(|x| x / 2))
    };
    simple_cubic().iter().map(conjugate).collect()
}

/// The 24 operations 6/mmm on reduced q-points of a hexagonal cell.
pub fn hexagonal() -> Vec<Mat3> {
    generate(&[
        [[1, -1, 0], [1, 0, 0], [0, 0, 1]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
        [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
    ])
}

/// The inversion alone.
pub fn triclinic() -> Vec<Mat3> {
    generate(&[[[-1, 0, 0], [0, -1, 0], [0, 0, -1]]])
}

pub fn fcc_metric() -> Metric {
    [[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]
}

/// All Hermite normal forms by trying every triple.
pub fn hermite_normal_forms(size: i64) -> Vec<Mat3> {
    let mut forms = Vec::new();
    for a in 1..=size {
        for d in 1..=size {
            for f in (1..=size).filter(|f| a * d * f == size) {
                for b in 0..d {
                    for c in 0..f {
                        forms.extend((0..f).map(|e| [[a, b, c], [0, d, e], [0, 0, f]]));
                    }
                }
            }
        }
    }
    forms
}

/// Whether `s q` is integer, for `q = k / n`.
pub fn commensurate(s: &Mat3, k: &Vec3, n: &Vec3) -> bool {
    let all = n[0] * n[1] * n[2];
    s.iter()
        .all(|row| (0..3).map(|j| row[j] * k[j] * (all / n[j])).sum::<i64>() % all == 0)
}

/// All q-points of a grid.
pub fn qpoints(n: &Vec3) -> Vec<Vec3> {
    let mut all = Vec::new();
    for x in 0..n[0] {
        for y in 0..n[1] {
            all.extend((0..n[2]).map(|z| [x, y, z]));
        }
    }
    all
}

/// The image of a q-point, if it is on the grid.
pub fn rotate(r: &Mat3, k: &Vec3, n: &Vec3) -> Option<Vec3> {
    let all = n[0] * n[1] * n[2];
    let mut image = [0; 3];
    for i in 0..3 {
        let sum: i64 = (0..3).map(|j| r[i][j] * k[j] * (all / n[j])).sum();
        if sum % (all / n[i]) != 0 {
            return None;
        }
        image[i] = (sum / (all / n[i])).rem_euclid(n[i]);
    }
    Some(image)
}

/// The rotations that bring every q-point of the grid onto the grid.
pub fn keeping(rotations: &[Mat3], n: &Vec3) -> Vec<Mat3> {
    let points = qpoints(n);
    rotations
        .iter()
        .copied()
        .filter(|r| points.iter().all(|k| rotate(r, k, n).is_some()))
        .collect()
}

/// Sizes of the stars, by their first points.
pub fn stars(rotations: &[Mat3], n: &Vec3) -> BTreeMap<Vec3, i64> {
    let group = keeping(rotations, n);
    let mut stars = BTreeMap::new();
    for k in qpoints(n) {
        let first = group.iter().filter_map(|r| rotate(r, &k, n)).min().unwrap();
        *stars.entry(first).or_insert(0) += 1;
    }
    stars
}

/// The cover by sets of q-points: the orbits of maximal cyclic subgroups, each as the set of its members.
pub fn count_cover(rotations: &[Mat3], n: &Vec3) -> usize {
    let multiples = |k: &Vec3| -> BTreeSet<Vec3> {
        let order = n[0] * n[1] * n[2];
        (0..order)
            .map(|t| [t * k[0] % n[0], t * k[1] % n[1], t * k[2] % n[2]])
            .collect()
    };
    let cyclic: BTreeSet<BTreeSet<Vec3>> = qpoints(n).iter().map(multiples).collect();
    let maximal: Vec<&BTreeSet<Vec3>> = cyclic
        .iter()
        .filter(|c| !cyclic.iter().any(|d| c.len() < d.len() && c.is_subset(d)))
        .collect();
    let group = keeping(rotations, n);
    let image = |c: &BTreeSet<Vec3>, r: &Mat3| {
        c.iter()
            .map(|k| rotate(r, k, n).unwrap())
            .collect::<BTreeSet<Vec3>>()
    };
    let firsts: BTreeSet<BTreeSet<Vec3>> = maximal
        .iter()
        .map(|c| group.iter().map(|r| image(c, r)).min().unwrap())
        .collect();
    firsts.len()
}

/// Whether two bases span one lattice: `a b^-1` is unimodular.
pub fn same_lattice(a: &Mat3, b: &Mat3) -> bool {
    let det = ndsc_core::int3::determinant(b).unwrap();
    let product = multiply(a, &ndsc_core::int3::adjugate(b).unwrap()).unwrap();
    product.iter().flatten().all(|x| x % det == 0)
        && ndsc_core::int3::determinant(a).unwrap().abs() == det.abs()
}

/// Orbits of sublattices by pairwise comparison.
pub fn count_distinct(size: i64, rotations: &[Mat3]) -> usize {
    let mut kept: Vec<Mat3> = Vec::new();
    for form in hermite_normal_forms(size) {
        let images: Vec<Mat3> = rotations.iter().map(|r| multiply(&form, r).unwrap()).collect();
        if !kept
            .iter()
            .any(|other| images.iter().any(|image| same_lattice(image, other)))
        {
            kept.push(form);
        }
    }
    kept.len()
}

/// Squared length of a vector.
pub fn norm(g: &Metric, v: &Vec3) -> f64 {
    let v = v.map(|x| x as f64);
    (0..3)
        .map(|i| (0..3).map(|j| v[i] * g[i][j] * v[j]).sum::<f64>())
        .sum()
}

/// A reduction that subtracts what helps until nothing does.
pub fn minkowski(s: &Mat3, g: &Metric) -> Mat3 {
    let mut b = *s;
    'again: loop {
        b.sort_by(|u, v| norm(g, u).total_cmp(&norm(g, v)));
        for i in 0..3 {
            let (j, k) = ((i + 1) % 3, (i + 2) % 3);
            for x in -1..=1_i64 {
                for y in -1..=1_i64 {
                    let candidate = [0, 1, 2].map(|c| b[i][c] + x * b[j][c] + y * b[k][c]);
                    if norm(g, &candidate) < norm(g, &b[i]) * (1.0 - 1e-10) {
                        b[i] = candidate;
                        continue 'again;
                    }
                }
            }
        }
        return b;
    }
}
