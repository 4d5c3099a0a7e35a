//! What a manifest may ask for at most, and at least. One place, each bound with its reason.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::{ByteSize, QueueBounds, Scale};

/// The longest manifest. A manifest is written by people; this holds thousands of services.
pub(super) const TEXT: ByteSize = ByteSize::mib(1);
/// Tasks, and services, in one manifest: what one apply may make the store write at once.
pub(super) const ENTRIES: usize = 10_000;
/// Routes of one service: each is an entry in every node's route table.
pub(super) const ROUTES: usize = 1_000;
/// Methods of one route; those that are registered are some forty.
pub(super) const METHODS: usize = 64;
/// Networks of one list of a route: all of them are looked at for each request.
pub(super) const NETWORKS: usize = 256;
/// Rate limits of one route: each is asked for each request, and has a table of clients.
pub(super) const RATES: usize = 4;
/// More than a node answers in a second.
pub(super) const RATE_REQUESTS: RangeInclusive<u32> = 1..=1_000_000;
/// Header fields say it in whole seconds; over a day it is a quota, not a rate.
pub(super) const RATE_PER: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);
/// The value of a header field or cookie that a request is known by.
pub(super) const MARK_VALUE: usize = 256;
/// Under a minute a cookie keeps nobody; browsers keep none for longer than 400 days.
pub(super) const AFFINITY_TTL: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(400 * 24 * 3_600);
/// Origins of a role: all of them are looked at for each request of a guest.
pub(super) const OUTBOUND: usize = 256;
/// Names of a role: more than services of one node is `*`.
pub(super) const CALLEES: usize = 1_000;
/// Each is a descriptor of the node, and the node has other uses for those.
pub(super) const OUTBOUND_CONNECTIONS: RangeInclusive<u32> = 1..=4_096;
/// As many as one task may serve at once.
pub(super) const OUTBOUND_REQUESTS: RangeInclusive<u32> = CONCURRENCY;
/// Names and values of a task's environment together: every instance holds a copy.
pub(super) const ENV: usize = 64 << 10;
/// The longest path to a component, as `PATH_MAX`.
pub(super) const PATH: usize = 4_096;

/// From a thousandth of a core to 64 cores.
pub(super) const CPU: RangeInclusive<u32> = 1..=65_536;
/// One Wasm page is the least that a linear memory can have; a TiB is above any node.
pub(super) const MEMORY: RangeInclusive<ByteSize> = ByteSize::kib(64)..=ByteSize::gib(1_024);
/// One page to all that a 32-bit linear memory can address.
pub(super) const INSTANCE_MEMORY: RangeInclusive<ByteSize> = ByteSize::kib(64)..=ByteSize::gib(4);
/// At the top some hundred hours of CPU: no limit in practice, and far from overflow.
pub(super) const FUEL: RangeInclusive<u64> = 1..=1_000_000_000_000_000;
/// Requests that take longer than an hour are jobs.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(3_600);
/// Every request in flight is an instance; a node's pool is of this order.
pub(super) const CONCURRENCY: RangeInclusive<u32> = 1..=10_000;
/// Bodies are streamed, so the bound is only against slips of the pen.
pub(super) const BODY: RangeInclusive<ByteSize> = ByteSize(0)..=ByteSize::gib(1_024);
/// Headers are held in memory on both sides of the proxy.
pub(super) const HEADERS: RangeInclusive<ByteSize> = ByteSize(1)..=ByteSize::mib(1);
/// Host resources that one instance may pin.
pub(super) const HANDLES: RangeInclusive<u32> = 1..=100_000;
/// Wasmtime's own ceiling for one call's copies.
pub(super) const HOSTCALL: RangeInclusive<ByteSize> = ByteSize(1)..=ByteSize::mib(128);

/// No task at all is a valid wish for `min` only.
pub(super) const SCALE_MIN: RangeInclusive<u32> = 0..=Scale::MOST_TASKS;
/// [`Scale::check`] has the reasons.
pub(super) const SCALE_MAX: RangeInclusive<u32> = 1..=Scale::MOST_TASKS;
/// Under a second tasks would stop between two requests; over a week they never stop.
pub(super) const IDLE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3_600);
/// Under a second there is no mean; over an hour, as in Knative, load is history.
pub(super) const WINDOW: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_600);
/// From a tenth above the load that tasks are meant for to ten times it, as in Knative.
pub(super) const BURST_THRESHOLD: RangeInclusive<u32> = 110..=1_000;
/// A day without a decision is no autoscaling.
pub(super) const COOLDOWN: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(24 * 3_600);
/// As many requests as a task can serve at once.
pub(super) const TARGET_IN_FLIGHT: RangeInclusive<u32> = CONCURRENCY;
/// Above what a task of any size serves.
pub(super) const TARGET_RPS: RangeInclusive<u32> = 1..=10_000_000;
/// Percent of what a task may use.
pub(super) const TARGET_PERCENT: RangeInclusive<u32> = 1..=100;
/// Marks of steps, of whatever is measured. Nothing is below 0.
pub(super) const MARK: RangeInclusive<u32> = 1..=10_000_000;
/// Tasks that one step adds or takes.
pub(super) const STEP: RangeInclusive<u32> = 1..=Scale::MOST_TASKS;
/// Percent of the tasks that one step adds; at the top ten times as many as before.
pub(super) const STEP_PERCENT: RangeInclusive<u32> = 1..=1_000;
/// A bake of over a week is a release that nobody finished.
pub(super) const BAKE: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(7 * 24 * 3_600);
/// Each is a record, and its code on the node's disk.
pub(super) const KEEP: RangeInclusive<u32> = 0..=1_000;
/// Percent of the tasks that there were.
pub(super) const HEALTHY_MIN: RangeInclusive<u32> = 0..=100;
/// Percent of the tasks that there were; at the top three times as many as before.
pub(super) const HEALTHY_MAX: RangeInclusive<u32> = 100..=300;
/// Percent of the old revision's p99; 0 for any.
pub(super) const LATENCY: RangeInclusive<u32> = 0..=100_000;
/// Fewer than one request say nothing.
pub(super) const ALARM_REQUESTS: RangeInclusive<u64> = 1..=1_000_000;
/// Revisions are counted from 1.
pub(super) const REVISION: RangeInclusive<u64> = 1..=9_999_999_999;
/// Targets of one service: each may have a tag, and every tag has its routes.
pub(super) const TRAFFIC: usize = 50;

/// At zero requests are stopped at once; no request takes longer than an hour.
pub(super) const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

/// More than ten probes a second cost more than they tell; as rarely as ECS allows.
pub(super) const PROBE_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(300);
/// As long as ECS allows.
pub(super) const PROBE_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);
/// Probes in a row: none decide nothing.
pub(super) const PROBE_COUNT: RangeInclusive<u32> = 1..=100;
/// A guest that starts for an hour does not belong on the request path.
pub(super) const PROBE_DELAY: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(3_600);

/// Each is a pool of connections on every node.
pub(super) const TARGETS: usize = 256;
/// A server that needs longer than a minute to be connected to is not there.
pub(super) const CONNECT_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);
/// A WebSocket may be silent for a day.
pub(super) const IDLE_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 3_600);
/// Each is a connection of HTTP/1.1.
pub(super) const MAX_IN_FLIGHT: RangeInclusive<u32> = 1..=65_536;
/// More attempts than this help nobody who waits.
pub(super) const RETRIES: RangeInclusive<u32> = 0..=10;
/// 0 ejects nobody.
pub(super) const EJECT_FAILURES: RangeInclusive<u32> = 0..=1_000;
/// At the top as long as the longest ejection.
pub(super) const EJECT_TIME: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(300);
/// Bytes of the certificates of authorities.
pub(super) const CA: usize = 64 << 10;

/// 0 refuses whatever finds no free task.
pub(super) const QUEUE_DEPTH: RangeInclusive<u32> = 1..=QueueBounds::MOST_WAITING;
/// No client waits for longer than an hour.
pub(super) const QUEUE_WAIT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(3_600);
