//! The fast versions against the slow, obvious ones, and against published numbers.

mod naive;

use std::collections::BTreeSet;

use ndsc_core::context::Context;
use ndsc_core::hnf::{self, Hnf};
use ndsc_core::int3::{Mat3, Vec3, determinant, multiply, transpose};
use ndsc_core::qpoint::{self, Grid};
use ndsc_core::{cover, enumerate, irreducible, reduce, single, snf};

fn groups() -> Vec<(&'static str, Vec<Mat3>)> {
    vec![
        ("sc", naive::simple_cubic()),
        ("fcc", naive::face_centred()),
        ("hcp", naive::hexagonal()),
        ("triclinic", naive::triclinic()),
    ]
}

const GRIDS: [Vec3; 14] = [
    [1, 1, 1],
    [2, 2, 2],
    [3, 3, 3],
    [4, 4, 4],
    [6, 6, 6],
    [1, 1, 5],
    [2, 1, 1],
    [2, 2, 1],
    [4, 4, 2],
    [6, 6, 4],
    [3, 2, 4],
    [2, 4, 8],
    [6, 3, 2],
    [9, 3, 3],
];

fn matrices(forms: &[Hnf]) -> Vec<Mat3> {
    forms.iter().map(Hnf::matrix).collect()
}

/// facts.md: published (OEIS A159842 for fcc) and checked against an integer programme.
#[test]
fn published_numbers_of_supercells() {
    let sizes = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64];
    let fcc = [2, 3, 5, 5, 10, 13, 18, 31, 33, 59, 99, 101, 311, 349];
    let hcp = [3, 5, 8, 7, 19, 22, 33, 58, 60, 110, 184, 192, 598, 680];
    let sc = [3, 3, 6, 5, 13, 14, 23, 36, 35, 0, 104, 105, 321, 357];
    for (rotations, numbers) in [
        (naive::face_centred(), fcc),
        (naive::hexagonal(), hcp),
        (naive::simple_cubic(), sc),
    ] {
        for (n, number) in sizes.into_iter().zip(numbers).filter(|x| x.1 > 0) {
            let grid = Grid::new([n; 3]).unwrap();
            assert_eq!(
                cover::minimal_cover(&grid, &rotations, &Context::quiet())
                    .unwrap()
                    .len(),
                number,
                "{n}"
            );
        }
    }
}

#[test]
fn published_numbers_of_distinct_supercells() {
    let fcc = [
        1, 2, 3, 7, 5, 10, 7, 20, 14, 18, 11, 41, 15, 28, 31, 58, 21, 60, 25, 77,
    ];
    let sc = [
        1, 3, 3, 9, 5, 13, 7, 24, 14, 23, 11, 49, 15, 33, 31, 66, 21, 70, 25, 89,
    ];
    let hcp = [
        1, 3, 5, 11, 7, 19, 11, 34, 23, 33, 19, 77, 25, 53, 55, 104, 37, 115, 45, 143,
    ];
    for (rotations, numbers) in [
        (naive::face_centred(), fcc),
        (naive::simple_cubic(), sc),
        (naive::hexagonal(), hcp),
    ] {
        for (index, number) in numbers.into_iter().enumerate() {
            let size = index as i64 + 1;
            let found = enumerate::distinct_supercells(size, &rotations, &Context::quiet()).unwrap();
            assert_eq!(found.len(), number);
            // OEIS A001001: all sublattices of index n.
            assert_eq!(
                found.iter().map(|x| x.1 as u128).sum::<u128>(),
                hnf::count_of_size(size).unwrap()
            );
        }
    }
}

#[test]
fn normal_forms_of_a_determinant() {
    let a001001 = [
        1, 7, 13, 35, 31, 91, 57, 155, 130, 217, 133, 455, 183, 399, 403, 651,
    ];
    for (index, count) in a001001.into_iter().enumerate() {
        let size = index as i64 + 1;
        let forms = hnf::all_of_size(size, &Context::quiet()).unwrap();
        assert_eq!(forms.len() as u128, count);
        assert_eq!(forms, naive::hermite_normal_forms(size));
        let ranks = hnf::Ranks::new(size).unwrap();
        for (rank, form) in forms.iter().enumerate() {
            let form = Hnf::of(form).unwrap();
            assert_eq!(ranks.rank(&form), rank as u64);
            assert_eq!(ranks.form(rank as u64), form);
        }
    }
}

#[test]
fn cover_matches_sets_of_qpoints() {
    for (name, rotations) in groups() {
        for n in GRIDS {
            let grid = Grid::new(n).unwrap();
            let cover = cover::minimal_cover(&grid, &rotations, &Context::quiet()).unwrap();
            assert_eq!(cover.len(), naive::count_cover(&rotations, &n), "{name} {n:?}");
            assert!(cover.is_sorted());
            let mut by_pieces = Vec::new();
            let mut pieces = cover::CoverIterator::new(&grid, &rotations).unwrap();
            while let Some(piece) = pieces.next_chunk().unwrap() {
                by_pieces.extend(piece);
            }
            by_pieces.sort_unstable();
            assert_eq!(cover, by_pieces, "{name} {n:?}");
        }
    }
}

#[test]
fn every_member_is_the_first_of_its_orbit() {
    for (_, rotations) in groups() {
        for n in GRIDS {
            let group = naive::keeping(&rotations, &n);
            for form in cover::minimal_cover(&Grid::new(n).unwrap(), &rotations, &Context::quiet()).unwrap() {
                for r in &group {
                    assert!(form <= Hnf::of(&multiply(&form.matrix(), r).unwrap()).unwrap());
                }
            }
        }
    }
}

#[test]
fn every_qpoint_is_located() {
    for (name, rotations) in groups() {
        for n in GRIDS {
            let grid = Grid::new(n).unwrap();
            let cover: BTreeSet<Hnf> = cover::minimal_cover(&grid, &rotations, &Context::quiet())
                .unwrap()
                .into_iter()
                .collect();
            for k in naive::qpoints(&n) {
                let (form, index) = cover::locate(&grid, &rotations, &k).unwrap();
                assert!(cover.contains(&form), "{name} {n:?} {k:?}");
                let image = naive::rotate(&rotations[index], &k, &n).unwrap();
                assert!(
                    naive::commensurate(&form.matrix(), &image, &n),
                    "{name} {n:?} {k:?}"
                );
            }
        }
    }
}

#[test]
fn smallest_supercell_is_the_only_one_of_its_size() {
    for n in [[2, 2, 2], [4, 4, 4], [6, 6, 6], [4, 2, 6], [9, 3, 1]] {
        let grid = Grid::new(n).unwrap();
        for k in naive::qpoints(&n) {
            let order = grid.order(&k).unwrap();
            let holding: Vec<Mat3> = naive::hermite_normal_forms(order)
                .into_iter()
                .filter(|s| naive::commensurate(s, &k, &n))
                .collect();
            assert_eq!(holding, [grid.smallest_supercell(&k).unwrap().matrix()]);
            assert!(qpoint::is_commensurate(&holding[0], &grid, &k));
            for smaller in (1..order).flat_map(naive::hermite_normal_forms) {
                assert!(!naive::commensurate(&smaller, &k, &n));
                assert!(!qpoint::is_commensurate(&smaller, &grid, &k));
            }
        }
    }
}

#[test]
fn irreducible_points_are_the_stars() {
    for (name, rotations) in groups() {
        let proper: Vec<Mat3> = rotations
            .iter()
            .copied()
            .filter(|r| determinant(r).unwrap() == 1)
            .collect();
        for n in GRIDS {
            let grid = Grid::new(n).unwrap();
            for time_reversal in [false, true] {
                // Rotations alone without time reversal, and with it, which then adds the inversion.
                let expected = naive::stars(if time_reversal { &rotations } else { &proper }, &n);
                let found =
                    irreducible::irreducible(&grid, &proper, time_reversal, true, &Context::quiet()).unwrap();
                let stars: Vec<(Vec3, i64)> = found
                    .points
                    .iter()
                    .copied()
                    .zip(found.weights.iter().copied())
                    .collect();
                assert_eq!(stars, expected.into_iter().collect::<Vec<_>>(), "{name} {n:?}");
                let bits = irreducible::irreducible(&grid, &proper, time_reversal, false, &Context::quiet())
                    .unwrap();
                assert_eq!(
                    (bits.points, bits.weights),
                    (found.points.clone(), found.weights.clone())
                );
                let mapping = found.mapping.unwrap();
                for (index, k) in naive::qpoints(&n).iter().enumerate() {
                    let own = found.points[mapping[index] as usize];
                    let group = if time_reversal { &rotations } else { &proper };
                    assert!(
                        naive::keeping(group, &n)
                            .iter()
                            .any(|r| naive::rotate(r, &own, &n) == Some(*k))
                    );
                }
            }
        }
    }
}

#[test]
fn distinct_supercells_match_pairwise_comparison() {
    for (_, rotations) in groups() {
        for size in 1..=9 {
            let found = enumerate::distinct_supercells(size, &rotations, &Context::quiet()).unwrap();
            assert_eq!(found.len(), naive::count_distinct(size, &rotations));
        }
    }
}

#[test]
fn single_supercells() {
    let fcc = naive::face_centred();
    for (n, size) in [(4, 32), (6, 72), (8, 256), (12, 576), (24, 4608)] {
        assert_eq!(
            single::smallest_single(&Grid::new([n; 3]).unwrap(), &fcc)
                .unwrap()
                .size,
            size
        );
    }
    // Brute force: no smaller supercell holds every q-point up to symmetry.
    for (name, rotations) in groups() {
        for n in [[2, 2, 2], [3, 3, 3], [4, 4, 4], [4, 4, 2], [6, 1, 1]] {
            let found = single::smallest_single(&Grid::new(n).unwrap(), &rotations).unwrap();
            let group = naive::keeping(&rotations, &n);
            let holds_all = |s: &Mat3| {
                naive::qpoints(&n).iter().all(|k| {
                    group
                        .iter()
                        .any(|r| naive::commensurate(s, &naive::rotate(r, k, &n).unwrap(), &n))
                })
            };
            assert!(holds_all(&found.matrix()), "{name} {n:?}");
            for size in (1..found.size).filter(|size| n[0] * n[1] * n[2] % size == 0) {
                assert!(
                    !naive::hermite_normal_forms(size).iter().any(holds_all),
                    "{name} {n:?} {size}"
                );
            }
        }
    }
}

#[test]
fn reduction_is_minkowskis() {
    let metrics = [
        naive::fcc_metric(),
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[1.0, -0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, 2.63]],
        [[1.0, 0.3, 0.2], [0.3, 2.0, 0.45], [0.2, 0.45, 3.3]],
    ];
    for g in metrics {
        for size in [1, 2, 6, 12] {
            for s in naive::hermite_normal_forms(size) {
                let reduced = reduce::minkowski(&s, &g).unwrap();
                assert_eq!(determinant(&reduced).unwrap(), size);
                assert!(naive::same_lattice(&reduced, &s));
                let slow = naive::minkowski(&s, &g);
                for i in 0..3 {
                    let (fast, slow) = (naive::norm(&g, &reduced[i]), naive::norm(&g, &slow[i]));
                    assert!((fast - slow).abs() < 1e-6 * slow, "{s:?} {reduced:?}");
                }
            }
        }
    }
}

#[test]
fn smith_of_all_small_forms() {
    for size in 1..=16 {
        for s in naive::hermite_normal_forms(size) {
            let smith = snf::smith(&s).unwrap();
            let [p, q, r] = smith.diagonal;
            assert!(q % p == 0 && r % q == 0 && p * q * r == size);
            let product = multiply(&multiply(&smith.left, &s).unwrap(), &smith.right).unwrap();
            assert_eq!(product, [[p, 0, 0], [0, q, 0], [0, 0, r]]);
            let also = snf::smith(&transpose(&s)).unwrap();
            assert_eq!(also.diagonal, smith.diagonal);
        }
    }
}

#[test]
fn stars_and_little_groups() {
    for (_, rotations) in groups() {
        for n in [[2, 2, 2], [4, 4, 4], [6, 6, 4]] {
            let grid = Grid::new(n).unwrap();
            let group = naive::keeping(&rotations, &n);
            for k in naive::qpoints(&n) {
                let star = qpoint::star(&grid, &rotations, &k).unwrap();
                let images: BTreeSet<Vec3> =
                    group.iter().map(|r| naive::rotate(r, &k, &n).unwrap()).collect();
                assert_eq!(star.iter().map(|x| x.0).collect::<BTreeSet<_>>(), images);
                for (image, index) in &star {
                    assert_eq!(naive::rotate(&rotations[*index], &k, &n), Some(*image));
                }
                let little = qpoint::little_group(&grid, &rotations, &k).unwrap();
                let expected = rotations
                    .iter()
                    .filter(|r| naive::rotate(r, &k, &n) == Some(k))
                    .count();
                assert_eq!(little.len(), expected);
                if group.len() == rotations.len() {
                    assert_eq!(star.len() * little.len(), rotations.len());
                }
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    let rotations = naive::hexagonal();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let anisotropic = Grid::new([60, 60, 30]).unwrap();
            let cover = cover::minimal_cover(&anisotropic, &rotations, &Context::quiet()).unwrap();
            let supercells = matrices(&cover);
            let metric = [[1.0, -0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, 2.63]];
            let reduced = reduce::minkowski_all(&supercells, &metric, &Context::quiet()).unwrap();
            (cover, reduced)
        })
    };
    assert_eq!(run(1), run(4));
}
