//! What a promotion would take beside the recovery: told only as far as it was measured.

use std::time::Duration;

use crate::hot::Hot;
use crate::status::{DrillReport, MeasuredPart};

/// How long this node's disk took for what a promotion asks of it, the last time that it did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DiskTimes {
    /// A sync of the log.
    pub(crate) sync: Option<Duration>,
    /// One slot of the control file, written and synced.
    pub(crate) mark: Option<Duration>,
}

impl Hot {
    /// Adds what is so at the drill's end.
    pub(super) fn complete_drill(&self, report: &mut DrillReport) {
        let control = self.store.dir.control();
        report.node = control.node.get();
        report.site = control.site.number();
        let (tail, applied) = (self.store.log.tail().lsn, self.store.applied().lsn);
        report.tail_lsn = tail.get();
        // Less than nothing if the log was cut meanwhile.
        report.lag_bytes = tail.get().saturating_sub(report.lsn);
        report.unapplied_bytes = tail.get().saturating_sub(applied.get());
        estimate(report, self.disk_times);
    }
}

fn estimate(report: &mut DrillReport, times: DiskTimes) {
    let unapplied = u128::from(report.unapplied_bytes);
    let replay = (report.log_bytes > 0).then(|| {
        let us = u128::from(report.replay_us) * unapplied / u128::from(report.log_bytes);
        u64::try_from(us).unwrap_or(u64::MAX)
    });
    let rest = if unapplied == 0 { Some(0) } else { replay };
    let grant = times.mark.map(|time| micros(time).saturating_mul(2));
    let start = times.sync.map(micros);
    let opening = grant.zip(start).map(|(grant, start)| grant + start);
    report.running_promotion_us = opening.zip(rest).map(|(opening, rest)| opening + rest);
    report.stopped_promotion_us = opening
        .filter(|_| report.good)
        .map(|opening| opening + report.recovery_us);
    let parts = [
        (
            "replay of what a running node has not applied yet",
            rest,
            "this drill's replay of log",
        ),
        (
            "grant: both slots of the control file",
            grant,
            "twice the last write of one slot",
        ),
        ("EpochStart on disk", start, "the last sync of this log"),
    ];
    for (part, us, measured) in parts {
        match us {
            Some(us) => report.on_top.push(MeasuredPart {
                part: part.to_owned(),
                us,
                measured: measured.to_owned(),
            }),
            None => report.not_measured.push(part.to_owned()),
        }
    }
    let outside = [
        "noticing, and deciding",
        "in a group: the claim in the register, and the grants of the other members",
        "clients finding the new primary",
    ];
    report.not_measured.extend(outside.map(str::to_owned));
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_named_and_not_guessed() {
        let mut report = DrillReport {
            replay_us: 1_000,
            log_bytes: 100,
            unapplied_bytes: 10,
            ..DrillReport::default()
        };
        let times = DiskTimes {
            sync: None,
            mark: Some(Duration::from_micros(400)),
        };
        estimate(&mut report, times);
        let told: Vec<u64> = report.on_top.iter().map(|part| part.us).collect();
        assert_eq!(told, [100, 800]);
        assert_eq!(report.not_measured[0], "EpochStart on disk");
        assert_eq!(report.running_promotion_us, None);
        let mut nothing_replayed = DrillReport {
            unapplied_bytes: 10,
            ..DrillReport::default()
        };
        estimate(&mut nothing_replayed, DiskTimes::default());
        assert!(nothing_replayed.on_top.is_empty());
    }

    #[test]
    fn a_promotion_is_the_sum_of_its_measured_parts() {
        let mut report = DrillReport {
            good: true,
            recovery_us: 5_000,
            replay_us: 1_000,
            log_bytes: 100,
            unapplied_bytes: 10,
            ..DrillReport::default()
        };
        let times = DiskTimes {
            sync: Some(Duration::from_micros(70)),
            mark: Some(Duration::from_micros(400)),
        };
        estimate(&mut report, times);
        assert_eq!(report.running_promotion_us, Some(100 + 800 + 70));
        assert_eq!(report.stopped_promotion_us, Some(5_000 + 800 + 70));
    }
}
