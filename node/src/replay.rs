//! Reads the log for whoever applies it: beside it, on a thread of its own, where there is much.
//!
//! ```text
//! kanjo-replay: read, decompress, checksums, chain ─▶ 8 chunks of 1 MiB ─▶ caller: apply
//! ```
//!
//! What is given is in order and checked in this process; an error comes behind all batches that
//! stand before it, as if one thread did both.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use kanjo_format::{Batch, BatchPlace, Lsn};
use kanjo_wal::{LogError, LogReader, Scan};

/// Less log than this is read by who applies it: a thread costs more than it saves.
const BESIDE_BYTES_MIN: u64 = 8 << 20;
/// Log bytes that are handed over at once.
const CHUNK_BYTES: u64 = 1 << 20;
/// Chunks that may wait to be applied.
const CHUNKS_MAX: usize = 8;

/// A checked batch and the place behind it.
type Step = (Batch<Bytes>, BatchPlace);

/// Gives `take` each batch from `from` to the last that ends at or below `through`, with the
/// place behind it. Ends at the first error, of the log or of `take`.
pub(crate) fn each_batch<E: From<LogError>>(
    reader: &LogReader,
    from: BatchPlace,
    through: Lsn,
    mut take: impl FnMut(&Batch<Bytes>, BatchPlace) -> Result<(), E>,
) -> Result<(), E> {
    let steps = || Steps {
        scan: reader.scan(from),
        through,
    };
    if through.get().saturating_sub(from.lsn.get()) < BESIDE_BYTES_MIN {
        return take_all(steps(), &mut take);
    }
    thread::scope(|scope| {
        let (give, chunks) = sync_channel(CHUNKS_MAX);
        let started = thread::Builder::new()
            .name("kanjo-replay".into())
            .spawn_scoped(scope, move || read_beside(steps(), &give));
        match started {
            Ok(_) => take_chunks(chunks, &mut take),
            Err(error) => {
                tracing::warn!(%error, "no thread to read the log ahead; the replay takes longer");
                take_all(steps(), &mut take)
            }
        }
    })
}

/// Batches up to a bound.
struct Steps {
    scan: Scan,
    through: Lsn,
}

impl Iterator for Steps {
    type Item = Result<Step, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.scan.place().lsn >= self.through {
            return None;
        }
        match self.scan.next()? {
            Ok(batch) => {
                let behind = self.scan.place();
                (behind.lsn <= self.through).then_some(Ok((batch, behind)))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

fn take_all<E: From<LogError>>(
    steps: impl Iterator<Item = Result<Step, LogError>>,
    take: &mut impl FnMut(&Batch<Bytes>, BatchPlace) -> Result<(), E>,
) -> Result<(), E> {
    for step in steps {
        let (batch, behind) = step?;
        take(&batch, behind)?;
    }
    Ok(())
}

fn take_chunks<E: From<LogError>>(
    chunks: Receiver<Result<Vec<Step>, LogError>>,
    take: &mut impl FnMut(&Batch<Bytes>, BatchPlace) -> Result<(), E>,
) -> Result<(), E> {
    // Whoever returns early drops the receiver, which ends the reading thread.
    for chunk in chunks {
        for (batch, behind) in chunk? {
            take(&batch, behind)?;
        }
    }
    Ok(())
}

/// Reads until the end, an error, or nobody takes any more.
fn read_beside(steps: Steps, give: &SyncSender<Result<Vec<Step>, LogError>>) {
    let mut chunk: Vec<Step> = Vec::new();
    let mut start = steps.scan.place().lsn;
    for step in steps {
        match step {
            Ok((batch, behind)) => {
                chunk.push((batch, behind));
                if behind.lsn.since(start) < CHUNK_BYTES {
                    continue;
                }
                start = behind.lsn;
                if give.send(Ok(std::mem::take(&mut chunk))).is_err() {
                    return;
                }
            }
            Err(error) => {
                // What stands before the error is applied first. Whoever stopped taking knows why.
                let _ = give.send(Ok(chunk));
                let _ = give.send(Err(error));
                return;
            }
        }
    }
    // Whoever stopped taking knows why.
    let _ = give.send(Ok(chunk));
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use kanjo_format::batch::{BatchFields, FLAG_SEGMENT_END};
    use kanjo_format::control::{Control, Role};
    use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES, SEGMENT_BYTES_MIN};

    use kanjo_format::{BatchHeader, ClusterId, Epoch, Incarnation, NodeId, Site, Timestamp};
    use kanjo_wal::{DataDir, DeviceKind, Log};
    use tempfile::TempDir;

    use super::*;

    const CLUSTER: ClusterId = ClusterId::new(7);
    const SEGMENTS: u64 = 8;
    const SEALED: u64 = 3;

    const _: () = assert!(
        SEGMENTS * SEGMENT_BYTES_MIN > BESIDE_BYTES_MIN + 2 * CHUNK_BYTES,
        "the log of these tests is read beside"
    );

    fn control() -> Control {
        Control::fresh(
            CLUSTER,
            (NodeId::new(1), Incarnation::new(1)),
            Site::One,
            Role::Primary,
            SEGMENT_BYTES_MIN,
        )
    }

    fn put(log: &mut Log, flags: u16, payload: &[u8]) {
        let place = log.place();
        let fields = BatchFields {
            cluster: CLUSTER,
            epoch: Epoch::from_terms(1, 1),
            lsn: place.lsn,
            flags,
            record_count: 0,
            timestamp: Timestamp::new(1),
            confirmed: Lsn::ZERO,
            prev_chain: place.chain,
        };
        log.append(&BatchHeader::build(&fields, payload), payload)
            .unwrap();
    }

    /// A log with sealed and raw segments, and the places before each batch and at its end.
    fn long_log() -> (TempDir, Log, Vec<BatchPlace>) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        DataDir::format(&path, &control()).unwrap();
        let dir = Arc::new(DataDir::open(&path).unwrap());
        let (mut log, _) = Log::open(dir, DeviceKind::Mapped).unwrap();
        let mut places = vec![log.place()];
        while log.tail().lsn.get() < SEGMENTS * SEGMENT_BYTES_MIN {
            let payload = vec![places.len() as u8 | 1; 30_000 + places.len() * 100];
            match log.fits(payload.len()) {
                true => put(&mut log, 0, &payload),
                false => put(&mut log, FLAG_SEGMENT_END, &[]),
            }
            places.push(log.place());
        }
        log.syncer().sync_to(log.tail().lsn).unwrap();
        for number in 0..SEALED {
            log.sealer().seal(number, 1).unwrap();
        }
        (temp, log, places)
    }

    /// The places behind each batch that is given, and the error at the end.
    fn given(log: &Log, from: BatchPlace, through: Lsn) -> (Vec<BatchPlace>, Result<(), LogError>) {
        let mut places = Vec::new();
        let outcome = each_batch(&log.reader(), from, through, |batch, behind| {
            let lsn = places.last().map_or(from.lsn, |p: &BatchPlace| p.lsn);
            assert_eq!(batch.header.lsn(), lsn, "batches come in order");
            places.push(behind);
            Ok(())
        });
        (places, outcome)
    }

    #[test]
    fn every_batch_up_to_the_bound_is_given_beside_as_inline() {
        let (_temp, log, places) = long_log();
        let tail = places.len() - 1;
        for first in [0, 1, tail / 2, tail - 1] {
            for last in [first, first + 1, tail / 2, tail - 1, tail] {
                let (from, to) = (places[first], places[last].lsn);
                let wanted = places.get(first + 1..=last).unwrap_or_default();
                for through in [to, to.advance(PAGE_BYTES)] {
                    let (found, outcome) = given(&log, from, through);
                    assert!(found == wanted, "from batch {first} to {last}");
                    outcome.unwrap();
                }
            }
        }
    }

    #[test]
    fn an_error_of_the_log_comes_behind_all_batches_before_it() {
        let (_temp, log, places) = long_log();
        let number = places.len() - 3;
        let segment = &log.reader().segments()[SEGMENTS as usize - 1];
        let lsn = places[number].lsn;
        assert!(segment.first_lsn < lsn);
        let file = OpenOptions::new().write(true).open(&segment.path).unwrap();
        let at = PAGE_BYTES + lsn.since(segment.first_lsn) + BATCH_HEADER_BYTES as u64;
        file.write_all_at(&[0], at).unwrap();
        let (found, outcome) = given(&log, places[0], log.tail().lsn);
        assert!(found == places[1..=number]);
        let error = outcome.unwrap_err();
        assert!(
            matches!(&error, LogError::Corruption { lsn: at, .. } if *at == lsn),
            "{error}"
        );
    }

    #[test]
    fn an_error_of_the_taker_ends_the_reading() {
        let (_temp, log, places) = long_log();
        for fails_at in [1, 2, places.len() / 2] {
            let mut taken = 0;
            let outcome = each_batch(&log.reader(), places[0], log.tail().lsn, |_, behind| {
                taken += 1;
                match taken == fails_at {
                    true => Err(LogError::NoBatch { lsn: behind.lsn }),
                    false => Ok(()),
                }
            });
            assert!(
                matches!(outcome, Err(LogError::NoBatch { lsn }) if lsn == places[fails_at].lsn)
            );
            assert_eq!(taken, fails_at);
        }
    }
}
