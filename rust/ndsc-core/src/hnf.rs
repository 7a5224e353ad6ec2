//! Hermite normal forms `[[a, b, c], [0, d, e], [0, 0, f]]` with `0 <= b < d`, `0 <= c, e < f`: the one basis of each
//! sublattice of the integers that this crate sorts, compares and stores by.

use crate::context::{Context, Ticker};
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
    ///
    /// ```
    /// use ndsc_core::hnf::Hnf;
    /// let form = Hnf::of(&[[0, 2, 1], [1, 0, 0], [0, 0, 3]]).unwrap();
    /// assert_eq!(form.matrix(), [[1, 0, 0], [0, 2, 1], [0, 0, 3]]);
    /// ```
    pub fn of(s: &Mat3) -> Result<Self> {
        match narrow::triangular(s) {
            // Intermediate numbers can exceed the result; 128 bits then decide.
            Err(Error::Overflow(_)) => wide::triangular(s),
            other => other,
        }
    }

    /// Whether the sublattice contains `v`.
    pub fn contains(&self, v: &Vec3) -> bool {
        let (a, b, c) = (i128::from(self.a), i128::from(self.b), i128::from(self.c));
        let (d, e, f) = (i128::from(self.d), i128::from(self.e), i128::from(self.f()));
        let v = v.map(i128::from);
        if v[0] % a != 0 {
            return false;
        }
        let x = v[0] / a;
        let second = v[1] - x * b;
        if second % d != 0 {
            return false;
        }
        // Reducing modulo f keeps the products below 2^127.
        let y = second / d % f;
        (v[2] - x % f * c - y * e) % f == 0
    }
}

/// The Hermite normal form H of `s` and the unimodular U with `H = U s`.
pub fn with_transform(s: &Mat3) -> Result<(Hnf, Mat3)> {
    const OVERFLOW: Error = Error::Overflow("Hermite normal form");
    let form = Hnf::of(s)?;
    let size = i128::from(determinant(s)?);
    // U = H s^-1 = H adjugate(s) / det(s), exactly.
    let (h, adjugate) = (form.matrix(), adjugate(s)?);
    let mut transform = [[0; 3]; 3];
    for i in 0..3 {
        for j in 0..3 {
            let mut sum = 0_i128;
            for k in 0..3 {
                // Two factors below 2^63.
                let product = i128::from(h[i][k]) * i128::from(adjugate[k][j]);
                sum = sum.checked_add(product).ok_or(OVERFLOW)?;
            }
            transform[i][j] = i64::try_from(sum / size).map_err(|_| OVERFLOW)?;
        }
    }
    Ok((form, transform))
}

/// Euclid's algorithm on rows, once in 64 bits for speed and once in 128 bits.
macro_rules! elimination {
    ($name:ident, $integer:ty) => {
        mod $name {
            use super::{Error, Hnf, Mat3, Result};

            type Row = [$integer; 3];
            const OVERFLOW: Error = Error::Overflow("Hermite normal form");

            /// `u - factor * v`.
            fn subtract(u: &Row, v: &Row, factor: $integer) -> Result<Row> {
                let mut w = *u;
                for k in 0..3 {
                    w[k] = v[k]
                        .checked_mul(factor)
                        .and_then(|x| u[k].checked_sub(x))
                        .ok_or(OVERFLOW)?;
                }
                Ok(w)
            }

            /// Euclid's algorithm on column `j` of two rows: the second ends with a zero there.
            fn eliminate(rows: &mut [Row; 3], j: usize, other: usize) -> Result<()> {
                let (mut u, mut v) = (rows[j], rows[other]);
                while v[j] != 0 {
                    let quotient = u[j].checked_div(v[j]).ok_or(OVERFLOW)?;
                    (u, v) = (
                        v,
                        if quotient == 0 {
                            u
                        } else {
                            subtract(&u, &v, quotient)?
                        },
                    );
                }
                (rows[j], rows[other]) = (u, v);
                Ok(())
            }

            pub fn triangular(s: &Mat3) -> Result<Hnf> {
                let mut rows = s.map(|row| row.map(<$integer>::from));
                eliminate(&mut rows, 0, 1)?;
                eliminate(&mut rows, 0, 2)?;
                eliminate(&mut rows, 1, 2)?;
                for j in 0..3 {
                    if rows[j][j] == 0 {
                        return Err(Error::input(format!(
                            "the matrix {s:?} is singular; give three independent rows"
                        )));
                    }
                    if rows[j][j] < 0 {
                        rows[j] = subtract(&[0; 3], &rows[j], 1)?;
                    }
                }
                for (i, j) in [(0, 1), (1, 2), (0, 2)] {
                    // Most elements are in range, and comparing is cheaper than dividing.
                    if rows[i][j] < 0 || rows[i][j] >= rows[j][j] {
                        let quotient = rows[i][j].div_euclid(rows[j][j]);
                        rows[i] = subtract(&rows[i], &rows[j], quotient)?;
                    }
                }
                let size = rows[0][0]
                    .checked_mul(rows[1][1])
                    .and_then(|x| x.checked_mul(rows[2][2]))
                    .ok_or(OVERFLOW)?;
                let fit = |x: $integer| i64::try_from(x).map_err(|_| OVERFLOW);
                Ok(Hnf {
                    size: fit(size)?,
                    a: fit(rows[0][0])?,
                    d: fit(rows[1][1])?,
                    b: fit(rows[0][1])?,
                    c: fit(rows[0][2])?,
                    e: fit(rows[1][2])?,
                })
            }
        }
    };
}
elimination!(narrow, i64);
elimination!(wide, i128);

/// The largest determinant whose forms are counted; their number is above its square.
pub const LARGEST_SIZE: i64 = 1 << 40;

fn check_size(size: i64) -> Result<()> {
    if size < 1 {
        return Err(Error::input(format!(
            "a supercell of {size} cells does not exist; give at least 1"
        )));
    }
    if size > LARGEST_SIZE {
        return Err(Error::TooLarge(format!(
            "there are more than 10^24 supercells of {size} cells; use a smaller size"
        )));
    }
    Ok(())
}

/// How many Hermite normal forms a determinant has: the sum of `d f^2` over `a d f = size`.
pub fn count_of_size(size: i64) -> Result<u128> {
    check_size(size)?;
    let mut count = 0_u128;
    for a in divisors(size) {
        for d in divisors(size / a) {
            let f = (size / a / d) as u128;
            let block = f.checked_mul(f).and_then(|x| x.checked_mul(d as u128));
            count = block
                .and_then(|x| count.checked_add(x))
                .ok_or(Error::Overflow("number of normal forms"))?;
        }
    }
    Ok(count)
}

/// All Hermite normal forms of a determinant, in their order.
pub fn all_of_size(size: i64, context: &Context) -> Result<Vec<Mat3>> {
    let count = count_of_size(size)?;
    context.reserve(
        count.saturating_mul(size_of::<Mat3>() as u128),
        &format!("the list of the {count} Hermite normal forms of determinant {size}"),
        "use a smaller determinant",
    )?;
    let mut ticker = Ticker::new();
    let mut all = Vec::with_capacity(count as usize);
    for a in divisors(size) {
        for d in divisors(size / a) {
            let f = size / a / d;
            for b in 0..d {
                for c in 0..f {
                    all.extend((0..f).map(|e| [[a, b, c], [0, d, e], [0, 0, f]]));
                    ticker.tick(context, all.len() as u64, count as u64)?;
                }
            }
        }
    }
    Ok(all)
}

/// Numbers the Hermite normal forms of one determinant in their order, both ways in constant time.
pub struct Ranks {
    size: i64,
    /// (a, d, number of the first form with this diagonal), in order.
    blocks: Vec<(i64, i64, u64)>,
    /// Position of each divisor among the divisors, by its value.
    position: Vec<u32>,
    /// First number by position of a and of d.
    offsets: Vec<u64>,
    divisors: usize,
    total: u64,
}

impl Ranks {
    /// The numbering of the forms of `size`, at most 2^28.
    pub fn new(size: i64) -> Result<Self> {
        if size > 1 << 28 {
            return Err(Error::TooLarge(format!(
                "the supercells of {size} cells cannot be numbered in memory; use a smaller size"
            )));
        }
        let total =
            u64::try_from(count_of_size(size)?).map_err(|_| Error::Overflow("number of normal forms"))?;
        let all = divisors(size);
        let mut position = vec![0; size as usize + 1];
        for (index, &x) in all.iter().enumerate() {
            position[x as usize] = index as u32;
        }
        let mut offsets = vec![0; all.len() * all.len()];
        let mut blocks = Vec::new();
        let mut next = 0_u64;
        for &a in &all {
            for d in divisors(size / a) {
                let f = size / a / d;
                blocks.push((a, d, next));
                offsets[position[a as usize] as usize * all.len() + position[d as usize] as usize] = next;
                next += (d * f * f) as u64;
            }
        }
        Ok(Self {
            size,
            blocks,
            position,
            offsets,
            divisors: all.len(),
            total,
        })
    }

    /// How many forms there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The number of a form.
    pub fn rank(&self, form: &Hnf) -> u64 {
        let f = form.f();
        let row = self.position[form.a as usize] as usize * self.divisors;
        let offset = self.offsets[row + self.position[form.d as usize] as usize];
        offset + ((form.b * f + form.c) * f + form.e) as u64
    }

    /// The form of a number.
    pub fn form(&self, rank: u64) -> Hnf {
        let block = self.blocks.partition_point(|x| x.2 <= rank) - 1;
        let (a, d, offset) = self.blocks[block];
        let f = self.size / a / d;
        let rest = (rank - offset) as i64;
        Hnf {
            size: self.size,
            a,
            d,
            b: rest / (f * f),
            c: rest / f % f,
            e: rest % f,
        }
    }
}

/// The lattice points inside the supercell `s`: those `n = x s` with `0 <= x < 1`, in lexicographic order.
pub fn lattice_points(s: &Mat3, context: &Context) -> Result<Vec<Vec3>> {
    let form = Hnf::of(s)?;
    context.reserve(
        form.size as u128 * size_of::<Vec3>() as u128,
        &format!(
            "the list of the {} lattice points of the supercell {s:?}",
            form.size
        ),
        "use a smaller supercell",
    )?;
    // x = n adjugate / det; with the sign of det moved into the adjugate the floor is one integer division.
    let sign = determinant(s)?.signum();
    let adjugate = adjugate(s)?.map(|row| row.map(|x| x * sign));
    let mut ticker = Ticker::new();
    let mut points = Vec::with_capacity(form.size as usize);
    for i in 0..form.a {
        for j in 0..form.d {
            for k in 0..form.f() {
                let scaled = multiply(&[[i, j, k], [0; 3], [0; 3]], &adjugate)?[0];
                let whole = scaled.map(|x| x.div_euclid(form.size));
                let shift = multiply(&[whole, [0; 3], [0; 3]], s)?[0];
                points.push([i - shift[0], j - shift[1], k - shift[2]]);
                ticker.tick(context, points.len() as u64, form.size as u64)?;
            }
        }
    }
    points.sort_unstable();
    Ok(points)
}
