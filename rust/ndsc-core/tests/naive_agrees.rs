//! The fast versions against the slow, obvious ones, and against published numbers.

mod naive;

use std::collections::{BTreeMap, BTreeSet};

use ndsc_core::context::Context;
use ndsc_core::hnf::{self, Hnf};
use ndsc_core::int3::{Mat3, Vec3, determinant, multiply, transpose};
use ndsc_core::qpoint::{self, Grid};
use ndsc_core::{columns, cover, enumerate, irreducible, reduce, single, snf};

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

/// Brute force: all supercells inside the diagonal one, one of each orbit, with the rows that hold a q-point of theirs.
fn naive_columns(rotations: &[Mat3], n: Vec3, rows: &[Hnf]) -> BTreeMap<Hnf, Vec<u32>> {
    let grid = Grid::new(n).unwrap();
    let group = naive::keeping(rotations, &n);
    let diagonal: [Vec3; 3] = [[n[0], 0, 0], [0, n[1], 0], [0, 0, n[2]]];
    let points = naive::qpoints(&n);
    let generators: Vec<Vec3> = matrices(rows)
        .iter()
        .map(|row| {
            let generates = |k: &&Vec3| {
                naive::commensurate(row, k, &n) && grid.order(k).unwrap() == determinant(row).unwrap()
            };
            *points.iter().find(generates).unwrap()
        })
        .collect();
    let mut found = BTreeMap::new();
    let all = n[0] * n[1] * n[2];
    for size in (1..=all).filter(|size| all % size == 0) {
        for s in naive::hermite_normal_forms(size) {
            let form = Hnf::of(&s).unwrap();
            let images = group.iter().map(|r| Hnf::of(&multiply(&s, r).unwrap()).unwrap());
            if !diagonal.iter().all(|v| form.contains(v)) || images.min() != Some(form) {
                continue;
            }
            let holds = |k: &Vec3| {
                let image = |r: &Mat3| naive::rotate(r, k, &n).unwrap();
                group.iter().any(|r| naive::commensurate(&s, &image(r), &n))
            };
            let held = (0..rows.len()).filter(|&row| holds(&generators[row]));
            found.insert(form, held.map(|row| row as u32).collect());
        }
    }
    found
}

#[test]
fn columns_are_all_useful_subgroups() {
    for (name, rotations) in groups() {
        for n in [
            [1, 1, 1],
            [2, 2, 2],
            [4, 4, 4],
            [6, 6, 6],
            [4, 2, 2],
            [6, 3, 1],
            [6, 2, 12],
            [3, 6, 6],
        ] {
            let grid = Grid::new(n).unwrap();
            let rows = cover::minimal_cover(&grid, &rotations, &Context::quiet()).unwrap();
            let expected = naive_columns(&rotations, n, &rows);
            for exponent in [0.01, 0.5, 1.0, 1.3, 1.55] {
                let found =
                    columns::columns(&grid, &rotations, exponent, 1_000_000, &Context::quiet()).unwrap();
                assert_eq!(found.beyond, Some(Vec::new()));
                assert_eq!(found.rows, rows);
                for (form, held) in found.forms.iter().zip(&found.held) {
                    assert_eq!(expected.get(form), Some(held), "{name} {n:?} {exponent} {form:?}");
                }
                assert!(found.forms.is_sorted());
                // What is left out costs no less than the columns that can stand for it together.
                let cost = |size: i64| (size as f64).powf(exponent);
                let listed: BTreeSet<&Hnf> = found.forms.iter().collect();
                for (form, held) in expected.iter().filter(|x| !listed.contains(x.0)) {
                    let wanted = held.iter().copied().collect();
                    let replaced = is_held_for(&wanted, &found, &cost, cost(form.size) * (1.0 + 1e-9));
                    assert!(replaced, "{name} {n:?} {exponent} {form:?} {held:?}");
                }
            }
        }
    }
}

/// Whether some columns hold the wanted rows and cost no more than `limit` together.
fn is_held_for(
    wanted: &BTreeSet<u32>,
    found: &columns::Columns,
    cost: &impl Fn(i64) -> f64,
    limit: f64,
) -> bool {
    let gained = |column: usize| {
        found.held[column]
            .iter()
            .filter(|row| wanted.contains(row))
            .count()
    };
    // Each row pays its share of a column at the least.
    let mut shares: BTreeMap<u32, f64> = wanted.iter().map(|&row| (row, f64::INFINITY)).collect();
    let mut choices = Vec::new();
    for column in 0..found.forms.len() {
        let share = cost(found.forms[column].size) / gained(column) as f64;
        for row in &found.held[column] {
            if let Some(least) = shares.get_mut(row) {
                *least = least.min(share);
            }
        }
        choices.push((share, column));
    }
    if shares.values().sum::<f64>() > limit * (1.0 + 1e-9) {
        return false;
    }
    let Some(next) = wanted.first() else { return true };
    choices.retain(|x| found.held[x.1].contains(next));
    choices.sort_by(|x, y| x.0.total_cmp(&y.0));
    choices.into_iter().any(|(_, column)| {
        let rest = wanted
            .iter()
            .filter(|row| !found.held[column].contains(row))
            .copied()
            .collect();
        is_held_for(&rest, found, cost, limit - cost(found.forms[column].size))
    })
}

#[test]
fn columns_that_are_too_many_are_told() {
    let rotations = naive::face_centred();
    let grid = Grid::new([12; 3]).unwrap();
    let all = columns::columns(&grid, &rotations, 1.0, 1_000_000, &Context::quiet()).unwrap();
    let some = columns::columns(&grid, &rotations, 1.0, 100, &Context::quiet()).unwrap();
    let beyond = some.beyond.unwrap();
    assert!(!beyond.is_empty() && some.forms.len() < all.forms.len());
    let listed: BTreeSet<&Hnf> = some.forms.iter().collect();
    for (form, held) in all.forms.iter().zip(&all.held).filter(|x| !listed.contains(x.0)) {
        let (_, most) = beyond.iter().find(|x| x.0 == form.size).unwrap();
        assert!(held.len() as u64 <= *most);
    }
    // A prime power of 2^8 is not listed: the rows and the single supercell remain.
    let dense = Grid::new([256; 3]).unwrap();
    let found = columns::columns(&dense, &rotations, 1.0, 1_000_000, &Context::quiet()).unwrap();
    assert_eq!((found.forms.len(), found.beyond), (found.rows.len() + 1, None));
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
            let grid = Grid::new([12, 12, 6]).unwrap();
            let columns = columns::columns(&grid, &rotations, 0.7, 1_000_000, &Context::quiet()).unwrap();
            (cover, reduced, columns.forms, columns.held)
        })
    };
    assert_eq!(run(1), run(4));
}
