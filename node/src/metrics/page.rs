//! One page of metrics as it is written, family by family.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Histogram;

/// 1 for yes.
pub(super) const fn flag(holds: bool) -> u64 {
    if holds { 1 } else { 0 }
}

/// Writes one counter of a family.
pub(super) fn count(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    n: u64,
) -> fmt::Result {
    let mut one = family.encode_family(&labels)?;
    one.encode_counter::<NoLabelSet, _, u64>(&n, None)
}

fn encode_times(to: &mut MetricEncoder<'_>, times: &Histogram) -> fmt::Result {
    let reading = times.read();
    to.encode_histogram::<NoLabelSet>(reading.sum_seconds, reading.count, &reading.buckets, None)
}

/// The page as it is written, family by family.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) const fn new(encoder: DescriptorEncoder<'_>) -> Page<'_> {
        Page(encoder)
    }

    /// Begins a family. A name that ends in a unit says so to the format too.
    pub(super) fn family<'s>(
        &'s mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        let (name, unit) = [("_seconds", &Unit::Seconds), ("_bytes", &Unit::Bytes)]
            .into_iter()
            .find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, Some(unit))))
            .unwrap_or((name, None));
        self.0.encode_descriptor(name, help, unit, kind)
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str, n: u64) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&n, None)
    }

    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        help: &str,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    pub(super) fn gauges<L: ToString, V: EncodeGaugeValue>(
        &mut self,
        name: &'static str,
        help: &str,
        key: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (label, value) in values {
            let labels = [(key, label.to_string())];
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &str,
        times: &Histogram,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Histogram)?;
        encode_times(&mut family, times)
    }

    pub(super) fn histograms<'h, L: ToString>(
        &mut self,
        name: &'static str,
        help: &str,
        key: &str,
        times: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Histogram)?;
        for (label, times) in times {
            let labels = [(key, label.to_string())];
            encode_times(&mut family.encode_family(&labels)?, times)?;
        }
        Ok(())
    }
}
