//! Rows and columns of the integer programme for cost exponents below log2(3), where a supercell that is not cyclic can
//! replace several that are: rows are orbits of maximal cyclic subgroups, columns orbits of subgroups.
//!
//! A subgroup is a product of its p-parts, and so is the list of the maximal cyclic subgroups in it: what a column holds
//! is read from tables, without a look at the other rows. One subgroup of each orbit is met: the first of its orbit in
//! one p-part, then the first in the next under the operations that fix what was chosen, and so on.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::context::Context;
use crate::cover::minimal_cover;
use crate::error::{Error, Result};
use crate::hnf::Hnf;
use crate::int3::{Mat3, Vec3, multiply, multiply_mod};
use crate::parts::{Part, ROUNDING, intersection};
use crate::qpoint::Grid;
use crate::single::smallest_single;
use crate::symmetry::{on_grid, up_to_sign};

/// Maximal cyclic subgroups that are looked at between two reports: a tenth of a second or less.
const LOOKS: u64 = 1 << 22;

/// Most maximal cyclic subgroups of a grid whose rows are kept in a table.
const LARGEST_TABLE: u64 = 1 << 26;

/// Supercells, one of each orbit, and the rows that each holds.
pub struct Columns {
    /// The rows: the minimal set of cyclic supercells.
    pub rows: Vec<Hnf>,
    /// The columns.
    pub forms: Vec<Hnf>,
    /// For each column the numbers of the rows it holds, ascending.
    pub held: Vec<Vec<u32>>,
    /// What else can be of use: sizes of the subgroups that are no columns, and how many maximal cyclic subgroups one of
    /// that size holds at the most. Empty when every useful subgroup is a column; none when nothing is known.
    pub beyond: Option<Vec<(i64, u64)>>,
}

/// By size, of the products of subgroups of the parts: all maximal cyclic subgroups in them, and most in one.
fn counts(parts: &[Part]) -> Result<BTreeMap<i64, (u128, u64)>> {
    let mut counts = BTreeMap::from([(1_i64, (1_u128, 1_u64))]);
    for part in parts {
        let mut own: BTreeMap<i64, (u128, u64)> = BTreeMap::new();
        for (form, held) in part.forms.iter().zip(&part.held) {
            let entry = own.entry(form.size).or_default();
            entry.0 += held.len() as u128;
            entry.1 = entry.1.max(held.len() as u64);
        }
        let mut product: BTreeMap<i64, (u128, u64)> = BTreeMap::new();
        for (size, (sum, most)) in &counts {
            for (factor, (more, largest)) in &own {
                let size = size
                    .checked_mul(*factor)
                    .ok_or(Error::Overflow("size of a supercell"))?;
                let entry = product.entry(size).or_default();
                entry.0 = entry.0.saturating_add(sum.saturating_mul(*more));
                entry.1 = entry.1.max(most.saturating_mul(*largest));
            }
        }
        counts = product;
    }
    Ok(counts)
}

/// Everything that finding the columns takes.
struct Search<'a> {
    parts: &'a [Part],
    operations: &'a [Mat3],
    /// For each maximal cyclic subgroup of the grid its row.
    row_of: Vec<u32>,
    /// Cost of each row.
    costs: Vec<f64>,
    exponent: f64,
    largest: i64,
    /// What the parts from each on multiply a size by at the least.
    least: Vec<i64>,
}

/// A product of subgroups of the first parts.
struct Partial {
    form: Hnf,
    /// Numbers of the maximal cyclic subgroups in it.
    held: Vec<u64>,
    /// The operations that fix it.
    fixing: Vec<usize>,
}

impl Search<'_> {
    /// The product with the subgroup `number` of part `depth`, when it is the first of its orbit and small enough.
    fn extended(&self, partial: &Partial, depth: usize, number: usize) -> Option<Partial> {
        let part = &self.parts[depth];
        let form = &part.forms[number];
        if partial.form.size * form.size > self.largest / self.least[depth + 1] {
            return None;
        }
        let mut fixing = Vec::with_capacity(partial.fixing.len());
        for &r in &partial.fixing {
            match (part.images[r][number] as usize).cmp(&number) {
                std::cmp::Ordering::Less => return None,
                std::cmp::Ordering::Equal => fixing.push(r),
                std::cmp::Ordering::Greater => {}
            }
        }
        let total = part.cyclic.total();
        let held = partial
            .held
            .iter()
            .flat_map(|x| part.held[number].iter().map(move |&y| x * total + u64::from(y)))
            .collect();
        Some(Partial {
            form: intersection(&partial.form, form),
            held,
            fixing,
        })
    }

    /// Goes through the products with all parts from `depth` on.
    fn visit(&self, partial: &Partial, depth: usize, found: &mut Vec<(Hnf, Vec<u32>)>) -> Result<()> {
        if depth < self.parts.len() {
            for number in 0..self.parts[depth].forms.len() {
                if let Some(next) = self.extended(partial, depth, number) {
                    self.visit(&next, depth + 1, found)?;
                }
            }
            return Ok(());
        }
        let mut rows: Vec<u32> = partial.held.iter().map(|&x| self.row_of[x as usize]).collect();
        rows.sort_unstable();
        rows.dedup();
        // The rows themselves are columns already, and together they can stand for this one unless it costs less.
        let sum: f64 = rows.iter().map(|&row| self.costs[row as usize]).sum();
        if sum > (partial.form.size as f64).powf(self.exponent) * (1.0 + ROUNDING) {
            found.push((first_image(&partial.form, self.operations)?, rows));
        }
        Ok(())
    }
}

/// The first member of the orbit of a supercell.
fn first_image(form: &Hnf, operations: &[Mat3]) -> Result<Hnf> {
    let matrix = form.matrix();
    operations
        .iter()
        .try_fold(*form, |first, r| Ok(first.min(Hnf::of(&multiply(&matrix, r)?)?)))
}

/// The columns of the programme for the cost `size^exponent`, each the first of its orbit, in order. Left out are those
/// that rows themselves can stand for at no more cost, and the largest ones when all subgroups, one of each orbit, hold more
/// than about `most` maximal cyclic ones together.
pub fn columns(
    grid: &Grid,
    rotations: &[Mat3],
    exponent: f64,
    most: u64,
    context: &Context,
) -> Result<Columns> {
    let rows = minimal_cover(grid, rotations, context)?;
    let kept = on_grid(rotations, grid.divisions())?;
    let numerators: Vec<Mat3> = up_to_sign(&kept.iter().map(|x| x.1).collect::<Vec<_>>());
    let group: Vec<Mat3> = kept.into_iter().map(|(index, _)| rotations[index]).collect();
    let operations = up_to_sign(&group);
    let single = first_image(&smallest_single(grid, rotations)?, &operations)?;
    let mut parts = Vec::new();
    for &p in grid.primes() {
        match Part::new(grid, p, &operations, exponent, context)? {
            Some(part) => parts.push(part),
            None => return Ok(with_rows(rows, Vec::new(), single, None)),
        }
    }
    // The largest part first: its orbits are found once.
    parts.sort_by_key(|part| std::cmp::Reverse(part.forms.len()));
    let counts = counts(&parts)?;
    let (mut sum, mut largest) = (0_u128, 0);
    for (size, (looks, _)) in &counts {
        sum = sum.saturating_add(*looks);
        if sum > u128::from(most) * operations.len() as u128 {
            break;
        }
        largest = *size;
    }
    let beyond = counts
        .iter()
        .filter(|x| *x.0 > largest)
        .map(|(size, (_, most))| (*size, *most))
        .collect();
    let cyclic: u128 = parts.iter().map(|part| u128::from(part.cyclic.total())).product();
    if cyclic > u128::from(LARGEST_TABLE) {
        let all = counts.iter().map(|(size, (_, most))| (*size, *most)).collect();
        return Ok(with_rows(rows, Vec::new(), single, Some(all)));
    }
    let mut least = vec![1; parts.len() + 1];
    for (depth, part) in parts.iter().enumerate().rev() {
        let smallest = part.forms.iter().map(|form| form.size).min().unwrap_or(1);
        least[depth] = least[depth + 1] * smallest;
    }
    let search = Search {
        row_of: rows_of_subgroups(&rows, grid, &numerators, &parts, context)?,
        costs: rows.iter().map(|row| (row.size as f64).powf(exponent)).collect(),
        parts: &parts,
        operations: &operations,
        exponent,
        largest,
        least,
    };
    let found = search_all(&search, context)?;
    Ok(with_rows(rows, found, single, Some(beyond)))
}

/// Goes through the orbits of the first part, many at a time.
fn search_all(search: &Search, context: &Context) -> Result<Vec<(Hnf, Vec<u32>)>> {
    let start = Partial {
        form: Hnf {
            size: 1,
            a: 1,
            d: 1,
            b: 0,
            c: 0,
            e: 0,
        },
        held: vec![0],
        fixing: (0..search.operations.len()).collect(),
    };
    let Some(part) = search.parts.first() else {
        return Ok(Vec::new());
    };
    let others: u64 = search.parts[1..]
        .iter()
        .map(|part| part.held.iter().map(|held| held.len() as u64).sum::<u64>())
        .fold(1, u64::saturating_mul);
    let mut found = Vec::new();
    let (mut next, mut pending, mut looks) = (0, Vec::new(), 0_u64);
    while next < part.forms.len() {
        pending.extend(search.extended(&start, 0, next));
        looks = looks.saturating_add(others.saturating_mul(part.held[next].len() as u64));
        next += 1;
        if looks < LOOKS && next < part.forms.len() {
            continue;
        }
        let more = pending
            .par_iter()
            .map(|partial| {
                let mut found = Vec::new();
                search.visit(partial, 1, &mut found)?;
                Ok(found)
            })
            .collect::<Result<Vec<_>>>()?;
        found.extend(more.into_iter().flatten());
        (pending, looks) = (Vec::new(), 0);
        context.report(next as u64, part.forms.len() as u64)?;
    }
    Ok(found)
}

/// Adds the rows themselves and the smallest single supercell, which are always there.
fn with_rows(
    rows: Vec<Hnf>,
    mut found: Vec<(Hnf, Vec<u32>)>,
    single: Hnf,
    beyond: Option<Vec<(i64, u64)>>,
) -> Columns {
    found.extend(
        rows.iter()
            .enumerate()
            .map(|(row, form)| (*form, vec![row as u32])),
    );
    found.push((single, (0..rows.len() as u32).collect()));
    found.sort_unstable();
    found.dedup_by_key(|column| column.0);
    let (forms, held) = found.into_iter().unzip();
    Columns {
        rows,
        forms,
        held,
        beyond,
    }
}

/// The row of each maximal cyclic subgroup, by its number: the numbers in the parts, the first part slowest.
fn rows_of_subgroups(
    rows: &[Hnf],
    grid: &Grid,
    operations: &[Mat3],
    parts: &[Part],
    context: &Context,
) -> Result<Vec<u32>> {
    let total: u64 = parts.iter().map(|part| part.cyclic.total()).product();
    let mut row_of = vec![u32::MAX; total as usize];
    for (row, form) in rows.iter().enumerate() {
        let generator = generator(form, grid)?;
        for m in operations {
            let image = grid.rotate(m, &generator);
            let mut number = 0;
            for part in parts {
                let local = part
                    .cyclic
                    .number_of_part(&image, grid)
                    .ok_or(Error::Internal("columns: a row is not maximal"))?;
                number = number * part.cyclic.total() + local;
            }
            row_of[number as usize] = row as u32;
        }
        if row % 1024 == 0 {
            context.report(row as u64, rows.len() as u64)?;
        }
    }
    Ok(row_of)
}

/// A generator, as numerators over the grid, of the q-points that a cyclic supercell holds.
fn generator(form: &Hnf, grid: &Grid) -> Result<Vec3> {
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
                // k / n = numerator / N.
                let scale =
                    |i: usize| (i128::from(k[i]) * i128::from(grid.divisions()[i]) / i128::from(n)) as i64;
                return Ok([0, 1, 2].map(scale));
            }
        }
    }
    Err(Error::Internal(
        "columns: a supercell of the minimal set is not cyclic",
    ))
}
