//! Distances, images of atoms and rotations of lattices, against brute force over all images and closed forms.

use ndsc_core::bravais;
use ndsc_core::context::Context;
use ndsc_core::int3::{IDENTITY, Mat3, multiply, transpose};
use ndsc_core::reduce::Metric;
use ndsc_core::sites::{self, Cell, Position};

/// Numbers in -1..1, the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn vector(&mut self, scale: f64) -> [f64; 3] {
        [0, 1, 2].map(|_| scale * self.next())
    }
}

fn length(cell: &Cell, x: &Position) -> f64 {
    let v: [f64; 3] = [0, 1, 2].map(|k| (0..3).map(|i| x[i] * cell[i][k]).sum());
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The shortest distance of two positions over many images; of one position and its images when they are the same.
fn slow_distance(cell: &Cell, x: &Position, y: &Position) -> f64 {
    let mut least = f64::INFINITY;
    let base = [0, 1, 2].map(|i| y[i] - x[i] - (y[i] - x[i]).round());
    for p in -9..=9 {
        for q in -9..=9 {
            for r in -9..=9 {
                let d = length(
                    cell,
                    &[
                        base[0] + f64::from(p),
                        base[1] + f64::from(q),
                        base[2] + f64::from(r),
                    ],
                );
                if !std::ptr::eq(x, y) || d > 1e-9 {
                    least = least.min(d);
                }
            }
        }
    }
    least
}

fn volume(c: &Cell) -> f64 {
    c[0][0] * (c[1][1] * c[2][2] - c[1][2] * c[2][1]) - c[0][1] * (c[1][0] * c[2][2] - c[1][2] * c[2][0])
        + c[0][2] * (c[1][0] * c[2][1] - c[1][1] * c[2][0])
}

#[test]
fn distances_are_those_of_all_images() {
    let mut random = Random(1);
    let mut tried = 0;
    while tried < 60 {
        let cell: Cell = [3.0, 5.0, 2.0].map(|scale| random.vector(scale));
        if volume(&cell).abs() < 1.0 {
            continue;
        }
        tried += 1;
        let positions: Vec<Position> = (0..=(tried % 6)).map(|_| random.vector(2.0)).collect();
        let radii: Vec<f64> = positions.iter().map(|_| 0.6 + 0.4 * random.next()).collect();
        let (mut least, mut worst) = (f64::INFINITY, 0.0_f64);
        for (i, x) in positions.iter().enumerate() {
            for (j, y) in positions.iter().enumerate().skip(i) {
                let distance = slow_distance(&cell, x, y);
                least = least.min(distance);
                worst = worst.max((radii[i] + radii[j]).max(0.1) - distance);
            }
        }
        let (found, i, j) = sites::shortest_distance(&cell, &positions, &Context::quiet()).unwrap();
        assert!((found - least).abs() < 1e-9, "{cell:?} {positions:?}");
        assert!((slow_distance(&cell, &positions[i], &positions[j]) - least).abs() < 1e-9);
        let overlap = sites::overlap(&cell, &positions, &radii, 0.1, &Context::quiet()).unwrap();
        match overlap {
            None => assert!(worst <= 1e-9),
            Some((distance, ..)) if distance < 0.1 => assert!((distance - least).abs() < 1e-9),
            Some((distance, i, j)) => assert!((radii[i] + radii[j] - distance - worst).abs() < 1e-9),
        }
    }
}

#[test]
fn many_atoms_in_one_place_are_found_at_once() {
    let cell = [[1e6, 0.0, 0.0], [0.0, 1e6, 0.0], [0.0, 0.0, 1e6]];
    let positions = vec![[0.25; 3]; 100_000];
    let (distance, ..) = sites::shortest_distance(&cell, &positions, &Context::quiet()).unwrap();
    assert!(distance.abs() < f64::EPSILON);
    assert!(sites::shortest_distance(&cell, &[], &Context::quiet()).is_err());
    assert!(sites::shortest_distance(&cell, &[[f64::NAN, 0.0, 0.0]], &Context::quiet()).is_err());
    let flat = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]];
    assert!(sites::shortest_distance(&flat, &[[0.0; 3]], &Context::quiet()).is_err());
}

#[test]
fn operations_take_atoms_to_atoms() {
    // Rock salt in its cubic cell: a quarter turn and a centring translation.
    let cell = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]];
    let places = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]];
    let mut positions = places.to_vec();
    positions.extend(places.map(|x| x.map(|y| y + 0.5)));
    let species = [1, 1, 1, 1, 2, 2, 2, 2];
    let turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]];
    let run = |translation: Position, tolerance: f64| {
        sites::images(
            &cell,
            &positions,
            &species,
            &[IDENTITY, turn],
            &[translation, [0.0; 3]],
            tolerance,
            &Context::quiet(),
        )
    };
    let found = run([0.5, 0.5, 0.0], 1e-3).unwrap();
    assert_eq!(found.atoms[..8], [1, 0, 3, 2, 5, 4, 7, 6]);
    assert_eq!(found.atoms[8..], [0, 1, 3, 2, 4, 5, 7, 6]);
    assert!(found.distances.iter().all(|&d| d < 1e-9));
    let near = run([0.5001, 0.5, 0.0], 1e-3).unwrap();
    assert!((near.distances[0] - 4e-4).abs() < 1e-9);
    // Half a lattice vector brings one species onto the other.
    assert!(run([0.5, 0.0, 0.0], 1e-3).is_err());
    assert!(run([0.501, 0.5, 0.0], 1e-3).is_err());
    assert!(run([0.5, 0.5, 0.0], 3.0).is_err());
}

fn metric(cell: &Cell) -> Metric {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| (0..3).map(|k| cell[i][k] * cell[j][k]).sum()))
}

#[test]
fn rotations_of_the_bravais_lattices() {
    let root = 0.75_f64.sqrt();
    let lattices: [(Cell, usize); 8] = [
        ([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]], 48),
        ([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]], 48),
        ([[-2.0, 2.0, 2.0], [2.0, -2.0, 2.0], [2.0, 2.0, -2.0]], 48),
        ([[3.0, 0.0, 0.0], [-1.5, 3.0 * root, 0.0], [0.0, 0.0, 4.7]], 24),
        ([[-1.5, 1.5, 2.2], [1.5, -1.5, 2.2], [1.5, 1.5, -2.2]], 16),
        ([[1.0, 0.0, 2.0], [-0.5, root, 2.0], [-0.5, -root, 2.0]], 12),
        ([[1.5, -1.9, 0.0], [1.5, 1.9, 0.0], [0.0, 0.0, 4.5]], 8),
        ([[3.0, 0.0, 0.0], [0.5, 3.4, 0.0], [0.9, 0.3, 4.1]], 2),
    ];
    let change: Mat3 = [[1, 3, 0], [0, 1, -4], [2, 6, 1]];
    for (cell, order) in lattices {
        // The same lattice with long vectors has the same rotations, in another basis.
        let other: Cell =
            [0, 1, 2].map(|i| [0, 1, 2].map(|k| (0..3).map(|j| change[i][j] as f64 * cell[j][k]).sum()));
        for cell in [cell, other] {
            let g = metric(&cell);
            let found = bravais::rotations(&g, 1e-4).unwrap().unwrap();
            assert_eq!((found.len(), found[0]), (order, IDENTITY));
            for w in &found {
                // W^T g W = g.
                for i in 0..3 {
                    for j in 0..3 {
                        let turned: f64 = (0..3)
                            .flat_map(|p| (0..3).map(move |q| (p, q)))
                            .map(|(p, q)| w[p][i] as f64 * g[p][q] * w[q][j] as f64)
                            .sum();
                        assert!((turned - g[i][j]).abs() < 1e-6 * g[i][i].max(g[j][j]));
                    }
                }
                assert!(found.contains(&multiply(w, &transpose(&transpose(w))).unwrap()));
            }
        }
    }
    // A length that differs by about the tolerance is not decided.
    let nearly: Cell = [[3.0, 0.0, 0.0], [0.0, 3.0001, 0.0], [0.0, 0.0, 4.0]];
    assert!(bravais::rotations(&metric(&nearly), 1e-4).unwrap().is_none());
    assert_eq!(
        bravais::rotations(&metric(&nearly), 1e-2).unwrap().unwrap().len(),
        16
    );
    assert_eq!(
        bravais::rotations(&metric(&nearly), 1e-6).unwrap().unwrap().len(),
        8
    );
}
