//! Exact algebra of 3x3 integer matrices. Rows are vectors; every overflow is an error.

use crate::error::{Error, Result};

/// A row or column of three integers.
pub type Vec3 = [i64; 3];
/// A 3x3 integer matrix, `m[row][column]`.
pub type Mat3 = [[i64; 3]; 3];

/// The identity.
pub const IDENTITY: Mat3 = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

fn narrow(value: i128, what: &'static str) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::Overflow(what))
}

/// Sums of six products of three, or of three products of two, of elements up to this stay inside 64 bits.
const SMALL: u64 = 1 << 20;

/// Whether no element exceeds [`SMALL`], so that plain arithmetic is exact.
fn is_small(m: &Mat3) -> bool {
    m.iter().flatten().fold(0, |bits, x| bits | x.unsigned_abs()) < SMALL
}

/// The scalar product, in 128 bits.
fn dot(u: &Vec3, v: [i64; 3], what: &'static str) -> Result<i64> {
    let mut sum = 0_i128;
    for k in 0..3 {
        let product = i128::from(u[k]) * i128::from(v[k]);
        sum = sum.checked_add(product).ok_or(Error::Overflow(what))?;
    }
    narrow(sum, what)
}

/// The column `j` of `m`.
pub fn column(m: &Mat3, j: usize) -> Vec3 {
    [m[0][j], m[1][j], m[2][j]]
}

/// The transpose.
pub fn transpose(m: &Mat3) -> Mat3 {
    [column(m, 0), column(m, 1), column(m, 2)]
}

/// The product `a b`.
pub fn multiply(a: &Mat3, b: &Mat3) -> Result<Mat3> {
    let mut product = [[0; 3]; 3];
    if is_small(a) && is_small(b) {
        for i in 0..3 {
            for j in 0..3 {
                product[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
            }
        }
        return Ok(product);
    }
    for i in 0..3 {
        for j in 0..3 {
            product[i][j] = dot(&a[i], column(b, j), "matrix product")?;
        }
    }
    Ok(product)
}

/// The matrix times a column, `m v`.
pub fn apply(m: &Mat3, v: &Vec3) -> Result<Vec3> {
    Ok([
        dot(&m[0], *v, "matrix times vector")?,
        dot(&m[1], *v, "matrix times vector")?,
        dot(&m[2], *v, "matrix times vector")?,
    ])
}

fn minor(m: &Mat3, i: usize, j: usize) -> i128 {
    let (r, s) = ((i + 1) % 3, (i + 2) % 3);
    let (p, q) = ((j + 1) % 3, (j + 2) % 3);
    i128::from(m[r][p]) * i128::from(m[s][q]) - i128::from(m[r][q]) * i128::from(m[s][p])
}

/// The determinant.
pub fn determinant(m: &Mat3) -> Result<i64> {
    if is_small(m) {
        let [[a, b, c], [d, e, f], [g, h, i]] = *m;
        return Ok(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g));
    }
    let mut sum = 0_i128;
    for j in 0..3 {
        let term = minor(m, 0, j)
            .checked_mul(i128::from(m[0][j]))
            .ok_or(Error::Overflow("determinant"))?;
        sum = sum.checked_add(term).ok_or(Error::Overflow("determinant"))?;
    }
    narrow(sum, "determinant")
}

/// The adjugate: `m * adjugate(m) = determinant(m) * identity`.
pub fn adjugate(m: &Mat3) -> Result<Mat3> {
    let mut adjugate = [[0; 3]; 3];
    for i in 0..3 {
        for j in 0..3 {
            adjugate[i][j] = narrow(minor(m, j, i), "adjugate")?;
        }
    }
    Ok(adjugate)
}

/// The inverse of a matrix of determinant 1 or -1.
pub fn unimodular_inverse(m: &Mat3) -> Result<Mat3> {
    let d = determinant(m)?;
    if d.unsigned_abs() != 1 {
        return Err(Error::input(format!(
            "the matrix {m:?} has determinant {d}; a rotation has 1 or -1"
        )));
    }
    let mut inverse = adjugate(m)?;
    for row in &mut inverse {
        for x in row {
            *x = x.checked_mul(d).ok_or(Error::Overflow("inverse"))?;
        }
    }
    Ok(inverse)
}

/// The greatest common divisor, not negative; `gcd(0, 0) = 0`.
pub fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    // Only gcd(i64::MIN, 0) exceeds i64; callers work with numbers far below.
    i64::try_from(a).unwrap_or(i64::MAX)
}

/// `(a b) mod m` for `m > 0`, in `0..m`.
pub fn multiply_mod(a: i64, b: i64, m: i64) -> i64 {
    if let Some(product) = a.checked_mul(b) {
        return product.rem_euclid(m);
    }
    (i128::from(a) * i128::from(b)).rem_euclid(i128::from(m)) as i64
}

/// The inverse of `a` modulo `m`, in `0..m`, for `gcd(a, m) = 1`; 0 when `m = 1`.
pub fn inverse_mod(a: i64, m: i64) -> i64 {
    let (mut r0, mut r1) = (m, a.rem_euclid(m));
    let (mut t0, mut t1) = (0_i64, 1_i64);
    while r1 != 0 {
        let quotient = r0 / r1;
        (r0, r1) = (r1, r0 - quotient * r1);
        (t0, t1) = (t1, t0 - quotient * t1);
    }
    debug_assert!(r0 == 1, "{a} has no inverse modulo {m}");
    t0.rem_euclid(m)
}

/// The prime factors of `n > 0` with their exponents, ascending.
pub fn factorise(mut n: i64) -> Vec<(i64, u32)> {
    let mut factors = Vec::new();
    let mut p = 2;
    while p <= n / p {
        let mut exponent = 0;
        while n % p == 0 {
            n /= p;
            exponent += 1;
        }
        if exponent > 0 {
            factors.push((p, exponent));
        }
        p += 1;
    }
    if n > 1 {
        factors.push((n, 1));
    }
    factors
}

/// The divisors of `n > 0`, ascending.
pub fn divisors(n: i64) -> Vec<i64> {
    let mut all = vec![1];
    for (p, exponent) in factorise(n) {
        let previous = all.clone();
        let mut power = 1;
        for _ in 0..exponent {
            power *= p;
            all.extend(previous.iter().map(|d| d * power));
        }
    }
    all.sort_unstable();
    all
}
