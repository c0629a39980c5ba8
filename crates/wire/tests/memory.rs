//! What a hostile message makes its reader allocate is bounded by a multiple of its length. One test in a process of its
//! own, because peak memory is measured for the whole process.

#[path = "wire/sample.rs"]
mod sample;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "wire/table.rs"]
mod table;

use sample::Kind;
use table::all;

/// Bytes of the largest message tried.
const INPUT: usize = 1 << 20;

/// The most that one input byte may cost: a list element of the least length in memory (an empty `RowLeaf` is 8 bytes on the
/// wire and 48 in memory), doubled by a growing vector, and the old half while it grows.
const COST_MAX: usize = 20;

/// Peak address space of this process, in bytes; `None` where the system does not tell.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmPeak:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<usize>()
        .ok()
        .map(|kb| kb << 10)
}

#[test]
fn hostile_counts_cost_no_more_memory_than_a_multiple_of_the_input() {
    let mut measured = false;
    for message in all() {
        let encoded = message.golden();
        for (kind, range) in &encoded.places {
            let Kind::Count(least) = kind else { continue };
            // Everything up to the list is in order; the list claims the most elements that pass the check of its count,
            // and all of them are zero bytes, which many elements accept.
            let mut bytes = encoded.bytes[..range.end].to_vec();
            bytes.resize(INPUT, 0);
            let count = u32::try_from((INPUT - range.end) / least).unwrap();
            bytes[range.clone()].copy_from_slice(&count.to_le_bytes());
            let before = peak();
            measured |= before.is_some();
            let outcome = message.round_trip(&bytes).map(|again| again.len());
            if let (Some(before), Some(after)) = (before, peak()) {
                assert!(
                    after - before <= COST_MAX * INPUT,
                    "{} at {}: {} bytes for {INPUT}, {outcome:?}",
                    message.name,
                    range.start,
                    after - before
                );
            }
        }
    }
    assert!(measured || !cfg!(target_os = "linux"));
}
