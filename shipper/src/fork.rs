//! Where two logs part.
//!
//! One epoch has one writer, and a base that all its followers share. So two logs are the same
//! up to the end of the last epoch that both have with the same base: there, the one that left
//! that epoch (or ended) first marks the fork.
//!
//! ```text
//! mine    1.1 -------- 1.2 ------- 1.3 ---
//! theirs  1.1 -------- 1.2 --- 2.1 --------
//!                             ^ fork: theirs left epoch 1.2 here, and knows the chain
//! ```

use kanjo_format::replication::EpochEntry;
use kanjo_format::{ClusterId, Epoch, Lsn, Tail};

use crate::LocalLog;

/// The end of what two logs have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The common end: its position, the last common epoch, and the chain there as known by
    /// the side that is `known_by`.
    pub end: Tail,
    /// Whose history says so; the other log must be checked to have this chain there.
    pub known_by: Side,
}

/// One of the two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller's.
    Mine,
    /// The other's.
    Theirs,
    /// Both end the common epoch at the same place, with the same chain.
    Both,
}

/// Why two histories cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// One epoch began at two places: two writers used it.
    #[error("epoch {epoch} begins at {mine} here and at {theirs} there: two writers used it")]
    TwoBases {
        /// The epoch.
        epoch: Epoch,
        /// Where it begins here.
        mine: Tail,
        /// Where it begins there.
        theirs: Tail,
    },
    /// Both logs are at the same place of the same epoch, with different content.
    #[error("the logs differ at lsn {lsn} within epoch {epoch}: one of them is damaged")]
    Damaged {
        /// Where.
        lsn: Lsn,
        /// In which epoch.
        epoch: Epoch,
    },
    /// No common epoch, and not all epochs were sent.
    #[error("no common epoch among those that were sent; a comparison needs older ones")]
    Unknown,
}

/// How a log comes to hold the whole of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It does already, if it has the same chain where the other one ends.
    Holds,
    /// It ends within the other one: the rest is fetched.
    Behind,
    /// They part here: what lies above is cut first.
    Parts(Tail),
}

impl LocalLog {
    /// How this log comes to hold all of that other one.
    pub(crate) fn way_to(
        &self,
        cluster: ClusterId,
        theirs: (&[EpochEntry], Tail),
    ) -> Result<Way, ForkError> {
        let fork = find_fork(cluster, (&self.history, self.tail), theirs)?.end;
        Ok(if fork.lsn == theirs.1.lsn {
            Way::Holds
        } else if fork.lsn == self.tail.lsn {
            Way::Behind
        } else {
            Way::Parts(fork)
        })
    }
}

/// Finds the common end of two logs from their epoch histories, oldest first.
pub fn find_fork(
    cluster: ClusterId,
    mine: (&[EpochEntry], Tail),
    theirs: (&[EpochEntry], Tail),
) -> Result<Fork, ForkError> {
    let mut common = None;
    for (i, entry) in mine.0.iter().enumerate().rev() {
        let Ok(j) = theirs.0.binary_search_by_key(&entry.epoch, |e| e.epoch) else {
            continue;
        };
        let other = &theirs.0[j];
        if other.base != entry.base {
            return Err(ForkError::TwoBases {
                epoch: entry.epoch,
                mine: entry.base,
                theirs: other.base,
            });
        }
        common = Some((entry.epoch, i, j));
        break;
    }
    if mine.1 == Tail::empty(cluster) || theirs.1 == Tail::empty(cluster) {
        return Ok(Fork {
            end: Tail::empty(cluster),
            known_by: Side::Both,
        });
    }
    let Some((epoch, i, j)) = common else {
        return unrelated(cluster, mine.0, theirs.0);
    };
    let mine_end = end_of(mine.0, i, mine.1);
    let theirs_end = end_of(theirs.0, j, theirs.1);
    let (end, known_by) = if mine_end.lsn < theirs_end.lsn {
        (mine_end, Side::Mine)
    } else if mine_end.lsn > theirs_end.lsn {
        (theirs_end, Side::Theirs)
    } else if mine_end.chain == theirs_end.chain {
        (mine_end, Side::Both)
    } else {
        let lsn = mine_end.lsn;
        return Err(ForkError::Damaged { lsn, epoch });
    };
    Ok(Fork { end, known_by })
}

/// Without a common epoch the logs part at the very start, if both histories reach it.
fn unrelated(
    cluster: ClusterId,
    mine: &[EpochEntry],
    theirs: &[EpochEntry],
) -> Result<Fork, ForkError> {
    let complete = |history: &[EpochEntry]| {
        history
            .first()
            .is_none_or(|first| first.base == Tail::empty(cluster))
    };
    if !complete(mine) || !complete(theirs) {
        return Err(ForkError::Unknown);
    }
    Ok(Fork {
        end: Tail::empty(cluster),
        known_by: Side::Both,
    })
}

/// Where a log leaves the epoch at `index`: the next one's base, or the log's tail.
fn end_of(history: &[EpochEntry], index: usize, tail: Tail) -> Tail {
    history.get(index + 1).map_or(tail, |next| next.base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kanjo_format::Chain;

    const CLUSTER: ClusterId = ClusterId::new(7);

    fn tail(epoch: u64, page: u64, content: u8) -> Tail {
        Tail {
            epoch: Epoch::new(epoch),
            lsn: Lsn::new(page * 4096),
            chain: Chain::new([content; 32]),
        }
    }

    fn entry(epoch: u64, base: Tail) -> EpochEntry {
        EpochEntry {
            epoch: Epoch::new(epoch),
            base,
        }
    }

    #[test]
    fn logs_part_where_the_first_of_them_left_the_last_common_epoch() {
        let start = entry(1, Tail::empty(CLUSTER));
        let mine = [start, entry(2, tail(1, 10, 1)), entry(3, tail(2, 20, 2))];
        let theirs = [start, entry(2, tail(1, 10, 1)), entry(5, tail(2, 15, 9))];
        let fork = find_fork(CLUSTER, (&mine, tail(3, 30, 3)), (&theirs, tail(5, 40, 4))).unwrap();
        assert_eq!(fork.end, tail(2, 15, 9));
        assert_eq!(fork.known_by, Side::Theirs);
    }

    #[test]
    fn a_log_that_is_behind_parts_at_its_own_tail() {
        let start = entry(1, Tail::empty(CLUSTER));
        let theirs = [start, entry(2, tail(1, 10, 1))];
        let mine = (&[start][..], tail(1, 5, 3));
        let fork = find_fork(CLUSTER, mine, (&theirs, tail(2, 30, 4))).unwrap();
        assert_eq!((fork.end, fork.known_by), (tail(1, 5, 3), Side::Mine));
        let empty = (&[][..], Tail::empty(CLUSTER));
        let fork = find_fork(CLUSTER, empty, (&theirs, tail(2, 30, 4))).unwrap();
        assert_eq!(fork.end, Tail::empty(CLUSTER));
    }

    #[test]
    fn one_epoch_with_two_writers_is_never_merged() {
        let mine = [entry(1, Tail::empty(CLUSTER)), entry(2, tail(1, 10, 1))];
        let theirs = [entry(1, Tail::empty(CLUSTER)), entry(2, tail(1, 10, 2))];
        let verdict = find_fork(CLUSTER, (&mine, tail(2, 30, 3)), (&theirs, tail(2, 30, 3)));
        assert!(matches!(verdict, Err(ForkError::TwoBases { .. })));
        let verdict = find_fork(CLUSTER, (&mine, tail(2, 30, 3)), (&mine, tail(2, 30, 4)));
        assert!(matches!(verdict, Err(ForkError::Damaged { .. })));
    }

    #[test]
    fn cut_off_histories_without_a_common_epoch_cannot_be_compared() {
        let mine = [entry(3, tail(2, 10, 1))];
        let theirs = [entry(5, tail(4, 10, 1))];
        let verdict = find_fork(CLUSTER, (&mine, tail(3, 30, 3)), (&theirs, tail(5, 30, 3)));
        assert_eq!(verdict, Err(ForkError::Unknown));
    }
}
