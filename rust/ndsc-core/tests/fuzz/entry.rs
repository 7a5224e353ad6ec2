//! Bytes decoded to calls of every public entry point of the crate, with small limits on work and memory: whatever the
//! bytes are, errors are fine and panics are not. Shared by the tests and by the fuzz target in `rust/fuzz`.

use std::cell::Cell;
use std::sync::Mutex;

use ndsc_core::context::{Context, Monitor};
use ndsc_core::error::{Error, Result};
use ndsc_core::hnf::{self, Hnf};
use ndsc_core::int3::{self, IDENTITY, Mat3, Vec3, multiply, unimodular_inverse};
use ndsc_core::qpoint::{self, Grid};
use ndsc_core::reduce::{self, Metric};
use ndsc_core::{bravais, cover, cyclic, enumerate, irreducible, single, sites, snf, symmetry};

#[path = "../naive/mod.rs"]
mod naive;

/// Stops a call after some reports, as Ctrl-C does.
struct Impatient(Mutex<u32>);

impl Monitor for Impatient {
    fn report(&self, _done: u64, _total: u64) -> Result<()> {
        let mut left = self.0.lock().unwrap();
        *left = left.saturating_sub(1);
        if *left == 0 {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// The bytes, and zeros after their end.
struct Bytes<'a> {
    bytes: &'a [u8],
    next: Cell<usize>,
}

impl Bytes<'_> {
    fn byte(&self) -> u8 {
        let next = self.next.get();
        self.next.set(next + 1);
        self.bytes.get(next).copied().unwrap_or(0)
    }

    fn word(&self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    /// An integer of any size, more often a small one.
    fn number(&self) -> i64 {
        const EXTREMES: [i64; 8] = [
            i64::MIN,
            i64::MIN + 1,
            i64::MAX,
            1 << 20,
            1 << 31,
            1 << 40,
            -(1 << 31),
            (1 << 62) - 1,
        ];
        match self.byte() {
            tag @ 0..=199 => i64::from(tag) % 13 - 6,
            200..=235 => i64::from(self.byte() as i8),
            236..=243 => self.word() as i64 >> (self.byte() % 64),
            tag => EXTREMES[usize::from(tag) % EXTREMES.len()],
        }
    }

    fn vector(&self) -> Vec3 {
        [self.number(), self.number(), self.number()]
    }

    fn matrix(&self) -> Mat3 {
        [self.vector(), self.vector(), self.vector()]
    }

    fn unimodular(&self) -> Mat3 {
        (0..self.byte() % 7).fold(IDENTITY, |m, _| {
            let mut step = IDENTITY;
            let i = usize::from(self.byte() % 3);
            step[i][(i + 1 + usize::from(self.byte() % 2)) % 3] = i64::from(self.byte() as i8);
            multiply(&step, &m).unwrap_or(m)
        })
    }

    /// A point group, in any setting or a usual one; or any matrices.
    fn rotations(&self) -> Vec<Mat3> {
        let tag = self.byte();
        let group = match tag % 8 {
            0 => naive::simple_cubic(),
            1 => naive::face_centred(),
            2 => naive::hexagonal(),
            3 => naive::triclinic(),
            4 => vec![IDENTITY],
            // The group of one operation: a subgroup of one of the largest.
            5 | 6 => {
                let all = if tag % 8 == 5 {
                    naive::simple_cubic()
                } else {
                    naive::hexagonal()
                };
                let one = all[usize::from(self.byte()) % all.len()];
                naive::generate(&[one])
            }
            _ => return (0..self.byte() % 5).map(|_| self.matrix()).collect(),
        };
        if tag < 128 {
            return group;
        }
        let u = self.unimodular();
        let turned = |r: &Mat3| multiply(&multiply(&u, r)?, &unimodular_inverse(&u)?);
        group.iter().map(turned).collect::<Result<_>>().unwrap_or(group)
    }

    fn real(&self) -> f64 {
        match self.byte() {
            tag @ 0..=239 => (f64::from(tag) - 100.0) / 16.0,
            240..=247 => f64::from_bits(self.word()),
            tag => [0.0, 1e-300, 1e300, f64::NAN, f64::INFINITY, -1.0, 1e150, 1e-9][usize::from(tag) % 8],
        }
    }

    fn metric(&self) -> Metric {
        let a = [0; 3].map(|_| [0; 3].map(|_| self.real()));
        if self.byte().is_multiple_of(4) {
            return a;
        }
        let dot = |i: usize, j: usize| (0..3).map(|k| a[i][k] * a[j][k]).sum();
        [0, 1, 2].map(|i| [0, 1, 2].map(|j| dot(i, j)))
    }

    fn divisions(&self) -> Vec3 {
        [0; 3].map(|_| match self.byte() {
            tag @ 0..=239 => i64::from(tag) % 17 + 1,
            240..=247 => i64::from(self.byte()) << (self.byte() % 16),
            _ => self.number(),
        })
    }
}

/// Calls what the bytes say.
pub fn call(bytes: &[u8]) {
    let bytes = Bytes {
        bytes,
        next: Cell::new(0),
    };
    let monitor = Impatient(Mutex::new(u32::from(bytes.byte() % 8) + 1));
    let context = Context {
        monitor: &monitor,
        memory: 1 << (10 + bytes.byte() % 12),
    };
    match bytes.byte() % 4 {
        0 => matrices(&bytes, &context),
        1 => sizes(&bytes, &context),
        2 => qpoints(&bytes, &context),
        _ => grids(&bytes, &context),
    }
}

fn matrices(bytes: &Bytes, context: &Context) {
    let (s, t, v) = (bytes.matrix(), bytes.matrix(), bytes.vector());
    let _ = int3::multiply(&s, &t);
    let _ = int3::apply(&s, &v);
    let _ = int3::determinant(&s);
    let _ = int3::adjugate(&s);
    let _ = int3::unimodular_inverse(&s);
    let _ = int3::transpose(&s);
    let _ = int3::gcd(v[0], v[1]);
    let _ = hnf::with_transform(&s);
    let _ = hnf::lattice_points(&s, context);
    if let Ok(smith) = snf::smith(&s) {
        let [p, q, r] = smith.diagonal;
        assert!(p > 0 && q % p == 0 && r % q == 0);
    }
    let metric = bytes.metric();
    let _ = reduce::minkowski(&s, &metric);
    let _ = reduce::minkowski_all(&[s, t], &metric, context);
    let _ = bravais::rotations(&metric, bytes.real());
    let positions = [0, 1, 2].map(|_| [bytes.real(), bytes.real(), bytes.real()]);
    let radii = positions.map(|x| x[0]);
    let _ = sites::shortest_distance(&metric, &positions, context);
    let _ = sites::overlap(&metric, &positions, &radii, bytes.real(), context);
    let _ = sites::images(
        &metric,
        &positions,
        &[1, 1, 2],
        &[s, t],
        &positions[..2],
        bytes.real(),
        context,
    );
    if let Ok(form) = Hnf::of(&s) {
        assert!(s.iter().all(|row| form.contains(row)));
        let _ = form.contains(&v);
        assert_eq!(Hnf::of(&form.matrix()).ok(), Some(form));
    }
}

fn sizes(bytes: &Bytes, context: &Context) {
    // Factorising takes the square root of a size.
    let size = bytes.number() % (1 << 40);
    let _ = hnf::count_of_size(size);
    let _ = hnf::all_of_size(size, context);
    let rotations = bytes.rotations();
    let _ = symmetry::up_to_sign(&rotations);
    let _ = symmetry::with_inversion(&rotations);
    if symmetry::check_group(&rotations).is_ok()
        && let Ok(found) = enumerate::distinct_supercells(size, &rotations, context)
    {
        let all: i64 = found.iter().map(|x| x.1).sum();
        assert_eq!(Some(all as u128), hnf::count_of_size(size).ok());
    }
    if (1..1 << 16).contains(&size)
        && let Ok(ranks) = hnf::Ranks::new(size)
    {
        let rank = bytes.word() % ranks.total();
        assert_eq!(ranks.rank(&ranks.form(rank)), rank);
    }
}

fn qpoints(bytes: &Bytes, context: &Context) {
    let Ok(grid) = Grid::new(bytes.divisions()) else {
        return;
    };
    let (k, s, rotations) = (grid.wrap(&bytes.vector()), bytes.matrix(), bytes.rotations());
    let _ = grid.order(&k);
    if let Ok(form) = grid.smallest_supercell(&k) {
        assert!(qpoint::is_commensurate(&form.matrix(), &grid, &k));
    }
    let _ = cyclic::maximal_generator(&grid, &k);
    let _ = qpoint::is_commensurate(&s, &grid, &bytes.vector());
    let _ = qpoint::star(&grid, &rotations, &k);
    let _ = qpoint::little_group(&grid, &rotations, &bytes.vector());
    let _ = symmetry::on_grid(&rotations, grid.divisions());
    if symmetry::check_group(&rotations).is_ok() {
        let _ = cover::locate(&grid, &rotations, &k);
    }
    if let Ok(pieces) = cyclic::MaximalCyclic::new(&grid) {
        let start = bytes.word() % (pieces.total() + 1);
        let _ = pieces.visit(start..pieces.total().min(start + 100), |k| {
            grid.order(&k).map(|_| ())
        });
    }
    let _ = irreducible::reserve(&grid, rotations.len(), bytes.byte().is_multiple_of(2), context);
}

fn grids(bytes: &Bytes, context: &Context) {
    let Ok(grid) = Grid::new(bytes.divisions()) else {
        return;
    };
    let (rotations, reversal) = (bytes.rotations(), bytes.byte().is_multiple_of(2));
    if grid.len() > 1 << 16 {
        // Too large for this memory, or stopped by the monitor.
        let _ = irreducible::irreducible(
            &grid,
            &rotations,
            reversal,
            true,
            &Context {
                memory: 1 << 12,
                ..*context
            },
        );
        return;
    }
    if let Ok(found) = irreducible::irreducible(&grid, &rotations, reversal, true, context) {
        assert_eq!(found.weights.iter().sum::<i64>(), grid.len());
        let stars = found.points.len() as u32;
        assert!(
            found
                .mapping
                .is_some_and(|map| map.iter().all(|&star| star < stars))
        );
        let mut short = vec![0; bytes.byte().into()];
        let _ = irreducible::irreducible_into(&grid, &rotations, reversal, &mut short, context);
    }
    let _ = irreducible::irreducible(&grid, &rotations, reversal, false, context);
    let _ = cover::minimal_cover(&grid, &rotations, context);
    if let Ok(mut pieces) = cover::CoverIterator::new(&grid, &rotations) {
        let _ = pieces.next_chunk();
    }
    if grid.len() <= 4096 && symmetry::check_group(&rotations).is_ok() {
        let _ = single::smallest_single(&grid, &rotations);
    }
}
