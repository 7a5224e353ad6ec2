//! Properties that hold for random lattices, grids and matrices with elements to 10^6, and a fuzz over everything that
//! is public: errors are fine, panics are not.

mod naive;

use ndsc_core::context::Context;
use ndsc_core::error::Error;
use ndsc_core::hnf::{self, Hnf};
use ndsc_core::int3::{self, IDENTITY, Mat3, adjugate, determinant, multiply, transpose, unimodular_inverse};
use ndsc_core::qpoint::{self, Grid};
use ndsc_core::reduce::{self, Metric};
use ndsc_core::{cover, cyclic, enumerate, irreducible, single, snf, symmetry};
use proptest::prelude::*;

fn matrix(bound: i64) -> impl Strategy<Value = Mat3> {
    prop::array::uniform3(prop::array::uniform3(-bound..=bound))
}

/// A product of elementary matrices: unimodular, with elements that grow with its length.
fn unimodular() -> impl Strategy<Value = Mat3> {
    prop::collection::vec((0..3_usize, 1..3_usize, -9..=9_i64), 1..7).prop_map(|steps| {
        steps.into_iter().fold(IDENTITY, |m, (i, shift, factor)| {
            let mut step = IDENTITY;
            step[i][(i + shift) % 3] = factor;
            multiply(&step, &m).unwrap()
        })
    })
}

/// The metric of a random cell that is not too flat.
fn metric() -> impl Strategy<Value = Metric> {
    prop::array::uniform3(prop::array::uniform3(-4.0..4.0_f64)).prop_filter_map("flat cell", |a| {
        let mut g = [[0.0; 3]; 3];
        for i in 0..3 {
            for j in 0..3 {
                g[i][j] = (0..3).map(|k| a[i][k] * a[j][k]).sum();
            }
        }
        let volume = a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
            - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
            + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
        let lengths = (g[0][0] * g[1][1] * g[2][2]).sqrt();
        (volume.abs() > 0.05 * lengths && lengths > 1e-2).then_some(g)
    })
}

fn point_group() -> impl Strategy<Value = Vec<Mat3>> {
    prop::sample::select(vec![
        naive::simple_cubic(),
        naive::face_centred(),
        naive::hexagonal(),
        naive::triclinic(),
        vec![IDENTITY],
    ])
}

fn is_reduced(b: &Mat3, g: &Metric) -> bool {
    let n = b.map(|v| naive::norm(g, &v));
    let slack = 1.0 + 1e-6;
    let combination = |x: [i64; 3]| [0, 1, 2].map(|c| (0..3).map(|i| x[i] * b[i][c]).sum::<i64>());
    let shortest = (0..27).all(|code: i64| {
        let x = [code / 9 - 1, code / 3 % 3 - 1, code % 3 - 1];
        let norm = naive::norm(g, &combination(x)) * slack;
        (x[2] == 0 || norm >= n[2])
            && (x[1] == 0 && x[2] == 0 || norm >= n[1])
            && (x == [0; 3] || norm >= n[0])
    });
    shortest && n[0] <= n[1] * slack && n[1] <= n[2] * slack
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn hermite_form_of_large_matrices(s in matrix(1_000_000)) {
        match Hnf::of(&s) {
            Ok(form) => {
                let h = form.matrix();
                prop_assert!(form.b >= 0 && form.b < form.d && form.c >= 0 && form.c < form.f());
                prop_assert!(form.e >= 0 && form.e < form.f() && form.a > 0);
                prop_assert_eq!(determinant(&h).unwrap(), determinant(&s).unwrap().abs());
                prop_assert!(s.iter().all(|row| form.contains(row)));
            }
            Err(Error::Input(_)) => prop_assert_eq!(determinant(&s).unwrap(), 0),
            Err(other) => prop_assert!(matches!(other, Error::Overflow(_)), "{}", other),
        }
    }

    #[test]
    fn hermite_form_depends_on_the_lattice_only(s in matrix(30), u in unimodular()) {
        prop_assume!(determinant(&s).unwrap() != 0);
        let form = Hnf::of(&s).unwrap();
        prop_assert_eq!(form, Hnf::of(&multiply(&u, &s).unwrap()).unwrap());
        let (again, transform) = hnf::with_transform(&s).unwrap();
        prop_assert_eq!(again, form);
        prop_assert_eq!(multiply(&transform, &s).unwrap(), form.matrix());
        prop_assert_eq!(determinant(&transform).unwrap().abs(), 1);
    }

    #[test]
    fn smith_form_of_large_matrices(s in matrix(1_000_000)) {
        match snf::smith(&s) {
            Ok(smith) => {
                let [p, q, r] = smith.diagonal;
                prop_assert!(p > 0 && q % p == 0 && r % q == 0);
                let product = multiply(&smith.left, &s).and_then(|m| multiply(&m, &smith.right));
                if let Ok(product) = product {
                    prop_assert_eq!(product, [[p, 0, 0], [0, q, 0], [0, 0, r]]);
                }
            }
            Err(Error::Input(_)) => prop_assert_eq!(determinant(&s).unwrap(), 0),
            Err(other) => prop_assert!(matches!(other, Error::Overflow(_)), "{}", other),
        }
    }

    #[test]
    fn smith_form_depends_on_the_lattice_only(s in matrix(20), u in unimodular()) {
        prop_assume!(determinant(&s).unwrap() != 0);
        let own = snf::smith(&s).unwrap().diagonal;
        prop_assert_eq!(own, snf::smith(&multiply(&u, &s).unwrap()).unwrap().diagonal);
        prop_assert_eq!(own, snf::smith(&transpose(&s)).unwrap().diagonal);
    }

    #[test]
    fn adjugate_and_inverse(s in matrix(1000), u in unimodular()) {
        let det = determinant(&s).unwrap();
        let product = multiply(&s, &adjugate(&s).unwrap()).unwrap();
        prop_assert_eq!(product, [[det, 0, 0], [0, det, 0], [0, 0, det]]);
        prop_assert_eq!(multiply(&u, &unimodular_inverse(&u).unwrap()).unwrap(), IDENTITY);
    }

    #[test]
    fn reduction_depends_on_the_lattice_only(s in matrix(12), u in unimodular(), g in metric()) {
        prop_assume!(determinant(&s).unwrap() != 0);
        let reduced = reduce::minkowski(&s, &g).unwrap();
        prop_assert_eq!(determinant(&reduced).unwrap(), determinant(&s).unwrap().abs());
        prop_assert!(naive::same_lattice(&reduced, &s));
        prop_assert!(is_reduced(&reduced, &g), "{:?}", reduced);
        prop_assert_eq!(reduce::minkowski(&multiply(&u, &s).unwrap(), &g).unwrap(), reduced);
        prop_assert_eq!(reduce::minkowski(&reduced, &g).unwrap(), reduced);
    }

    #[test]
    fn reduction_of_large_matrices(s in matrix(1_000_000), g in metric()) {
        prop_assume!(determinant(&s).unwrap() != 0);
        let reduced = reduce::minkowski(&s, &g).unwrap();
        prop_assert_eq!(determinant(&reduced).unwrap(), determinant(&s).unwrap().abs());
        prop_assert_eq!(Hnf::of(&reduced).ok(), Hnf::of(&s).ok());
        prop_assert!(is_reduced(&reduced, &g), "{:?}", reduced);
    }

    #[test]
    fn reduction_of_symmetric_lattices_ignores_noise(
        s in matrix(6),
        noise in prop::array::uniform6(-1.0..1.0_f64),
        which in 0..3_usize,
    ) {
        prop_assume!(determinant(&s).unwrap() != 0);
        let metrics: [Metric; 3] = [
            naive::fcc_metric(),
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            [[1.0, -0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, 8.0 / 3.0]],
        ];
        let exact = metrics[which];
        let mut noisy = exact;
        for (x, (i, j)) in noise.into_iter().zip([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]) {
            noisy[i][j] += 2e-10 * x;
            noisy[j][i] = noisy[i][j];
        }
        prop_assert_eq!(reduce::minkowski(&s, &exact).unwrap(), reduce::minkowski(&s, &noisy).unwrap());
    }

    #[test]
    fn lattice_points_are_the_cells(s in matrix(5)) {
        let det = determinant(&s).unwrap();
        prop_assume!(det != 0);
        let points = hnf::lattice_points(&s, &Context::quiet()).unwrap();
        prop_assert_eq!(points.len() as i64, det.abs());
        prop_assert!(points.is_sorted());
        let adjugate = adjugate(&s).unwrap();
        for n in &points {
            // n s^-1 in [0, 1).
            let scaled = multiply(&[*n, [0; 3], [0; 3]], &adjugate).unwrap()[0].map(|x| x * det.signum());
            prop_assert!(scaled.iter().all(|&x| x >= 0 && x < det.abs()));
        }
    }

    #[test]
    fn every_qpoint_is_located_on_random_grids(
        rotations in point_group(),
        n in prop::array::uniform3(1..40_i64),
        k in prop::array::uniform3(-1000..1000_i64),
    ) {
        let grid = Grid::new(n).unwrap();
        let (form, index) = cover::locate(&grid, &rotations, &k).unwrap();
        let image = naive::rotate(&rotations[index], &grid.wrap(&k), &n).unwrap();
        prop_assert!(qpoint::is_commensurate(&form.matrix(), &grid, &image));
        prop_assert!(naive::commensurate(&form.matrix(), &image, &n));
        let generator = cyclic::maximal_generator(&grid, &k);
        prop_assert_eq!(form.size, grid.order(&generator).unwrap());
    }

    #[test]
    fn weights_add_up(rotations in point_group(), n in prop::array::uniform3(1..14_i64), reversal: bool) {
        let grid = Grid::new(n).unwrap();
        let found = irreducible::irreducible(&grid, &rotations, reversal, true, &Context::quiet()).unwrap();
        prop_assert_eq!(found.weights.iter().sum::<i64>(), grid.len());
        let mut counts = vec![0; found.points.len()];
        for star in found.mapping.unwrap() {
            counts[star as usize] += 1;
        }
        prop_assert_eq!(counts, found.weights);
    }

    #[test]
    fn sets_by_marking_and_by_judging_agree(rotations in point_group(), n in 1..70_i64) {
        let grid = Grid::new([n; 3]).unwrap();
        let cover = cover::minimal_cover(&grid, &rotations, &Context::quiet()).unwrap();
        let mut pieces = cover::CoverIterator::new(&grid, &rotations).unwrap();
        let mut judged = Vec::new();
        while let Some(piece) = pieces.next_chunk().unwrap() {
            judged.extend(piece);
        }
        judged.sort_unstable();
        prop_assert_eq!(cover, judged);
    }
}

/// Numbers of every size, the extremes among them.
fn wild() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -5..=5_i64,
        2 => -100..=100_i64,
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX, 1 << 20, 1 << 31, 1 << 40]),
    ]
}

fn wild_matrix() -> impl Strategy<Value = Mat3> {
    prop::array::uniform3(prop::array::uniform3(wild()))
}

fn wild_metric() -> impl Strategy<Value = Metric> {
    let element = prop_oneof![
        3 => -5.0..5.0_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, 1e-300, 1e300, f64::NAN, f64::INFINITY]),
    ];
    let free = prop::array::uniform3(prop::array::uniform3(element));
    prop_oneof![
        free,
        metric(),
        metric().prop_map(|g| g.map(|row| row.map(|x| x * 1e150)))
    ]
}

fn wild_rotations() -> impl Strategy<Value = Vec<Mat3>> {
    let free = prop::collection::vec(wild_matrix(), 0..4);
    // Groups in odd settings: U R U^-1, with elements that grow.
    let odd = (point_group(), unimodular()).prop_map(|(group, u)| {
        let inverse = unimodular_inverse(&u).unwrap();
        group
            .iter()
            .map(|r| multiply(&multiply(&u, r).unwrap(), &inverse).unwrap())
            .collect()
    });
    prop_oneof![free, point_group(), odd]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn matrices_never_panic(s in wild_matrix(), t in wild_matrix(), g in wild_metric(), v in prop::array::uniform3(wild())) {
        let small = Context { memory: 1 << 20, ..Context::quiet() };
        let _ = int3::multiply(&s, &t);
        let _ = int3::apply(&s, &v);
        let _ = int3::determinant(&s);
        let _ = int3::adjugate(&s);
        let _ = int3::unimodular_inverse(&s);
        let _ = int3::gcd(v[0], v[1]);
        let _ = hnf::with_transform(&s);
        let _ = hnf::lattice_points(&s, &small);
        let _ = snf::smith(&s);
        let _ = reduce::minkowski_all(&[s, t], &g, &small);
        if let Ok(form) = Hnf::of(&s) {
            let _ = form.contains(&v);
        }
    }

    #[test]
    fn numbers_never_panic(size in wild(), rotations in wild_rotations()) {
        let small = Context { memory: 1 << 16, ..Context::quiet() };
        let _ = hnf::count_of_size(size);
        let _ = hnf::all_of_size(size, &small);
        let _ = enumerate::distinct_supercells(size, &rotations, &small);
        let _ = symmetry::check_group(&rotations);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn grids_never_panic(
        n in prop::array::uniform3(prop_oneof![6 => 1..9_i64, 1 => wild(), 1 => 1..1_048_577_i64]),
        k in prop::array::uniform3(wild()),
        s in wild_matrix(),
        rotations in wild_rotations(),
    ) {
        let small = Context { memory: 1 << 18, ..Context::quiet() };
        let Ok(grid) = Grid::new(n) else { return Ok(()) };
        let _ = grid.order(&grid.wrap(&k));
        let _ = grid.smallest_supercell(&k);
        let _ = cyclic::maximal_generator(&grid, &k);
        let _ = qpoint::is_commensurate(&s, &grid, &k);
        let _ = qpoint::star(&grid, &rotations, &k);
        let _ = qpoint::little_group(&grid, &rotations, &k);
        let _ = symmetry::on_grid(&rotations, n);
        let _ = irreducible::irreducible(&grid, &rotations, true, true, &small);
        let _ = cover::minimal_cover(&grid, &rotations, &small);
        let _ = cover::locate(&grid, &rotations, &k);
        if grid.len() < 5000 {
            let _ = single::smallest_single(&grid, &rotations);
        }
        if let Ok(mut pieces) = cover::CoverIterator::new(&grid, &rotations)
            && pieces.total() < 100_000
        {
            let _ = pieces.next_chunk();
        }
    }
}

#[test]
fn a_determinant_of_the_smallest_integer_is_no_unimodular_one() {
    let s = [[-1, 0, 0], [0, 1, 1], [0, -i64::MAX, 1]];
    assert_eq!(determinant(&s).unwrap(), i64::MIN);
    assert!(int3::unimodular_inverse(&s).is_err());
    let _ = hnf::with_transform(&s);
    let _ = snf::smith(&s);
}
