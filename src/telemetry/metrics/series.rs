//! Families of series, as tables say them.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::super::stats::HistogramSnapshot;

/// A number of a series.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

/// What has a series in each family of a table.
pub(super) trait Labelled {
    /// The labels that tell it from the others.
    fn labels(&self) -> impl EncodeLabelSet;
}

/// A family without the prefix and the suffix of its name: what it says, its type, and its value,
/// or `None` where there is no such series.
pub(super) type Family<T> = (&'static str, &'static str, MetricType, fn(&T) -> Option<Value>);

/// Writes the series of all these, family by family.
pub(super) fn encode<T: Labelled, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    families: [Family<T>; N],
    all: &[T],
) -> fmt::Result {
    for (name, help, kind, value) in families {
        let is_counter = matches!(kind, MetricType::Counter);
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for one in all {
            if let Some(value) = value(one) {
                put(family.encode_family(&one.labels())?, is_counter, value)?;
            }
        }
    }
    Ok(())
}

/// Writes counters of one family, each with labels of its own.
pub(super) fn encode_counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    counters: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in counters {
        put(family.encode_family(&labels)?, true, Value::Whole(count))?;
    }
    Ok(())
}

/// Writes one histogram.
pub(super) fn encode_histogram(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    h: &HistogramSnapshot,
) -> fmt::Result {
    let mut one = family.encode_family(labels)?;
    one.encode_histogram::<NoLabelSet>(h.sum_s, h.count, &h.buckets, None)
}

fn put(encoder: MetricEncoder<'_>, is_counter: bool, value: Value) -> fmt::Result {
    match (is_counter, value) {
        (true, Value::Whole(count)) => ConstCounter::new(count).encode(encoder),
        (true, Value::Real(sum)) => ConstCounter::new(sum).encode(encoder),
        (false, Value::Whole(level)) => ConstGauge::new(level).encode(encoder),
        (false, Value::Real(level)) => ConstGauge::new(level).encode(encoder),
    }
}
