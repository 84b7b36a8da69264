//! `/metrics`: everything that is counted and told, in the text formats that Prometheus reads.
//! Every name is explained in `docs/metrics.md`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::families;
use super::page::{Page, count, flag};
use super::process::Memory;
use super::{NONE, Stage};
use crate::http::{Probe, ages, judge};
use crate::node::steady_ns;
use crate::published::Snapshot;
use crate::server::Shared;

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Prometheus,
}

impl Format {
    /// What the answer says it is.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Renders the page.
#[derive(Debug)]
pub(crate) struct Exposition(Registry);

impl Exposition {
    /// Of what is shared here.
    pub(crate) fn new(shared: Arc<Shared>, silent_after: Duration) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Source {
            shared,
            silent_after,
        }));
        Self(registry)
    }

    /// The page as of now.
    pub(crate) fn render(&self, format: Format) -> String {
        let mut page = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut page, &self.0),
            Format::Prometheus => prometheus_text::encode(&mut page, &self.0),
        }
        .expect("a string takes everything");
        page
    }
}

#[derive(Debug)]
struct Source {
    shared: Arc<Shared>,
    silent_after: Duration,
}

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let told = self.shared.published.read();
        let mut page = Page::new(encoder);
        self.times(&mut page)?;
        self.counts(&mut page)?;
        self.probes(&mut page, &told)?;
        families::health(&mut page, &told.health)?;
        families::positions(&mut page, &told.figures)?;
        families::volumes(&mut page, &told.figures)?;
        families::sizes(&mut page, &told.figures)?;
        families::peers(&mut page, &told.peers)?;
        families::unprotected(&mut page, &told)?;
        self.process(&mut page)
    }
}

impl Source {
    fn times(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = &self.shared.metrics;
        page.histogram(
            "kanjo_commit_seconds",
            "Requests that write, from their arrival until they are answered as done",
            &metrics.commit,
        )?;
        page.histogram(
            "kanjo_read_seconds",
            "Lookups and queries, from their arrival until they are answered as done",
            &metrics.read,
        )?;
        let stages = Stage::ALL.map(|(stage, name)| (name, metrics.stage(stage)));
        page.histograms(
            "kanjo_commit_stage_seconds",
            "Parts of the way of a commit",
            "stage",
            stages,
        )?;
        let taken = metrics.acks.iter().filter_map(|slot| {
            let node = slot.node.load(Ordering::Relaxed);
            (node != NONE).then_some((node, &slot.ack))
        });
        page.histograms(
            "kanjo_peer_ack_seconds",
            "From sending a batch to a peer until its ack, the peer's own sync included",
            "peer",
            taken,
        )
    }

    fn counts(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = &self.shared.metrics;
        let mut family = page.family(
            "kanjo_requests",
            "Requests of clients that were answered",
            MetricType::Counter,
        )?;
        for (kind, outcome, n) in metrics.requests.each() {
            count(&mut family, &[("kind", &*kind), ("outcome", outcome)], n)?;
        }
        let mut family = page.family(
            "kanjo_events",
            "Events of requests that were executed, as primary",
            MetricType::Counter,
        )?;
        for (kind, result, n) in metrics.events.each() {
            count(&mut family, &[("kind", kind), ("result", result)], n)?;
        }
        for (name, help, told) in [
            (
                "kanjo_group_elections",
                "Leaders that the register of the own site got",
                &metrics.elections,
            ),
            (
                "kanjo_group_nominations",
                "Nominees that the own site got",
                &metrics.nominations,
            ),
        ] {
            let n = told.load(Ordering::Relaxed);
            if n != NONE {
                page.counter(name, help, n)?;
            }
        }
        Ok(())
    }

    fn probes(&self, page: &mut Page<'_>, told: &Snapshot) -> fmt::Result {
        let now = ages(&self.shared, told, self.silent_after);
        let verdicts = Probe::ALL.map(|(probe, path)| {
            let holds = judge(probe, told, &now).yes;
            (path.trim_start_matches('/'), flag(holds))
        });
        page.gauges(
            "kanjo_probe",
            "1 where the probe of that name is answered with 200",
            "probe",
            verdicts,
        )?;
        page.gauge(
            "kanjo_hot_thread_turn_age_seconds",
            "Since the hot thread last turned",
            now.turn.as_secs_f64(),
        )
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let memory = Memory::read();
        page.gauges(
            "kanjo_process_memory_bytes",
            "Memory of the process: resident with the mapped log, anonymous without",
            "kind",
            [
                ("resident", memory.resident_bytes),
                ("anonymous", memory.anonymous_bytes),
            ],
        )?;
        page.gauge(
            "kanjo_uptime_seconds",
            "Since the process started",
            Duration::from_nanos(steady_ns()).as_secs_f64(),
        )?;
        let Some(info) = self.shared.published.info.get() else {
            return Ok(());
        };
        let (node, site) = (info.node.to_string(), info.site.to_string());
        let labels: &[(&str, &str)] = &[
            ("cluster", &info.cluster),
            ("node", &node),
            ("site", &site),
            ("incarnation", &info.incarnation),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        let mut family = page.family("kanjo_node", "Who this is", MetricType::Info)?;
        family.encode_info(&labels)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kanjo_engine::WideAmount;
    use kanjo_format::client::{FrameKind, Outcome};
    use kanjo_format::{ClusterId, LedgerId, Lsn, NodeId};

    use super::*;
    use crate::published::{Info, PeerFigures, ShippedFigures};

    /// A node that has something in every family.
    fn full() -> Exposition {
        let shared = Arc::new(Shared::default());
        let metrics = &shared.metrics;
        metrics.note_group(3, 1);
        let acks = metrics.acks_of(NodeId::new(7)).expect("a free place");
        acks.record(Duration::from_micros(300));
        metrics.answered(
            FrameKind::CreateTransfers,
            Outcome::Done,
            std::time::Instant::now(),
        );
        metrics.executed(FrameKind::CreateTransfers, u32::MAX, 12);
        let info = Info {
            cluster: ClusterId::default().to_string(),
            node: NodeId::new(1),
            site: kanjo_format::Site::One,
            incarnation: "a\"b\\c".to_owned(),
        };
        shared.published.info.set(info).expect("the first time");
        shared.published.update(|told| {
            told.peers.push(PeerFigures {
                node: NodeId::new(7),
                connected: true,
                shipped: Some(ShippedFigures {
                    acked: Lsn::new(8192),
                    lag_bytes: 4096,
                    lag: Duration::from_millis(1_500),
                    round_trip_us: Some(250),
                }),
            });
            let ledger = LedgerId::new(203);
            told.unprotected
                .push((ledger, WideAmount::from_parts(0, 12_345)));
        });
        Exposition::new(shared, Duration::from_secs(1))
    }

    #[test]
    fn every_family_is_explained_in_the_documents_and_every_name_there_is_a_family() {
        let page = full().render(Format::Prometheus);
        let typed = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let shown: BTreeSet<String> = typed
            .map(|rest| {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                format!("{name} {kind}")
            })
            .collect();
        let text = include_str!("../../../docs/metrics.md");
        let rows = text.lines().filter(|line| line.starts_with("| `kanjo_"));
        let explained: BTreeSet<String> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                format!("{} {}", cells[1].trim_matches('`'), cells[2])
            })
            .collect();
        assert_eq!(shown, explained);
    }

    #[test]
    fn what_was_recorded_is_on_the_page() {
        let page = full().render(Format::OpenMetrics);
        for line in [
            "kanjo_requests_total{kind=\"create_transfers\",outcome=\"done\"} 1",
            "kanjo_events_total{kind=\"create_transfer\",result=\"created\"} 12",
            "kanjo_commit_seconds_count 1",
            "kanjo_commit_seconds_bucket{le=\"+Inf\"} 1",
            "kanjo_peer_ack_seconds_bucket{le=\"0.0003\",peer=\"7\"} 1",
            "kanjo_peer_ack_seconds_bucket{le=\"0.0002\",peer=\"7\"} 0",
            "kanjo_peer_lag_bytes{peer=\"7\"} 4096",
            "kanjo_peer_lag_seconds{peer=\"7\"} 1.5",
            "kanjo_unprotected_amount{ledger=\"203\"} 12345.0",
            "kanjo_group_elections_total 3",
            "# UNIT kanjo_commit_seconds seconds",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(page.contains(r#"incarnation="a\"b\\c""#), "{page}");
    }
}
