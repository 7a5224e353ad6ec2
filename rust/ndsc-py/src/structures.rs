//! Structures: symmetry operations, found by moyo, and distances.

use std::collections::HashSet;

use moyo::base::{
    AngleTolerance, Cell, Collinear, Lattice, MagneticCell, MagneticMoment, NonCollinear,
    RotationMagneticMomentAction,
};
use moyo::data::Setting;
use moyo::{MoyoDataset, MoyoMagneticDataset};
use nalgebra::{Matrix3, Vector3};
use ndsc_core::bravais;
use ndsc_core::context::{Context, Silent};
use ndsc_core::int3::{IDENTITY, Mat3};
use ndsc_core::sites::{self, Position};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

use crate::convert::{Matrices, matrices, matrices_out, metric, reals, reals_out, table_out};
use crate::monitor::run;

struct Operation {
    rotation: Mat3,
    translation: Position,
    time_reversal: bool,
}

impl Operation {
    fn of(operation: &moyo::base::Operation, time_reversal: bool) -> Self {
        let (r, t) = (&operation.rotation, &operation.translation);
        Self {
            rotation: [0, 1, 2].map(|i| [0, 1, 2].map(|j| i64::from(r[(i, j)]))),
            translation: [t[0], t[1], t[2]],
            time_reversal,
        }
    }
}

/// The operations and the tolerance that was used, which is smaller than the given one where that gave no group.
fn without_moments(cell: &Cell, symprec: f64) -> Option<(Vec<Operation>, f64)> {
    let found = MoyoDataset::new(cell, symprec, AngleTolerance::Default, Setting::Standard, false).ok()?;
    let operations = found.operations.iter().map(|x| Operation::of(x, false));
    Some((operations.collect(), found.symprec))
}

fn with_moments<M: MagneticMoment>(
    cell: Cell,
    moments: Vec<M>,
    action: RotationMagneticMomentAction,
    symprec: f64,
    magnetic_tolerance: f64,
) -> Option<(Vec<Operation>, f64)> {
    let cell = MagneticCell::from_cell(cell, moments);
    let angle = AngleTolerance::Default;
    let found =
        MoyoMagneticDataset::new(&cell, symprec, angle, Some(magnetic_tolerance), action, false).ok()?;
    let operations = found
        .magnetic_operations
        .iter()
        .map(|x| Operation::of(&x.operation, x.time_reversal));
    let share = (found.symprec / symprec).min(found.mag_symprec / magnetic_tolerance);
    Some((operations.collect(), symprec * share))
}

/// One operation of each rotation, and all pure translations: the others are products of these.
fn generators(operations: &[Operation]) -> Vec<usize> {
    let mut met = HashSet::new();
    let is_new = |&i: &usize| {
        let rotation = operations[i].rotation;
        met.insert(rotation) || rotation == IDENTITY
    };
    (0..operations.len()).filter(is_new).collect()
}

type Operations<'py> = (
    Matrices<'py>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<bool>>,
    f64,
    f64,
);

/// Rotations, translations, time reversals, the tolerance that was used, and the largest distance between the image of
/// an atom and the atom there; nothing when moyo finds no group.
#[pyfunction]
pub fn symmetry_operations<'py>(
    py: Python<'py>,
    cell: PyReadonlyArray2<'py, f64>,
    positions: PyReadonlyArray2<'py, f64>,
    species: PyReadonlyArray1<'py, i64>,
    moments: Option<PyReadonlyArray2<'py, f64>>,
    symprec: f64,
    magnetic_tolerance: f64,
) -> PyResult<Option<Operations<'py>>> {
    let (cell, positions) = (metric(&cell)?, reals(&positions)?);
    let species = species.as_array().to_vec();
    let moments = moments.map(|m| {
        m.as_array()
            .rows()
            .into_iter()
            .map(|row| row.to_vec())
            .collect::<Vec<_>>()
    });
    if let [_] = species[..]
        && moments.as_ref().is_none_or(|m| m[0].len() == 1)
    {
        // A lattice of one atom: every rotation of the lattice, without a translation, and no spin is reversed.
        let g = [0, 1, 2].map(|i| [0, 1, 2].map(|j| (0..3).map(|k| cell[i][k] * cell[j][k]).sum()));
        if let Ok(Some(rotations)) = bravais::rotations(&g, symprec) {
            // x' = W x + w, and the atom stays where it is: w = x - W x.
            let x = positions[0];
            let translation = |w: &Mat3| {
                [0, 1, 2].map(|i| {
                    let shift = x[i] - (0..3).map(|j| w[i][j] as f64 * x[j]).sum::<f64>();
                    shift - shift.round()
                })
            };
            let translations = rotations.iter().map(translation).collect();
            let reversals = vec![false; rotations.len()];
            return Ok(Some((
                matrices_out(py, rotations)?,
                reals_out(py, translations)?,
                reversals.into_pyarray(py),
                symprec,
                0.0,
            )));
        }
    }
    let found = py.detach(|| {
        let rows = Matrix3::from_fn(|i, j| cell[i][j]);
        let places = positions.iter().map(|x| Vector3::new(x[0], x[1], x[2])).collect();
        let structure = Cell::new(
            Lattice::new(rows),
            places,
            species.iter().map(|&x| x as i32).collect(),
        );
        let (operations, used) = match moments {
            None => without_moments(&structure, symprec)?,
            Some(moments) if moments[0].len() == 1 => {
                let moments = moments.iter().map(|m| Collinear(m[0])).collect();
                // Scalars that rotations leave as they are.
                let action = RotationMagneticMomentAction::Polar;
                with_moments(structure, moments, action, symprec, magnetic_tolerance)?
            }
            Some(moments) => {
                let moments = moments
                    .iter()
                    .map(|m| NonCollinear(Vector3::new(m[0], m[1], m[2])))
                    .collect();
                let action = RotationMagneticMomentAction::Axial;
                with_moments(structure, moments, action, symprec, magnetic_tolerance)?
            }
        };
        let rotations: Vec<Mat3> = operations.iter().map(|x| x.rotation).collect();
        let translations: Vec<Position> = operations.iter().map(|x| x.translation).collect();
        let some = generators(&operations);
        let context = Context {
            monitor: &Silent,
            memory: u64::MAX,
        };
        let images = sites::images(
            &cell,
            &positions,
            &species,
            &some.iter().map(|&i| rotations[i]).collect::<Vec<_>>(),
            &some.iter().map(|&i| translations[i]).collect::<Vec<_>>(),
            2.0 * symprec,
            &context,
        )
        .ok()?;
        let deviation = images.distances.iter().copied().fold(0.0, f64::max);
        let reversals: Vec<bool> = operations.iter().map(|x| x.time_reversal).collect();
        Some((rotations, translations, reversals, used, deviation))
    });
    found
        .map(|(rotations, translations, reversals, used, deviation)| {
            Ok((
                matrices_out(py, rotations)?,
                reals_out(py, translations)?,
                reversals.into_pyarray(py),
                used,
                deviation,
            ))
        })
        .transpose()
}

type SiteImages<'py> = (Bound<'py, PyArray2<i64>>, Bound<'py, PyArray1<f64>>);

/// The atom that each operation takes each atom to, within the tolerance, and the largest distance for each operation.
#[pyfunction]
pub fn site_images<'py>(
    py: Python<'py>,
    cell: PyReadonlyArray2<'py, f64>,
    positions: PyReadonlyArray2<'py, f64>,
    species: PyReadonlyArray1<'py, i64>,
    rotations: PyReadonlyArray3<'py, i64>,
    translations: PyReadonlyArray2<'py, f64>,
    tolerance: f64,
) -> PyResult<SiteImages<'py>> {
    let (cell, positions, rotations) = (metric(&cell)?, reals(&positions)?, matrices(&rotations)?);
    let (species, translations) = (species.as_array().to_vec(), reals(&translations)?);
    let found = run(py, u64::MAX, None, |context| {
        sites::images(
            &cell,
            &positions,
            &species,
            &rotations,
            &translations,
            tolerance,
            context,
        )
    })?;
    let atoms = found.atoms.into_iter().map(i64::from).collect();
    Ok((
        table_out(py, atoms, positions.len())?,
        found.distances.into_pyarray(py),
    ))
}

/// The shortest distance between atoms and their periodic images, and the two atoms.
#[pyfunction]
pub fn shortest_distance(
    py: Python<'_>,
    cell: PyReadonlyArray2<'_, f64>,
    positions: PyReadonlyArray2<'_, f64>,
) -> PyResult<(f64, usize, usize)> {
    let (cell, positions) = (metric(&cell)?, reals(&positions)?);
    run(py, u64::MAX, None, |context| {
        sites::shortest_distance(&cell, &positions, context)
    })
}

/// The pair of atoms closer together than the sum of their radii (or than `shortest`) that overlaps most.
#[pyfunction]
pub fn overlap(
    py: Python<'_>,
    cell: PyReadonlyArray2<'_, f64>,
    positions: PyReadonlyArray2<'_, f64>,
    radii: PyReadonlyArray1<'_, f64>,
    shortest: f64,
) -> PyResult<Option<(f64, usize, usize)>> {
    let (cell, positions, radii) = (metric(&cell)?, reals(&positions)?, radii.as_array().to_vec());
    run(py, u64::MAX, None, |context| {
        sites::overlap(&cell, &positions, &radii, shortest, context)
    })
}
