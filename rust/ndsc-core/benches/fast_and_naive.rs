//! The naive and the fast version of each: complexity in N above each pair.
#![allow(missing_docs)]

#[path = "../tests/naive/mod.rs"]
mod naive;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ndsc_core::context::Context;
use ndsc_core::qpoint::Grid;
use ndsc_core::{cover, enumerate, hnf, irreducible, reduce, single};

/// Naive: N^6 and more, sets of q-points compared. Fast: N^2.
fn cover(c: &mut Criterion) {
    let rotations = naive::face_centred();
    let mut group = c.benchmark_group("minimal set, fcc");
    for n in [4, 96, 200, 1000] {
        let grid = Grid::new([n; 3]).unwrap();
        if n == 4 {
            group.bench_function(BenchmarkId::new("naive", n), |b| {
                b.iter(|| naive::count_cover(&rotations, &[n; 3]));
            });
        }
        group.sample_size(if n == 1000 { 10 } else { 50 });
        group.bench_function(BenchmarkId::new("fast", n), |b| {
            b.iter(|| cover::minimal_cover(black_box(&grid), &rotations, &Context::quiet()).unwrap());
        });
    }
    group.finish();
}

/// Naive: N^3 times the order of the group, in maps. Fast: N^3 marks, the group in lanes.
fn qpoints(c: &mut Criterion) {
    let rotations = naive::face_centred();
    let mut group = c.benchmark_group("irreducible q-points, fcc");
    group.sample_size(10);
    for n in [8, 48, 100, 200] {
        let grid = Grid::new([n; 3]).unwrap();
        if n == 8 {
            group.bench_function(BenchmarkId::new("naive", n), |b| {
                b.iter(|| naive::stars(&rotations, &[n; 3]));
            });
        }
        for (name, with_mapping) in [("bits", false), ("map", true)] {
            group.bench_function(BenchmarkId::new(name, n), |b| {
                b.iter(|| {
                    irreducible::irreducible(&grid, &rotations, true, with_mapping, &Context::quiet())
                        .unwrap()
                });
            });
        }
    }
    group.finish();
}

/// Naive: pairwise, the square of the number of forms. Fast: a bitmap, the number of forms.
fn distinct(c: &mut Criterion) {
    let rotations = naive::face_centred();
    let mut group = c.benchmark_group("distinct supercells, fcc");
    group.sample_size(20);
    for size in [8, 64, 128] {
        if size == 8 {
            group.bench_function(BenchmarkId::new("naive", size), |b| {
                b.iter(|| naive::count_distinct(size, &rotations));
            });
        }
        group.bench_function(BenchmarkId::new("fast", size), |b| {
            b.iter(|| {
                enumerate::distinct_supercells(black_box(size), &rotations, &Context::quiet()).unwrap()
            });
        });
    }
    group.finish();
}

/// Naive: every triple of diagonal elements. Fast: divisors. Both then write each form once.
fn forms(c: &mut Criterion) {
    let mut group = c.benchmark_group("Hermite normal forms of 64");
    group.bench_function("naive", |b| b.iter(|| naive::hermite_normal_forms(black_box(64))));
    group.bench_function("fast", |b| {
        b.iter(|| hnf::all_of_size(black_box(64), &Context::quiet()).unwrap());
    });
    group.finish();
}

/// Naive: restarts after each step. Fast: nearest lattice points.
fn reduction(c: &mut Criterion) {
    let metric = naive::fcc_metric();
    let forms: Vec<_> = hnf::all_of_size(48, &Context::quiet())
        .unwrap()
        .into_iter()
        .step_by(7)
        .collect();
    let mut group = c.benchmark_group(format!("Minkowski reduction of {} supercells of 48", forms.len()));
    group.sample_size(20);
    group.bench_function("naive", |b| {
        b.iter(|| {
            forms
                .iter()
                .map(|s| naive::minkowski(s, &metric))
                .collect::<Vec<_>>()
        });
    });
    group.bench_function("fast", |b| {
        b.iter(|| {
            forms
                .iter()
                .map(|s| reduce::minkowski(s, &metric).unwrap())
                .collect::<Vec<_>>()
        });
    });
    group.finish();
}

/// At most 24 indices, whatever the grid.
fn one_cell(c: &mut Criterion) {
    let rotations = naive::face_centred();
    let grid = Grid::new([24; 3]).unwrap();
    c.bench_function("smallest single supercell, fcc 24", |b| {
        b.iter(|| single::smallest_single(&grid, &rotations).unwrap());
    });
}

criterion_group!(benches, cover, qpoints, distinct, forms, reduction, one_cell);
criterion_main!(benches);
