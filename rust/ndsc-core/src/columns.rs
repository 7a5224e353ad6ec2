//! Rows and columns of the integer programme for cost exponents below log2(3), where a supercell that is not cyclic can
//! replace several that are: rows are orbits of maximal cyclic subgroups, columns orbits of subgroups.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::context::Context;
use crate::cover::minimal_cover;
use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, inverse_mod, multiply, multiply_mod};
use crate::qpoint::Grid;
use crate::single::smallest_single;
use crate::symmetry::{on_grid, up_to_sign};

/// Pairs of a subgroup and a row between two reports: a tenth of a second.
const PAIRS: usize = 1 << 20;

/// Supercells, one of each orbit, and the rows that each holds.
pub struct Columns {
    /// The rows: the minimal set of cyclic supercells.
    pub rows: Vec<Hnf>,
    /// The columns.
    pub forms: Vec<Hnf>,
    /// For each column the numbers of the rows it holds.
    pub held: Vec<Vec<u32>>,
    /// Whether every subgroup that can be of use is among the columns.
    pub complete: bool,
}

/// All supercells inside the diagonal one whose size is a power of `p` and that hold a maximal cyclic subgroup of the
/// p-part of the grid.
fn local_supercells(grid: &Grid, p: i64) -> Vec<Hnf> {
    let part = |mut n: i64| {
        let mut powers = vec![1];
        while n % p == 0 {
            n /= p;
            powers.push(powers[powers.len() - 1] * p);
        }
        powers
    };
    let parts = grid.divisions().map(part);
    let top = [0, 1, 2].map(|i| parts[i][parts[i].len() - 1]);
    let mut found = Vec::new();
    for &a in &parts[0] {
        for &d in &parts[1] {
            for &f in &parts[2] {
                let size = a * d * f;
                for e in (0..f).filter(|e| top[1] / d * e % f == 0) {
                    for b in (0..d).filter(|b| top[0] / a * b % d == 0) {
                        let forms = (0..f).map(|c| Hnf { size, a, d, b, c, e });
                        found.extend(
                            forms.filter(|form| form.contains(&[top[0], 0, 0]) && is_useful(form, p, top)),
                        );
                    }
                }
            }
        }
    }
    found
}

/// Whether a supercell of the p-part holds a q-point that is not p times another: otherwise it holds no row.
///
/// All its q-points are p times others exactly when it contains the supercell of those, `diag(top / p)`.
fn is_useful(form: &Hnf, p: i64, top: Vec3) -> bool {
    (0..3).any(|i| {
        let mut edge = [0; 3];
        edge[i] = (top[i] / p).max(1);
        top[i] > 1 && !form.contains(&edge)
    })
}

/// The number modulo `m n` that is `x` modulo `m` and `y` modulo `n`, for coprime m and n.
fn combine(x: i64, m: i64, y: i64, n: i64) -> i64 {
    let x = x.rem_euclid(m);
    let difference = (y - x).rem_euclid(n);
    x + m * multiply_mod(difference, inverse_mod(m, n), n)
}

/// The intersection of two sublattices of coprime index.
fn intersection(p: &Hnf, q: &Hnf) -> Hnf {
    let b = combine(q.a * p.b, p.d, p.a * q.b, q.d);
    let e = combine(q.d * p.e, p.f(), p.d * q.e, q.f());
    // b = q.a p.b + u p.d in the first lattice, and the same with p and q exchanged in the second.
    let c = |r: &Hnf, factor: i64| {
        let u = (b - factor * r.b) / r.d;
        (factor * r.c + multiply_mod(u, r.e, r.f())).rem_euclid(r.f())
    };
    let c = combine(c(p, q.a), p.f(), c(q, p.a), q.f());
    Hnf {
        size: p.size * q.size,
        a: p.a * q.a,
        d: p.d * q.d,
        b,
        c,
        e,
    }
}

/// Largest p-part of a division whose subgroups are listed.
const LARGEST_PART: i64 = 1 << 7;

/// The supercells inside the diagonal one that hold a maximal cyclic subgroup, for each prime of the grid; none when a
/// p-part is too large to list them.
fn local_lists(grid: &Grid) -> Option<Vec<Vec<Hnf>>> {
    let mut lists = Vec::new();
    for &p in grid.primes() {
        if grid
            .divisions()
            .iter()
            .any(|&n| n % p == 0 && p_part(n, p) > LARGEST_PART)
        {
            return None;
        }
        lists.push(local_supercells(grid, p));
    }
    Some(lists)
}

fn p_part(mut n: i64, p: i64) -> i64 {
    let mut part = 1;
    while n % p == 0 {
        n /= p;
        part *= p;
    }
    part
}

/// The largest size up to which there are at most `most` supercells, and whether those are all.
fn largest_size(lists: &[Vec<Hnf>], most: u64) -> Result<(i64, bool)> {
    let mut counts = BTreeMap::from([(1_i64, 1_u128)]);
    for list in lists {
        let mut product = BTreeMap::new();
        for (size, count) in &counts {
            for form in list {
                let size = size
                    .checked_mul(form.size)
                    .ok_or(Error::Overflow("size of a supercell"))?;
                let entry: &mut u128 = product.entry(size).or_default();
                *entry = entry.saturating_add(*count);
            }
        }
        counts = product;
    }
    let (mut sum, mut largest) = (0_u128, 0);
    for (size, count) in counts {
        sum = sum.saturating_add(count);
        if sum > u128::from(most) {
            return Ok((largest, false));
        }
        largest = size;
    }
    Ok((largest, true))
}

/// The supercells inside the diagonal one that hold a maximal cyclic subgroup, up to a size.
fn supercells_inside(lists: &[Vec<Hnf>], largest: i64) -> Vec<Hnf> {
    let mut all = vec![Hnf {
        size: 1,
        a: 1,
        d: 1,
        b: 0,
        c: 0,
        e: 0,
    }];
    // What the primes still to come multiply a size by at the least.
    let least: Vec<i64> = lists
        .iter()
        .map(|l| l.iter().map(|form| form.size).min().unwrap_or(1))
        .collect();
    for (number, list) in lists.iter().enumerate() {
        let room = largest / least[number + 1..].iter().product::<i64>();
        all = all
            .iter()
            .flat_map(|x| {
                list.iter()
                    .filter(|y| x.size * y.size <= room)
                    .map(|y| intersection(x, y))
            })
            .collect();
    }
    all
}

/// Whether a supercell with `S` holds a q-point given by `k E/N` over the exponent E of the grid.
fn holds(s: &Mat3, scaled: &Vec3, exponent: i64) -> bool {
    s.iter().all(|row| {
        let sum: i128 = (0..3).map(|j| i128::from(row[j]) * i128::from(scaled[j])).sum();
        sum % i128::from(exponent) == 0
    })
}

/// The columns of the programme, each the first of its orbit, in order: all of them, or those up to the largest size
/// for which there are at most `most` subgroups.
pub fn columns(grid: &Grid, rotations: &[Mat3], most: u64, context: &Context) -> Result<Columns> {
    let rows = minimal_cover(grid, rotations, context)?;
    let kept = on_grid(rotations, grid.divisions())?;
    let group: Vec<Mat3> = kept.into_iter().map(|(index, _)| rotations[index]).collect();
    let operations = up_to_sign(&group);
    let (candidates, complete) = match local_lists(grid) {
        Some(lists) => {
            let (largest, complete) = largest_size(&lists, most)?;
            (supercells_inside(&lists, largest), complete)
        }
        None => (Vec::new(), false),
    };
    // The rows themselves and the smallest single supercell are always there.
    let mut candidates = candidates;
    candidates.extend(rows.iter().copied());
    candidates.push(smallest_single(grid, rotations)?);
    candidates.sort_unstable();
    candidates.dedup();
    let images = row_images(&rows, grid, &operations)?;
    let mut found: Vec<(Hnf, Vec<u32>)> = Vec::new();
    let length = (PAIRS / rows.len().max(1)).clamp(16, 4096);
    for (number, chunk) in candidates.chunks(length).enumerate() {
        let kept = chunk
            .par_iter()
            .map(|form| {
                let matrix = form.matrix();
                for r in &operations {
                    if Hnf::of(&multiply(&matrix, r)?)? < *form {
                        return Ok(None);
                    }
                }
                let held = |row: &usize| {
                    form.size % rows[*row].size == 0
                        && images[*row].iter().any(|k| holds(&matrix, k, grid.exponent()))
                };
                Ok(Some((
                    *form,
                    (0..rows.len()).filter(held).map(|row| row as u32).collect(),
                )))
            })
            .collect::<Result<Vec<_>>>()?;
        found.extend(kept.into_iter().flatten());
        context.report((number * length) as u64, candidates.len() as u64)?;
    }
    found.sort_unstable();
    let (forms, held) = found.into_iter().unzip();
    Ok(Columns {
        rows,
        forms,
        held,
        complete,
    })
}

/// A generator of the q-points of each row, under every operation, over the exponent of the grid.
fn row_images(rows: &[Hnf], grid: &Grid, operations: &[Mat3]) -> Result<Vec<Vec<Vec3>>> {
    let exponent = grid.exponent();
    rows.iter()
        .map(|row| {
            let generator = generator(row)?.map(|x| x * (exponent / row.size));
            let images: Result<Vec<Vec3>> = operations
                .iter()
                .map(|r| Ok(crate::int3::apply(r, &generator)?.map(|x| x.rem_euclid(exponent))))
                .collect();
            let mut images = images?;
            images.sort_unstable();
            images.dedup();
            Ok(images)
        })
        .collect()
}

/// A generator, over the size, of the q-points that a cyclic supercell holds.
fn generator(form: &Hnf) -> Result<Vec3> {
    // Columns of the adjugate solve S q = integer; a combination of them has the full order.
    let adjugate = crate::int3::adjugate(&form.matrix())?;
    let n = form.size;
    for x in 0..n {
        for y in 0..n {
            let mut k = [0; 3];
            for i in 0..3 {
                let [p, q, r] = adjugate[i].map(|z| z.rem_euclid(n));
                k[i] = (multiply_mod(p, x, n) + multiply_mod(q, y, n) + r).rem_euclid(n);
            }
            if k.iter().fold(n, |g, &z| crate::int3::gcd(g, z)) == 1 {
                return Ok(k);
            }
        }
    }
    Err(Error::Internal(
        "columns: a supercell of the minimal set is not cyclic",
    ))
}
