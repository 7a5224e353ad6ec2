//! Irreducible q-points where every operation keeps lines along the third axis (hexagonal, tetragonal, orthorhombic,
//! monoclinic and other cells with an axis of their own): whole lines are copied, turned or reversed.

use crate::context::{Context, Ticker};
use crate::error::Result;
use crate::int3::{Mat3, Vec3};

/// An operation on one line: the line it leads to, and `k -> k + shift` or `k -> shift - k` along it.
#[derive(Clone, Copy)]
struct Move {
    line: usize,
    reverses: bool,
    shift: usize,
}

impl Move {
    fn image(self, k: usize, length: usize) -> usize {
        let image = if self.reverses {
            self.shift + length - k
        } else {
            self.shift + k
        };
        if image >= length { image - length } else { image }
    }
}

/// Whether [`sweep`] can be used.
pub fn are_kept(operations: &[Mat3], n: Vec3) -> bool {
    operations.iter().all(|m| {
        let turn = m[2][2].rem_euclid(n[2]);
        m[0][2] % n[0] == 0 && m[1][2] % n[1] == 0 && (turn == 1 % n[2] || turn == n[2] - 1)
    })
}

fn moves(operations: &[Mat3], n: Vec3, k0: i64, k1: i64, found: &mut Vec<Move>) {
    found.clear();
    found.extend(operations.iter().map(|m| {
        // Wrapped factors below 2^20 each.
        let image = |i: usize| (m[i][0].rem_euclid(n[i]) * k0 + m[i][1].rem_euclid(n[i]) * k1) % n[i];
        let reverses = m[2][2].rem_euclid(n[2]) != 1 % n[2];
        Move {
            line: (image(0) * n[1] + image(1)) as usize,
            reverses,
            shift: image(2) as usize,
        }
    }));
}

/// Points and weights, and the star of every point where a mapping is given.
pub fn sweep(
    n: Vec3,
    operations: &[Mat3],
    mut mapping: Option<&mut [u32]>,
    context: &Context,
) -> Result<(Vec<Vec3>, Vec<i64>)> {
    const FREE: u32 = u32::MAX;
    let length = n[2] as usize;
    let (mut points, mut weights) = (Vec::new(), Vec::new());
    let mut done = vec![false; (n[0] * n[1]) as usize];
    let (mut all, mut keeping) = (Vec::new(), Vec::new());
    let mut stars = vec![FREE; length];
    let mut ticker = Ticker::new();
    for k0 in 0..n[0] {
        for k1 in 0..n[1] {
            let own = (k0 * n[1] + k1) as usize;
            ticker.tick(context, (own * length) as u64, (done.len() * length) as u64)?;
            if done[own] {
                continue;
            }
            moves(operations, n, k0, k1, &mut all);
            // Stars on the line itself, under the operations that keep it.
            keeping.clear();
            keeping.extend(all.iter().copied().filter(|step| step.line == own));
            stars.fill(FREE);
            for k in 0..length {
                if stars[k] != FREE {
                    continue;
                }
                let mut fixing = 0;
                for step in &keeping {
                    let image = step.image(k, length);
                    stars[image] = points.len() as u32;
                    fixing += usize::from(image == k);
                }
                points.push([k0, k1, k as i64]);
                // The size of an orbit is the order of the group over that of the stabiliser.
                weights.push((operations.len() / fixing) as i64);
            }
            for step in &all {
                if done[step.line] {
                    continue;
                }
                done[step.line] = true;
                if let Some(mapping) = &mut mapping {
                    copy(&stars, &mut mapping[step.line * length..][..length], *step);
                }
            }
        }
    }
    Ok((points, weights))
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
