//! What a run will do: decided before anything is started, from what was asked for and from what
//! the machine allows.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::runtime::{Machine, ResetPolicy, Sizing};

use super::super::told::Told;

/// Services with a component of their own: enough for a p99 of cold starts in some passes, few
/// enough to be compiled in seconds.
const MOST_DISTINCT: u32 = 200;
/// Services of the node that flat figures are compared with.
const FEW: u32 = 10;
/// Services in one manifest: some 150 KiB, where a node takes 1 MiB.
const BATCH: u32 = 1_000;
/// Files that this program and the node need besides one for each connection.
const OTHER_FILES: u64 = 1_000;
/// How long services with a component of their own stay awake: long enough to be asked again at
/// once, short enough to wait for.
const SHORT_IDLE: &str = "2s";
/// How long the others stay awake: longer than it takes a random choice to come back to them.
const LONG_IDLE: &str = "10m";

/// What is deployed.
#[derive(Clone, Debug)]
pub(super) struct Component {
    /// `built-in`, or the file.
    pub(super) name: String,
    pub(super) wasm: Bytes,
    /// Whether it is the one that is built in, which can hold a request.
    pub(super) is_own: bool,
}

/// How the run goes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) services: u32,
    pub(super) live: u32,
    /// Requests a second; `None` for what follows from the capacity.
    pub(super) rate: Option<f64>,
    pub(super) duration: Duration,
    pub(super) component: Component,
}

impl Plan {
    /// Whether the machine has room for it.
    pub(super) fn check(&self, machine: &Machine) -> Result<(), Told> {
        let sizing = Sizing::decide(machine, ResetPolicy::Auto).map_err(|error| {
            Told::new(error.to_string()).hint("`wharf doctor` says more about this machine")
        })?;
        if self.live > self.services - self.distinct() {
            let most = self.services - self.distinct();
            let text = format!("--live {} is more than {most} services can hold", self.live);
            return Err(Told::usage(text).hint(format!(
                "each replica is of a service of its own: ask for at most --live {most}, or for \
                 at least --services {}",
                self.live * 2
            )));
        }
        if self.live > sizing.slots {
            let because = sizing.slots_because;
            let text = format!(
                "--live {} does not fit: a node here holds at most {} instances, bounded by \
                 {because}",
                self.live, sizing.slots
            );
            return Err(Told::usage(text).hint(match because {
                "vm.max_map_count" => format!(
                    "raise it (`sysctl -w vm.max_map_count=262144`), or ask for at most --live {}",
                    sizing.slots
                ),
                _ => format!("ask for at most --live {}", sizing.slots),
            }));
        }
        let files = (u64::from(self.live) + OTHER_FILES) * 2;
        if machine.max_open_files < files {
            let text = format!(
                "--live {} needs {files} open files, and this process may open {}",
                self.live, machine.max_open_files
            );
            return Err(Told::usage(text).hint(format!(
                "raise the limit (`ulimit -n {files}`), or ask for fewer live replicas"
            )));
        }
        Ok(())
    }

    /// Services with a component of their own, which come first; the rest share one.
    pub(super) fn distinct(&self) -> u32 {
        (self.services / 2).min(MOST_DISTINCT)
    }

    /// The same with few services, to compare with.
    pub(super) fn few(&self) -> Self {
        Self { services: FEW.min(self.services), ..self.clone() }
    }

    /// The component of the service with this number, if it has one of its own, else the shared
    /// one.
    pub(super) fn task_of(&self, service: u32) -> u32 {
        service.min(self.distinct())
    }

    /// A component with a digest of its own: a custom section, which means nothing, is appended
    /// (WebAssembly core 2.0, §5.5.3).
    pub(super) fn variant(&self, task: u32) -> Bytes {
        const NAME: &[u8] = b"bench";
        let number = task.to_le_bytes();
        let length = 1 + NAME.len() + number.len();
        let mut wasm = self.component.wasm.to_vec();
        // All lengths are below 128, so each is one byte of LEB128.
        wasm.extend([0, length as u8, NAME.len() as u8]);
        wasm.extend(NAME);
        wasm.extend(number);
        wasm.into()
    }

    /// The manifests that deploy these services, one after the other, each with how many services
    /// it has. `images` are those of the tasks.
    pub(super) fn manifests(
        &self,
        services: std::ops::Range<u32>,
        images: &[String],
    ) -> impl Iterator<Item = (u32, Value)> {
        let starts = services.clone().step_by(BATCH as usize);
        starts.map(move |start| {
            let batch = start..services.end.min(start + BATCH);
            let names = batch.clone().map(|number| (service_name(number), number));
            (batch.len() as u32, self.manifest(names, images))
        })
    }

    /// A manifest of services, each with the number whose component it runs.
    pub(super) fn manifest(
        &self,
        services: impl Iterator<Item = (String, u32)>,
        images: &[String],
    ) -> Value {
        let (mut tasks, mut all) = (serde_json::Map::new(), serde_json::Map::new());
        for (name, number) in services {
            let task = self.task_of(number);
            let task_name = format!("t{task}");
            let idle = if task < self.distinct() { SHORT_IDLE } else { LONG_IDLE };
            let service = json!({
                "task": task_name,
                "route": [host_name(&name)],
                "scale": { "min": 0, "idle": idle },
            });
            all.insert(name, service);
            tasks.entry(task_name).or_insert_with(|| self.task(&images[task as usize]));
        }
        json!({ "task": tasks, "service": all })
    }

    /// A task. The built-in component holds requests for long, and computes as a neighbour.
    fn task(&self, image: &str) -> Value {
        match self.component.is_own {
            true => json!({ "image": image, "timeout": "1h", "fuel": 1_000_000_000_000_u64 }),
            false => json!({ "image": image }),
        }
    }
}

/// The name of a service.
pub(super) fn service_name(number: u32) -> String {
    let mut name = "s".to_owned();
    let _ = write!(name, "{number}");
    name
}

/// The host that a service answers to.
pub(super) fn host_name(service: &str) -> String {
    format!("{service}.bench.localhost")
}

/// The hosts of services.
pub(super) fn hosts(services: std::ops::Range<u32>) -> anyhow::Result<Vec<HeaderValue>> {
    let hosts = services.map(|number| host_name(&service_name(number)).parse());
    Ok(hosts.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Format, parse};

    fn plan(services: u32, live: u32) -> Plan {
        let component =
            Component { name: "x".to_owned(), wasm: Bytes::from_static(b"\0asm"), is_own: true };
        Plan { services, live, rate: None, duration: Duration::from_secs(1), component }
    }

    fn machine() -> Machine {
        Machine {
            cores: 2,
            memory_bytes: 24 << 30,
            max_mappings: 65_530,
            max_open_files: 20_000,
            max_address_space: None,
            swap: None,
            tells_written_pages: true,
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_to_do() {
        plan(1_000, 100).check(&machine()).expect("it fits");
        let refused = |plan: Plan, machine: Machine| {
            format!("{:?}", plan.check(&machine).expect_err("it does not fit"))
        };
        let told = refused(plan(20_000, 9_000), machine());
        assert!(told.contains("at most 4000 instances"), "{told}");
        let told = refused(plan(9_000, 2_000), Machine { max_mappings: 20_000, ..machine() });
        assert!(told.contains("sysctl -w vm.max_map_count"), "{told}");
        let told = refused(plan(9_000, 2_000), Machine { max_open_files: 4_096, ..machine() });
        assert!(told.contains("ulimit -n 6000"), "{told}");
        let told = refused(plan(10, 6), machine());
        assert!(told.contains("at least --services 12"), "{told}");
    }

    #[test]
    fn manifests_are_valid_and_small_enough() {
        let plan = plan(2_500, 1);
        let images: Vec<String> = (0..=plan.distinct())
            .map(|task| format!("wharf.internal/bench/t{task}@sha256:{:064}", task))
            .collect();
        let manifests: Vec<_> = plan.manifests(0..2_500, &images).collect();
        let counts: Vec<u32> = manifests.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [1_000, 1_000, 500]);
        for (count, manifest) in manifests {
            let text = manifest.to_string();
            assert!(text.len() < 512 << 10, "{} bytes", text.len());
            let read = parse(&text, Format::Json).expect("a valid manifest");
            assert_eq!(read.services.len(), count as usize);
        }
        assert_ne!(plan.variant(1), plan.variant(2));
        assert_eq!((plan.task_of(7), plan.task_of(2_000)), (7, 200));
    }
}
