//! The function of the fuzz target (`rust/fuzz`) on bytes that are the same in each run, and on its corpus.

use std::path::Path;

#[path = "fuzz/entry.rs"]
mod entry;

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[test]
fn pseudo_random_bytes_never_panic() {
    let mut random = SplitMix(1);
    for _ in 0..1000 {
        let length = random.next() % 160;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        entry::call(&bytes);
    }
}

#[test]
fn short_and_constant_bytes_never_panic() {
    entry::call(&[]);
    for byte in (0..=255).step_by(5) {
        for kind in 0..4 {
            entry::call(&[255, 11, kind, byte, byte, byte, byte, byte]);
            entry::call(&[[255, 11, kind].as_slice(), &[byte; 120]].concat());
        }
    }
}

#[test]
fn corpus_never_panics() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/entry_points");
    let mut number = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        entry::call(&std::fs::read(file.unwrap().path()).unwrap());
        number += 1;
    }
    assert!(number > 0);
}
