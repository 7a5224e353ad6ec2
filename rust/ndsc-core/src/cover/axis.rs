//! The minimal set of an isotropic grid for point groups that keep the third axis, such as hexagonal and tetragonal ones.
//!
//! All operations (up to sign) leave the third numerator of a q-point as it is, and so what comes from it in the
//! Hermite normal form. The cyclic forms are gone through in their order; each that was not met is the first of its
//! orbit, and its images are marked.

use crate::context::{Context, Ticker};
use crate::error::Result;
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

/// Forms with one third diagonal element and one pair of first ones, and marks of those that were met.
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

/// A q-point whose third numerator is `a d`, in the supercell of the form; none when the form is not cyclic.
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
    let all = divisors(n);
    let number = |d: i64| all.partition_point(|&x| x < d);
    let mut marks = Marks {
        bits: vec![0; tables.places as usize / 64 + 1],
    };
    let (mut found, mut ticker, mut done) = (Vec::new(), Ticker::new(), 0);
    for (i, &a) in all.iter().enumerate() {
        for &d in all.iter().filter(|&&d| n / a % d == 0) {
            let (f, g3) = (n / a / d, a * d);
            // Where images with each first diagonal element have their marks: a d stays.
            let starts: Vec<(i64, u64)> = (0..=g3)
                .map(|x| {
                    if x > 0 && g3 % x == 0 {
                        (g3 / x, tables.place[number(x) * all.len() + number(g3 / x)])
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
                let Some(k) = generator(&form) else { continue };
                found.push(form);
                for m in operations {
                    marks.insert(image_place(&tables, m, &k, g3, f, &starts));
                }
            }
            done += (d * f * f) as u64;
            ticker.tick(context, done, tables.places)?;
        }
    }
    Ok(found)
}

/// Where the form of `m k` has its mark; the third numerator of k is `g3`, whose cofactor is `f`.
fn image_place(tables: &Tables, m: &Mat3, k: &Vec3, g3: i64, f: i64, starts: &[(i64, u64)]) -> u64 {
    let n = tables.n;
    let k1 = (m[0][0] * k[0] + m[0][1] * k[1] + m[0][2] * k[2]) % n;
    let k2 = (m[1][0] * k[0] + m[1][1] * k[1] + m[1][2] * k[2]) % n;
    // The formula of `qpoint::smallest_supercell` with k3 = g3.
    let a = if g3 == 1 {
        1
    } else {
        gcd(tables.gcd[k2 as usize], g3)
    };
    let (d, start) = starts[a as usize];
    let second = k2 / a;
    let b = if d == 1 {
        0
    } else {
        (d - k1 % d * tables.inverse(second % d, d) % d) % d
    };
    let e = (n - second) % f;
    let c = (n - (a * k1 + b * k2) / g3 % f) % f;
    start + ((b * f + c) * f + e) as u64
}
