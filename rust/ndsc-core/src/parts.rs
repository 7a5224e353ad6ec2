//! The subgroups of one p-part of a grid of q-points: those that hold a maximal cyclic subgroup, which ones they hold, and
//! how the point group permutes them. Any subgroup of the grid is a product of one of each p-part.

use rayon::prelude::*;

use crate::context::Context;
use crate::cyclic::Local;
use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, inverse_mod, multiply, multiply_mod};
use crate::qpoint::Grid;

/// Largest p-part of a division whose subgroups are listed.
const LARGEST_PART: i64 = 1 << 7;

/// Subgroups between two reports.
const CHUNK: usize = 1 << 12;

/// The subgroups of a p-part, as supercells.
pub struct Part {
    /// Numbers its maximal cyclic subgroups.
    pub cyclic: Local,
    /// In order.
    pub forms: Vec<Hnf>,
    /// The numbers of the maximal cyclic subgroups in each.
    pub held: Vec<Vec<u32>>,
    /// For each operation where each subgroup goes.
    pub images: Vec<Vec<u32>>,
}

impl Part {
    /// Those of the prime `p` that can be of use when supercells cost `size^exponent`; none when they are too many to be
    /// listed.
    pub fn new(
        grid: &Grid,
        p: i64,
        operations: &[Mat3],
        exponent: f64,
        context: &Context,
    ) -> Result<Option<Self>> {
        let top = grid.divisions().map(|n| p_part(n, p));
        if top.iter().any(|&x| x > LARGEST_PART) {
            return Ok(None);
        }
        let cyclic = Local::new(grid, p);
        let (mut forms, mut held) = (Vec::new(), Vec::new());
        let mut all = local_supercells(top, p);
        all.sort_unstable();
        for (number, chunk) in all.chunks(CHUNK).enumerate() {
            let more: Vec<Vec<u32>> = chunk.par_iter().map(|form| cyclic.inside(form)).collect();
            for (form, numbers) in chunk.iter().zip(more) {
                if is_worth_it(form, &cyclic.orders(&numbers), exponent) {
                    forms.push(*form);
                    held.push(numbers);
                }
            }
            context.report((number * CHUNK) as u64, all.len() as u64)?;
        }
        let mut images = Vec::with_capacity(operations.len());
        for (number, r) in operations.iter().enumerate() {
            let image = |form: &Hnf| -> Result<u32> {
                let image = Hnf::of(&multiply(&form.matrix(), r)?)?;
                let place = forms.binary_search(&image);
                place
                    .map(|x| x as u32)
                    .map_err(|_| Error::Internal("parts: an operation leads out of the grid"))
            };
            images.push(forms.iter().map(image).collect::<Result<_>>()?);
            context.report(number as u64, operations.len() as u64)?;
        }
        Ok(Some(Self {
            cyclic,
            forms,
            held,
            images,
        }))
    }
}

/// Whether a subgroup is cyclic or costs less than the maximal cyclic ones in it, given by order and number: otherwise
/// those can stand for it, also where it is a factor of a larger subgroup.
fn is_worth_it(form: &Hnf, orders: &[(i64, usize)], exponent: f64) -> bool {
    let cost = |size: i64| (size as f64).powf(exponent);
    let sum: f64 = orders
        .iter()
        .map(|&(order, count)| cost(order) * count as f64)
        .sum();
    *orders == [(form.size, 1)] || sum > cost(form.size) * (1.0 + ROUNDING)
}

/// Relative difference of costs below which they are the same.
pub const ROUNDING: f64 = 1e-12;

/// The p-part of a number.
fn p_part(mut n: i64, p: i64) -> i64 {
    let mut part = 1;
    while n % p == 0 {
        n /= p;
        part *= p;
    }
    part
}

/// All supercells inside the diagonal one of `top`, powers of `p`.
fn local_supercells(top: Vec3, p: i64) -> Vec<Hnf> {
    let powers = |n: i64| std::iter::successors(Some(1), move |x| Some(x * p)).take_while(move |&x| x <= n);
    let mut found = Vec::new();
    for a in powers(top[0]) {
        for d in powers(top[1]) {
            for f in powers(top[2]) {
                let size = a * d * f;
                let (x, y) = (top[0] / a, top[1] / d);
                for e in (0..f).filter(|e| y * e % f == 0) {
                    for b in (0..d).filter(|b| x * b % d == 0) {
                        // The first edge of the diagonal one is x times the first row less x b / d times the second one,
                        // up to the third: x c = x b e / d modulo f, and x and f are powers of p.
                        let third = x * b / d * e % f;
                        let common = x.min(f);
                        if third % common == 0 {
                            let first = third / x % (f / common);
                            found.extend((first..f).step_by((f / common) as usize).map(|c| Hnf {
                                size,
                                a,
                                d,
                                b,
                                c,
                                e,
                            }));
                        }
                    }
                }
            }
        }
    }
    found
}

/// The number modulo `m n` that is `x` modulo `m` and `y` modulo `n`, for coprime m and n.
fn combine(x: i64, m: i64, y: i64, n: i64) -> i64 {
    let x = x.rem_euclid(m);
    let difference = (y - x).rem_euclid(n);
    x + m * multiply_mod(difference, inverse_mod(m, n), n)
}

/// The intersection of two sublattices of coprime index.
pub fn intersection(p: &Hnf, q: &Hnf) -> Hnf {
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
