//! Atoms of a periodic structure: the shortest distance, and which atom lies where a symmetry operation takes another one.
//!
//! Lengths are floats here. Positions are fractional columns, a cell has lattice vectors as rows. Distances are exact for
//! any cell: it is Minkowski-reduced first, and the images that can be near enough are all looked at.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::context::{Context, Ticker};
use crate::error::{Error, Result};
use crate::int3::{IDENTITY, Mat3, Vec3, multiply, transpose, unimodular_inverse};
use crate::reduce::{Metric, check_metric, minkowski};

/// Three lattice vectors as rows.
pub type Cell = [[f64; 3]; 3];
/// Fractional coordinates.
pub type Position = [f64; 3];

/// Most bins along an axis, so that a bin's number fits into 64 bits.
const MOST_BINS: f64 = 1_048_576.0;

/// Largest radius in units of the shortest distance: as many bins are looked at along each axis.
const MOST_REACH: f64 = 50.0;

fn dot(u: &[f64; 3], v: &[f64; 3]) -> f64 {
    u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
}

fn metric(cell: &Cell) -> Metric {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| dot(&cell[i], &cell[j])))
}

fn times(m: &Mat3, v: &Position) -> Position {
    [0, 1, 2].map(|i| m[i][0] as f64 * v[0] + m[i][1] as f64 * v[1] + m[i][2] as f64 * v[2])
}

/// `x` modulo 1, in `0..1`.
fn wrapped(x: f64) -> f64 {
    let y = x - x.floor();
    if y < 1.0 { y } else { 0.0 }
}

/// Positions in the Minkowski-reduced cell.
struct Reduced {
    metric: Metric,
    /// Takes fractional positions of the cell that was given to those of the reduced one.
    change: Mat3,
    positions: Vec<Position>,
    /// Distances between opposite faces.
    heights: [f64; 3],
}

impl Reduced {
    fn new(cell: &Cell, positions: &[Position]) -> Result<Self> {
        let given = metric(cell);
        check_metric(&given)?;
        if !positions.iter().flatten().all(|x| x.is_finite()) {
            return Err(Error::input("some positions are not finite numbers"));
        }
        let rows = minkowski(&IDENTITY, &given)?;
        let reduced: Cell =
            [0, 1, 2].map(|i| [0, 1, 2].map(|k| (0..3).map(|j| rows[i][j] as f64 * cell[j][k]).sum()));
        // Positions x cell = y rows cell, so y = x rows^-1 as rows.
        let change = transpose(&unimodular_inverse(&rows)?);
        let positions = positions.iter().map(|x| times(&change, x).map(wrapped)).collect();
        let volume = determinant(&reduced).abs();
        let heights = [0, 1, 2].map(|i| volume / norm(&cross(&reduced[(i + 1) % 3], &reduced[(i + 2) % 3])));
        // Heights of a reduced cell are no less than 0.7 times the shortest vector; rounding can spoil that.
        let shortest = norm(&reduced[0]).min(norm(&reduced[1])).min(norm(&reduced[2]));
        if !heights.iter().all(|h| *h > 0.1 * shortest && h.is_finite()) {
            return Err(Error::input(format!(
                "the cell {cell:?} is too flat or too long; check its vectors"
            )));
        }
        Ok(Self {
            metric: metric(&reduced),
            change,
            positions,
            heights,
        })
    }

    /// The length of a difference of fractional positions.
    fn length(&self, d: &Position) -> f64 {
        let g = &self.metric;
        let product = [0, 1, 2].map(|i| dot(&g[i], d));
        dot(&product, d).max(0.0).sqrt()
    }

    /// The nearest image of a difference that is a lattice vector within much less than half a lattice vector.
    fn nearest(&self, d: &Position) -> f64 {
        self.length(&d.map(|x| x - x.round()))
    }
}

fn cross(u: &[f64; 3], v: &[f64; 3]) -> [f64; 3] {
    [
        u[1] * v[2] - u[2] * v[1],
        u[2] * v[0] - u[0] * v[2],
        u[0] * v[1] - u[1] * v[0],
    ]
}

fn norm(u: &[f64; 3]) -> f64 {
    dot(u, u).sqrt()
}

fn determinant(cell: &Cell) -> f64 {
    dot(&cell[0], &cross(&cell[1], &cell[2]))
}

/// Spreads the numbers of bins; the standard hash would take most of the time.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only numbers of bins are hashed")
    }

    fn write_i64(&mut self, number: i64) {
        let x = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = x ^ x >> 32;
    }
}

/// No atom.
const NONE: u32 = u32::MAX;

/// Atoms by the bin of the reduced cell that they lie in.
struct Bins {
    counts: [i64; 3],
    /// How many bins away along each axis an atom within the radius can be.
    reach: [i64; 3],
    /// The last atom put into each bin, and for each atom the one before it in the same bin.
    last: HashMap<i64, u32, BuildHasherDefault<Spread>>,
    before: Vec<u32>,
}

impl Bins {
    /// Empty bins for neighbours within `radius`, about as wide as that.
    fn new(heights: &[f64; 3], radius: f64, atoms: usize) -> Self {
        let counts = heights.map(|h| (h / radius).clamp(1.0, MOST_BINS).floor() as i64);
        let reach = [0, 1, 2].map(|i| (radius / heights[i] * counts[i] as f64 * (1.0 + 1e-9)).ceil() as i64);
        Self {
            counts,
            reach,
            last: HashMap::default(),
            before: vec![NONE; atoms],
        }
    }

    fn place(&self, x: &Position) -> Vec3 {
        [0, 1, 2].map(|i| ((x[i] * self.counts[i] as f64) as i64).min(self.counts[i] - 1))
    }

    fn number(&self, place: &Vec3) -> i64 {
        (place[0] * self.counts[1] + place[1]) * self.counts[2] + place[2]
    }

    fn insert(&mut self, x: &Position, atom: usize) {
        let number = self.number(&self.place(x));
        self.before[atom] = self.last.insert(number, atom as u32).unwrap_or(NONE);
    }

    /// The atoms in a bin.
    fn members(&self, place: &Vec3) -> impl Iterator<Item = usize> {
        let some = |atom: u32| (atom != NONE).then_some(atom);
        let first = self.last.get(&self.number(place)).copied();
        std::iter::successors(first, move |&atom| some(self.before[atom as usize])).map(|atom| atom as usize)
    }

    /// Calls `visit` with each atom in the bins around `x` and the lattice vector of its image there.
    fn around(&self, x: &Position, mut visit: impl FnMut(usize, [f64; 3])) {
        let own = self.place(x);
        let range = |i: usize| own[i] - self.reach[i]..=own[i] + self.reach[i];
        for p in range(0) {
            for q in range(1) {
                for r in range(2) {
                    let outside = [p, q, r];
                    let place = [0, 1, 2].map(|i| outside[i].rem_euclid(self.counts[i]));
                    let image = [0, 1, 2].map(|i| ((outside[i] - place[i]) / self.counts[i]) as f64);
                    for atom in self.members(&place) {
                        visit(atom, image);
                    }
                }
            }
        }
    }
}

/// The shortest distance between two atoms, or between one atom and its own images, and the two atoms.
///
/// Time and memory grow with the number of atoms (M. O. Rabin's algorithm: bins are as wide as the shortest distance so
/// far, and made again when a shorter one is found).
pub fn shortest_distance(
    cell: &Cell,
    positions: &[Position],
    context: &Context,
) -> Result<(f64, usize, usize)> {
    let reduced = Reduced::new(cell, positions)?;
    let own = [0, 1, 2].map(|i| reduced.metric[i][i].sqrt());
    let mut best = (own[0].min(own[1]).min(own[2]), 0, 0);
    if positions.is_empty() {
        return Err(Error::input("the structure has no atoms"));
    }
    if positions.len() == 1 {
        return Ok(best);
    }
    let order = shuffled(positions.len());
    let mut bins = Bins::new(&reduced.heights, best.0, positions.len());
    let mut ticker = Ticker::new();
    for (done, &atom) in order.iter().enumerate() {
        let x = &reduced.positions[atom];
        let before = best.0;
        bins.around(x, |other, image| {
            let y = &reduced.positions[other];
            let distance = reduced.length(&[0, 1, 2].map(|i| y[i] + image[i] - x[i]));
            if distance < best.0 {
                best = (distance, atom.min(other), atom.max(other));
            }
        });
        // Distances that are equal but for rounding, as they are in crystals, are not worth new bins.
        if best.0 < before * (1.0 - 1e-6) {
            if best.0 == 0.0 {
                return Ok(best);
            }
            bins = Bins::new(&reduced.heights, best.0, positions.len());
            for &earlier in &order[..done] {
                bins.insert(&reduced.positions[earlier], earlier);
            }
        }
        bins.insert(x, atom);
        ticker.tick(context, done as u64, positions.len() as u64)?;
    }
    Ok(best)
}

/// The pair of atoms that overlap most, with their distance: closer together than `shortest` or than the sum of their
/// radii, by the largest difference. The two can be one atom and its own image.
pub fn overlap(
    cell: &Cell,
    positions: &[Position],
    radii: &[f64],
    shortest: f64,
    context: &Context,
) -> Result<Option<(f64, usize, usize)>> {
    if radii.len() != positions.len() {
        return Err(Error::input("one radius for each position is needed"));
    }
    let closest = shortest_distance(cell, positions, context)?;
    let allowed = |i: usize, j: usize| shortest.max(radii[i] + radii[j]);
    let largest = 2.0 * radii.iter().copied().fold(shortest / 2.0, f64::max);
    if closest.0 >= largest {
        return Ok(None);
    }
    if closest.0 < shortest {
        // Any number of atoms can be this close together; one pair says enough.
        return Ok(Some(closest));
    }
    if largest.is_nan() || largest > MOST_REACH * closest.0 {
        return Err(Error::input(format!(
            "the radii up to {} are far larger than the distances in the structure, from {} on",
            largest / 2.0,
            closest.0
        )));
    }
    let reduced = Reduced::new(cell, positions)?;
    let mut bins = Bins::new(&reduced.heights, largest, positions.len());
    let mut worst: Option<(f64, usize, usize)> = None;
    let excess = |(distance, i, j): (f64, usize, usize)| allowed(i, j) - distance;
    let mut ticker = Ticker::new();
    for (atom, x) in reduced.positions.iter().enumerate() {
        bins.insert(x, atom);
        bins.around(x, |other, image| {
            if other == atom && image.iter().all(|x| x.abs() < 0.5) {
                return;
            }
            let y = &reduced.positions[other];
            let pair = (
                reduced.length(&[0, 1, 2].map(|i| y[i] + image[i] - x[i])),
                other,
                atom,
            );
            if excess(pair) > worst.map_or(0.0, excess) {
                worst = Some(pair);
            }
        });
        ticker.tick(context, atom as u64, positions.len() as u64)?;
    }
    Ok(worst)
}

/// The numbers below `n` in an order without a pattern, the same each time.
fn shuffled(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for i in (1..n).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(i, (state % (i as u64 + 1)) as usize);
    }
    order
}

/// Where operations take atoms.
pub struct Images {
    /// For each operation and atom, the atom of the same species that lies nearest to where the first one goes.
    pub atoms: Vec<u32>,
    /// For each operation the largest distance between an atom's image and the atom there.
    pub distances: Vec<f64>,
}

/// The atoms that operations `x -> W x + w` take each atom to, within `tolerance`.
///
/// An error when some atom goes where no atom of its species is.
pub fn images(
    cell: &Cell,
    positions: &[Position],
    species: &[i64],
    rotations: &[Mat3],
    translations: &[Position],
    tolerance: f64,
    context: &Context,
) -> Result<Images> {
    if species.len() != positions.len() || rotations.len() != translations.len() {
        return Err(Error::input(
            "one species for each position and one translation for each rotation are needed",
        ));
    }
    let reduced = Reduced::new(cell, positions)?;
    let volume: f64 = determinant(cell).abs();
    let spacing = (volume / positions.len().max(1) as f64).cbrt();
    let mut bins = Bins::new(&reduced.heights, tolerance.max(spacing), positions.len());
    for (atom, x) in reduced.positions.iter().enumerate() {
        bins.insert(x, atom);
    }
    if tolerance.is_nan() || reduced.heights.iter().any(|h| 2.0 * tolerance > *h) {
        return Err(Error::input(format!(
            "the tolerance {tolerance} is more than half the cell"
        )));
    }
    let back = unimodular_inverse(&reduced.change)?;
    let total = (rotations.len() * positions.len()) as u64;
    let mut found = Images {
        atoms: Vec::with_capacity(total as usize),
        distances: Vec::with_capacity(rotations.len()),
    };
    let mut ticker = Ticker::new();
    for (rotation, translation) in rotations.iter().zip(translations) {
        let rotation = multiply(&reduced.change, &multiply(rotation, &back)?)?;
        let translation = times(&reduced.change, translation);
        let mut largest = 0.0_f64;
        for (atom, x) in reduced.positions.iter().enumerate() {
            let turned = times(&rotation, x);
            let image = [0, 1, 2].map(|i| wrapped(turned[i] + translation[i]));
            let (nearest, distance) = bins
                .nearest(&image, tolerance, &reduced, |other| {
                    species[other] == species[atom]
                })
                .ok_or_else(|| {
                    Error::input(format!(
                        "an operation takes atom {atom} to a place without an atom of its kind"
                    ))
                })?;
            found.atoms.push(nearest as u32);
            largest = largest.max(distance);
        }
        found.distances.push(largest);
        ticker.tick(context, found.atoms.len() as u64, total)?;
    }
    Ok(found)
}

impl Bins {
    /// The nearest atom within `tolerance` of `x` that `fits`.
    fn nearest(
        &self,
        x: &Position,
        tolerance: f64,
        reduced: &Reduced,
        fits: impl Fn(usize) -> bool,
    ) -> Option<(usize, f64)> {
        let range = |i: usize| {
            let (center, width) = (
                x[i] * self.counts[i] as f64,
                tolerance / reduced.heights[i] * self.counts[i] as f64,
            );
            ((center - width).floor() as i64, (center + width).floor() as i64)
        };
        let [first, second, third] = [0, 1, 2].map(range);
        let mut best: Option<(usize, f64)> = None;
        for p in first.0..=first.1 {
            for q in second.0..=second.1 {
                for r in third.0..=third.1 {
                    let outside = [p, q, r];
                    let place = [0, 1, 2].map(|i| outside[i].rem_euclid(self.counts[i]));
                    for atom in self.members(&place) {
                        let y = &reduced.positions[atom];
                        let distance = reduced.nearest(&[0, 1, 2].map(|i| y[i] - x[i]));
                        if distance <= tolerance && best.is_none_or(|b| distance < b.1) && fits(atom) {
                            best = Some((atom, distance));
                        }
                    }
                }
            }
        }
        best
    }
}
