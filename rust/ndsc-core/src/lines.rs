//! Lines of q-points along the third axis, under the operations that keep such lines.
//!
//! Those operations are a subgroup of the point group (all of it in hexagonal, tetragonal and other cells with an axis of
//! their own; a quarter in the face-centred cubic one). Whatever the star of each q-point is, a line is the image of the
//! first line of its orbit under that subgroup: moved along itself, and perhaps reversed. So the stars of the first lines
//! are enough, and all others are copies.

use crate::context::{Context, Ticker};
use crate::error::{Error, Result};
use crate::int3::{Mat3, Vec3};

/// How a line comes from the first one of its orbit: `k -> k + shift` or `k -> shift - k`, modulo the length.
#[derive(Clone, Copy)]
pub struct Move {
    reverses: bool,
    shift: usize,
}

impl Move {
    /// Where a point of the first line goes.
    pub fn image(self, k: usize, length: usize) -> usize {
        let image = if self.reverses {
            self.shift + length - k
        } else {
            self.shift + k
        };
        if image >= length { image - length } else { image }
    }

    /// Where a point comes from.
    pub fn origin(self, k: usize, length: usize) -> usize {
        let origin = if self.reverses {
            self.shift + length - k
        } else {
            k + length - self.shift
        };
        if origin >= length { origin - length } else { origin }
    }
}

/// For each line the first one of its orbit and the move that leads from there; 8 bytes a line.
pub struct Lines {
    length: usize,
    packed: Vec<u64>,
    /// The moves of first lines onto themselves, where there are others than the identity; ascending.
    fixing: Vec<(usize, Vec<Move>)>,
}

impl Lines {
    const NONE: u64 = u64::MAX;
    const IDENTITY: Move = Move {
        reverses: false,
        shift: 0,
    };
    // A shift is below 2^20, a line below 2^40.
    const SHIFT_BITS: u32 = 20;
    const REVERSES: u64 = 1 << 62;
    const FIXED: u64 = 1 << 63;

    /// Bytes of the table.
    pub fn memory(n: Vec3) -> u128 {
        n[0] as u128 * n[1] as u128 * 8
    }

    /// The orbits of lines of the grid `n` under `operations` (see [`keep_lines`]), in order; `first` is called with
    /// each first line.
    pub fn new(
        n: Vec3,
        operations: &[Mat3],
        context: &Context,
        mut first: impl FnMut(usize),
    ) -> Result<Self> {
        let length = n[2] as usize;
        let mut lines = Self {
            length,
            packed: vec![Self::NONE; (n[0] * n[1]) as usize],
            fixing: Vec::new(),
        };
        let mut steps = Steps::new(n, operations);
        let mut own_moves = Vec::new();
        let mut ticker = Ticker::new();
        for k0 in 0..n[0] {
            steps.start(k0);
            for k1 in 0..n[1] {
                let own = (k0 * n[1] + k1) as usize;
                if lines.packed[own] == Self::NONE {
                    first(own);
                    own_moves.clear();
                    for (lane, m) in operations.iter().enumerate() {
                        let [x, y, shift] = [0, 1, 2].map(|i| steps.images[i][lane] as usize);
                        let reverses = m[2][2] != 1 % n[2];
                        let line = x * n[1] as usize + y;
                        if line == own {
                            own_moves.push(Move { reverses, shift });
                        } else {
                            lines.packed[line] = Self::pack(own, reverses, shift);
                        }
                    }
                    lines.packed[own] = Self::pack(own, false, 0);
                    if own_moves.len() > 1 {
                        lines.packed[own] |= Self::FIXED;
                        lines.fixing.push((own, own_moves.clone()));
                    }
                }
                steps.advance();
            }
            ticker.tick(context, (k0 * n[1]) as u64, (n[0] * n[1]) as u64)?;
        }
        Ok(lines)
    }

    fn pack(first: usize, reverses: bool, shift: usize) -> u64 {
        let flag = if reverses { Self::REVERSES } else { 0 };
        flag | (first as u64) << Self::SHIFT_BITS | shift as u64
    }

    /// The first line of the orbit, and the move that leads from it to this one.
    pub fn origin(&self, line: usize) -> (usize, Move) {
        let packed = self.packed[line];
        let first = (packed & !(Self::FIXED | Self::REVERSES)) >> Self::SHIFT_BITS;
        let shift = packed as usize & ((1 << Self::SHIFT_BITS) - 1);
        let reverses = packed & Self::REVERSES != 0;
        (first as usize, Move { reverses, shift })
    }

    /// The moves of a first line onto itself, one for each operation.
    pub fn onto_itself(&self, first: usize) -> &[Move] {
        if self.packed[first] & Self::FIXED != 0
            && let Ok(place) = self.fixing.binary_search_by_key(&first, |f| f.0)
        {
            return &self.fixing[place].1;
        }
        &[Self::IDENTITY]
    }

    /// The first lines, ascending.
    pub fn firsts(&self) -> impl Iterator<Item = usize> {
        let is_first =
            |x: &(usize, &u64)| (x.1 & !(Self::FIXED | Self::REVERSES)) >> Self::SHIFT_BITS == x.0 as u64;
        self.packed.iter().enumerate().filter(is_first).map(|x| x.0)
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Writes all other lines of `values` from the first ones.
    pub fn copy(&self, values: &mut [u32], context: &Context) -> Result<()> {
        let length = self.length;
        let mut ticker = Ticker::new();
        for line in 0..self.len() {
            let (first, step) = self.origin(line);
            if first == line {
                continue;
            }
            // The first line of an orbit comes before the others.
            let (before, rest) = values.split_at_mut(line * length);
            copy(&before[first * length..][..length], &mut rest[..length], step);
            ticker.tick(context, (line * length) as u64, (self.len() * length) as u64)?;
        }
        Ok(())
    }
}

/// Writes the stars of a line to its image.
fn copy(stars: &[u32], image: &mut [u32], step: Move) {
    if step.reverses {
        // image[shift - k] = stars[k]: k up to the shift first, then the rest from the end.
        let (low, high) = stars.split_at(step.shift + 1);
        let (first, second) = image.split_at_mut(step.shift + 1);
        for (to, from) in first.iter_mut().rev().zip(low) {
            *to = *from;
        }
        for (to, from) in second.iter_mut().rev().zip(high) {
            *to = *from;
        }
    } else {
        let (low, high) = stars.split_at(stars.len() - step.shift);
        image[step.shift..].copy_from_slice(low);
        image[..step.shift].copy_from_slice(high);
    }
}

/// How the operations act on numerators: rows modulo the divisions, each action once. They are a group.
pub fn actions(operations: &[Mat3], n: Vec3) -> Vec<Mat3> {
    let mut all: Vec<Mat3> = operations
        .iter()
        .map(|m| [0, 1, 2].map(|i| m[i].map(|x| x.rem_euclid(n[i]))))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Splits a group of [`actions`] into those that keep lines along the third axis, which are a subgroup K, and one
/// operation c of every other coset K c.
pub fn keep_lines(group: &[Mat3], n: Vec3) -> Result<(Vec<Mat3>, Vec<Mat3>)> {
    let keeps = |m: &Mat3| m[0][2] == 0 && m[1][2] == 0 && (m[2][2] == 1 % n[2] || m[2][2] == n[2] - 1);
    let keeping: Vec<Mat3> = group.iter().copied().filter(keeps).collect();
    let mut met: Vec<bool> = group.iter().map(keeps).collect();
    let mut others = Vec::new();
    for (place, c) in group.iter().enumerate() {
        if met[place] {
            continue;
        }
        others.push(*c);
        for m in &keeping {
            let mut product = [[0; 3]; 3];
            for i in 0..3 {
                for j in 0..3 {
                    // Factors below 2^20 each.
                    product[i][j] = (0..3).map(|k| m[i][k] * c[k][j]).sum::<i64>() % n[i];
                }
            }
            let image = group
                .binary_search(&product)
                .map_err(|_| Error::Internal("lines: the operations are no group"))?;
            met[image] = true;
        }
    }
    Ok((keeping, others))
}

/// The images of the q-points of a line under some operations.
pub struct Images {
    n: [i32; 3],
    operations: Vec<Mat3>,
    /// What the first two coordinates contribute, for each operation. The fourth number is idle: four are added at once.
    base: Vec<[i32; 4]>,
    /// What the third coordinate contributes, by coordinate, then operation.
    third: Vec<[i32; 4]>,
}

impl Images {
    /// Bytes for at most so many operations.
    pub fn memory(n: Vec3, operations: usize) -> u128 {
        n[2] as u128 * operations as u128 * 16
    }

    /// Under `operations`.
    pub fn new(n: Vec3, operations: &[Mat3]) -> Self {
        let mut third = Vec::with_capacity(n[2] as usize * operations.len());
        for k in 0..n[2] {
            third.extend(operations.iter().map(|m| Self::wrapped(m, &[0, 0, k], n)));
        }
        Self {
            // Divisions are at most 2^20: sums of two coordinates stay inside 32 bits.
            n: n.map(|x| x as i32),
            operations: operations.to_vec(),
            base: vec![[0; 4]; operations.len()],
            third,
        }
    }

    fn wrapped(m: &Mat3, k: &Vec3, n: Vec3) -> [i32; 4] {
        let mut image = [0; 4];
        for i in 0..3 {
            image[i] = ((m[i][0] * k[0] + m[i][1] * k[1] + m[i][2] * k[2]) % n[i]) as i32;
        }
        image
    }

    /// Goes to a line.
    pub fn start(&mut self, k0: i64, k1: i64) {
        let n = self.n.map(i64::from);
        for (base, m) in self.base.iter_mut().zip(&self.operations) {
            *base = Self::wrapped(m, &[k0, k1, 0], n);
        }
    }

    /// The images of a point of the line.
    pub fn of(&self, k: usize) -> impl Iterator<Item = [usize; 3]> {
        let lanes = self.base.len();
        let third = &self.third[k * lanes..(k + 1) * lanes];
        self.base.iter().zip(third).map(|(base, third)| {
            [0, 1, 2].map(|i| {
                let sum = base[i] + third[i];
                (sum - if sum >= self.n[i] { self.n[i] } else { 0 }) as usize
            })
        })
    }
}

/// The images of lines under some operations, while the second coordinate grows.
struct Steps {
    n: Vec3,
    operations: Vec<Mat3>,
    /// By image coordinate, then operation: what one step adds, and where the images are.
    added: [Vec<i32>; 3],
    images: [Vec<i32>; 3],
}

impl Steps {
    fn new(n: Vec3, operations: &[Mat3]) -> Self {
        Self {
            n,
            operations: operations.to_vec(),
            added: [0, 1, 2].map(|i| operations.iter().map(|m| m[i][1] as i32).collect()),
            images: [0, 1, 2].map(|_| vec![0; operations.len()]),
        }
    }

    fn start(&mut self, k0: i64) {
        for i in 0..3 {
            for (image, m) in self.images[i].iter_mut().zip(&self.operations) {
                *image = (m[i][0] * k0 % self.n[i]) as i32;
            }
        }
    }

    fn advance(&mut self) {
        for i in 0..3 {
            let n = self.n[i] as i32;
            for (image, step) in self.images[i].iter_mut().zip(&self.added[i]) {
                let sum = *image + step;
                *image = sum - if sum >= n { n } else { 0 };
            }
        }
    }
}
