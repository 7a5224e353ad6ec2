//! The Smith normal form: how a supercell's translations fall into cyclic groups.

use crate::error::{Error, Result};
use crate::int3::{Mat3, determinant};

type Wide = [[i128; 3]; 3];
const OVERFLOW: Error = Error::Overflow("Smith normal form");
const ONE: Wide = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

/// `U s V = D`, with U and V unimodular and D diagonal, positive, each element dividing the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smith {
    /// The elementary divisors.
    pub diagonal: [i64; 3],
    /// U, acting on rows.
    pub left: Mat3,
    /// V, acting on columns.
    pub right: Mat3,
}

/// Row `i` minus `factor` times row `j`.
fn subtract_row(m: &mut Wide, i: usize, j: usize, factor: i128) -> Result<()> {
    for k in 0..3 {
        let product = m[j][k].checked_mul(factor).ok_or(OVERFLOW)?;
        m[i][k] = m[i][k].checked_sub(product).ok_or(OVERFLOW)?;
    }
    Ok(())
}

/// Column `i` minus `factor` times column `j`.
fn subtract_column(m: &mut Wide, i: usize, j: usize, factor: i128) -> Result<()> {
    for row in m.iter_mut() {
        let product = row[j].checked_mul(factor).ok_or(OVERFLOW)?;
        row[i] = row[i].checked_sub(product).ok_or(OVERFLOW)?;
    }
    Ok(())
}

fn swap_columns(m: &mut Wide, i: usize, j: usize) {
    for row in m.iter_mut() {
        row.swap(i, j);
    }
}

/// Position of the smallest element that is not zero in the block from `t` on.
fn smallest(m: &Wide, t: usize) -> Option<(usize, usize)> {
    let block = (t..3).flat_map(|i| (t..3).map(move |j| (i, j)));
    block
        .filter(|&(i, j)| m[i][j] != 0)
        .min_by_key(|&(i, j)| m[i][j].unsigned_abs())
}

/// The Smith normal form of a matrix that is not singular.
///
/// ```
/// use ndsc_core::snf::smith;
/// assert_eq!(smith(&[[2, 0, 0], [0, 3, 0], [0, 0, 4]]).unwrap().diagonal, [1, 2, 12]);
/// ```
pub fn smith(s: &Mat3) -> Result<Smith> {
    if determinant(s)? == 0 {
        return Err(Error::input(format!(
            "the matrix {s:?} is singular; give three independent rows"
        )));
    }
    let mut m = s.map(|row| row.map(i128::from));
    let (mut left, mut right) = (ONE, ONE);
    for t in 0..3 {
        loop {
            let (i, j) = smallest(&m, t).ok_or(Error::Internal("Smith normal form: zero block"))?;
            m.swap(t, i);
            left.swap(t, i);
            swap_columns(&mut m, t, j);
            swap_columns(&mut right, t, j);
            for k in t + 1..3 {
                let quotient = m[k][t] / m[t][t];
                subtract_row(&mut m, k, t, quotient)?;
                subtract_row(&mut left, k, t, quotient)?;
                let quotient = m[t][k] / m[t][t];
                subtract_column(&mut m, k, t, quotient)?;
                subtract_column(&mut right, k, t, quotient)?;
            }
            if (t + 1..3).any(|k| m[k][t] != 0 || m[t][k] != 0) {
                continue;
            }
            // The pivot must divide the rest; a row with a remainder is added to it and the loop goes on.
            let Some(row) = (t + 1..3).find(|&i| (t + 1..3).any(|j| m[i][j] % m[t][t] != 0)) else {
                break;
            };
            subtract_row(&mut m, t, row, -1)?;
            subtract_row(&mut left, t, row, -1)?;
        }
        if m[t][t] < 0 {
            m[t] = m[t].map(|x| -x);
            left[t] = left[t].map(|x| -x);
        }
    }
    let fit = |x: i128| i64::try_from(x).map_err(|_| OVERFLOW);
    let fit_all = |w: &Wide| -> Result<Mat3> {
        let mut out = [[0; 3]; 3];
        for i in 0..3 {
            for j in 0..3 {
                out[i][j] = fit(w[i][j])?;
            }
        }
        Ok(out)
    };
    Ok(Smith {
        diagonal: [fit(m[0][0])?, fit(m[1][1])?, fit(m[2][2])?],
        left: fit_all(&left)?,
        right: fit_all(&right)?,
    })
}
