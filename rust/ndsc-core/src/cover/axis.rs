//! The minimal set of an isotropic grid for point groups that keep the third axis, such as hexagonal and tetragonal ones.
//!
//! All operations (up to sign) leave the third numerator of a q-point as it is, and so what comes from it in the
//! Hermite normal form. The cyclic forms are gone through in their order; each that was not met is the first of its
//! orbit, and its images are marked.

use crate::context::{Context, Ticker};
use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, divisors, gcd, inverse_mod};

/// Finest grid for this way: products of three numerators stay inside 64 bits, and tables small.
const FINEST: i64 = 1 << 14;

/// The operations with the sign that keeps the third numerator; none when one of them does more to it.
pub fn keeping_third(operations: &[Mat3], n: i64) -> Option<Vec<Mat3>> {
    if n > FINEST {
        return None;
    }
    operations
        .iter()
        .map(|m| match m[2] {
            [0, 0, 1] => Some(*m),
            [0, 0, -1] => Some(m.map(|row| row.map(|x| -x))),
            _ => None,
        })
        .map(|m| m.map(|m| m.map(|row| row.map(|x| x.rem_euclid(n)))))
        .collect()
}

/// What the arithmetic modulo N looks up.
struct Tables {
    n: i64,
    /// Greatest common divisor with N.
    gcd: Vec<i64>,
    /// Inverses modulo each divisor d of N, from `inverse_start[d]` on.
    inverse: Vec<i64>,
    inverse_start: Vec<usize>,
    /// Where the marks of the forms with first diagonal elements a and d begin, by a N + d.
    place: Vec<u64>,
    places: u64,
}

impl Tables {
    fn new(n: i64) -> Self {
        let all = divisors(n);
        let mut tables = Self {
            n,
            gcd: (0..n).map(|x| gcd(x, n)).collect(),
            inverse: Vec::new(),
            inverse_start: vec![0; n as usize + 1],
            place: Vec::new(),
            places: 0,
        };
        for &d in &all {
            tables.inverse_start[d as usize] = tables.inverse.len();
            let inverse = |x: i64| if gcd(x, d) == 1 { inverse_mod(x, d) } else { 0 };
            tables.inverse.extend((0..d).map(inverse));
        }
        tables.place = vec![0; all.len() * all.len()];
        for (i, &a) in all.iter().enumerate() {
            for (j, &d) in all.iter().enumerate().filter(|x| n / a % x.1 == 0) {
                tables.place[i * all.len() + j] = tables.places;
                let f = n / a / d;
                tables.places += (d * f * f) as u64;
            }
        }
        tables
    }

    fn inverse(&self, x: i64, d: i64) -> i64 {
        self.inverse[self.inverse_start[d as usize] + x as usize]
    }
}

/// One bit for each Hermite normal form: whether it was met.
struct Marks {
    bits: Vec<u64>,
}

impl Marks {
    fn contains(&self, place: u64) -> bool {
        self.bits[(place / 64) as usize] >> (place % 64) & 1 == 1
    }

    fn insert(&mut self, place: u64) {
        self.bits[(place / 64) as usize] |= 1 << (place % 64);
    }
}

/// Whether the q-points of a supercell are a cyclic group: its 2x2 minors have no common divisor. Three of them, those
/// of the diagonal alone, have the greatest common divisor `common`.
fn is_cyclic(form: &Hnf, common: i64) -> bool {
    let (a, d, f) = (form.a, form.d, form.f());
    [a * form.e, form.b * f, form.b * form.e - form.c * d]
        .into_iter()
        .fold(common, |g, minor| if g == 1 { 1 } else { gcd(g, minor) })
        == 1
}

/// A q-point whose third numerator is `a d`, in the supercell of the form; the form is cyclic.
fn generator(form: &Hnf) -> Option<Vec3> {
    let (a, d, f) = (form.a, form.d, form.f());
    // With k3 = a d: e = -k2 / a modulo f, and k2 / a is prime to d.
    let second = (0..d)
        .map(|s| f * s + (f - form.e) % f)
        .find(|&x| gcd(x, d) == 1)?;
    // c = -(a k1 + b k2) / (a d) modulo f, and k1 is prime to a.
    let period = d * f;
    let first = (-form.c * d - form.b * second).rem_euclid(period);
    let first = (0..a).map(|t| first + period * t).find(|&x| gcd(x, a) == 1)?;
    Some([first, a * second, a * d])
}

/// The minimal set in order; `operations` as [`keeping_third`] gives them.
pub fn cover(n: i64, operations: &[Mat3], context: &Context) -> Result<Vec<Hnf>> {
    let tables = Tables::new(n);
    context.reserve(
        u128::from(tables.places / 8),
        &format!("marking the supercells of the grid {n} x {n} x {n}"),
        "use a coarser grid, or go through the set piece by piece",
    )?;
    let operations: Vec<[[u32; 3]; 3]> = operations
        .iter()
        .map(|m| m.map(|row| row.map(|x| x as u32)))
        .collect();
    let all = divisors(n);
    let number = |d: i64| all.partition_point(|&x| x < d);
    let mut marks = Marks {
        bits: vec![0; tables.places as usize / 64 + 1],
    };
    let (mut found, mut ticker, mut done) = (Vec::new(), Ticker::new(), 0);
    for (i, &a) in all.iter().enumerate() {
        for &d in all.iter().filter(|&&d| n / a % d == 0) {
            let (f, g3) = (n / a / d, a * d);
            let common = gcd(gcd(a * d, a * f), d * f);
            // Where images with each first diagonal element have their marks: a d stays.
            let starts: Vec<(u32, u64)> = (0..=g3)
                .map(|x| {
                    if x > 0 && g3 % x == 0 {
                        (
                            (g3 / x) as u32,
                            tables.place[number(x) * all.len() + number(g3 / x)],
                        )
                    } else {
                        (0, 0)
                    }
                })
                .collect();
            let start = tables.place[i * all.len() + number(d)];
            for place in 0..(d * f * f) as u64 {
                if marks.contains(start + place) {
                    continue;
                }
                let (b, rest) = (place as i64 / (f * f), place as i64 % (f * f));
                let form = Hnf {
                    size: n,
                    a,
                    d,
                    b,
                    c: rest / f,
                    e: rest % f,
                };
                if !is_cyclic(&form, common) {
                    continue;
                }
                let k = generator(&form)
                    .ok_or(Error::Internal("cover: a cyclic supercell without a generator"))?
                    .map(|x| x as u32);
                found.push(form);
                for m in &operations {
                    marks.insert(image_place(&tables, m, &k, g3 as u32, f as u32, &starts));
                }
            }
            done += (d * f * f) as u64;
            ticker.tick(context, done, tables.places)?;
        }
    }
    Ok(found)
}

/// Where the form of `m k` has its mark; the third numerator of k is `g3`, whose cofactor is `f`.
///
/// In 32 bits, which divide faster: numerators are at most [`FINEST`], sums of three products below 2^30.
fn image_place(
    tables: &Tables,
    m: &[[u32; 3]; 3],
    k: &[u32; 3],
    g3: u32,
    f: u32,
    starts: &[(u32, u64)],
) -> u64 {
    let n = tables.n as u32;
    let k1 = (m[0][0] * k[0] + m[0][1] * k[1] + m[0][2] * k[2]) % n;
    let k2 = (m[1][0] * k[0] + m[1][1] * k[1] + m[1][2] * k[2]) % n;
    let negative = |x: u32, m: u32| if x == 0 { 0 } else { m - x };
    // The formula of `qpoint::smallest_supercell` with k3 = g3.
    if g3 == 1 {
        return starts[1].1 + u64::from(negative(k1, n) * n + negative(k2, n));
    }
    let a = gcd(tables.gcd[k2 as usize], i64::from(g3)) as u32;
    let (d, start) = starts[a as usize];
    let second = k2 / a;
    let b = if d == 1 {
        0
    } else {
        let inverse = tables.inverse(i64::from(second % d), i64::from(d)) as u32;
        negative(k1 % d * inverse % d, d)
    };
    let e = negative(second % f, f);
    let c = negative((a * k1 + b * k2) / g3 % f, f);
    start + (u64::from(b) * u64::from(f) + u64::from(c)) * u64::from(f) + u64::from(e)
}
