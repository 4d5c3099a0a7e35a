//! Services in virtual time, and what must never happen.

use proptest::prelude::*;

use super::*;
use crate::model::{Adjust, Targets, Threshold};

const SECOND_NS: u64 = 1_000_000_000;
const CONCURRENCY: u32 = 10;

/// A service whose load is given, and which starts a task at once when all are full.
struct Sim {
    scaler: Scaler,
    policies: ScalePolicies,
    facts: Facts,
    second: u64,
    tasks: Vec<u32>,
}

impl Sim {
    fn new(policies: ScalePolicies, tasks: u32) -> Self {
        let facts = Facts {
            tasks,
            min: 0,
            max: 100,
            concurrency: CONCURRENCY,
            cpu_units: 1_024,
            memory_bytes: 1 << 20,
            may_shrink: true,
        };
        let scaler = Scaler::new(&policies, tasks, 0);
        Self { scaler, policies, facts, second: 0, tasks: Vec::new() }
    }

    /// Seconds with so many requests at once.
    fn seconds(&mut self, count: u32, load: u32) {
        for _ in 0..count {
            self.second(load);
        }
    }

    /// One of them, and why it ends with as many tasks as it does.
    fn second(&mut self, load: u32) -> Reason {
        let began_ns = self.second * SECOND_NS;
        let full = load.div_ceil(CONCURRENCY).min(self.facts.max);
        if full > self.facts.tasks {
            self.facts.tasks = full;
            self.scaler.follow(&self.policies, full, Reason::Request, began_ns);
        }
        let window = self.scaler.window();
        window.set_load(began_ns, load);
        (0..load * 10).for_each(|_| window.add_request());
        let now_ns = began_ns + SECOND_NS;
        let memory = u64::from(load) << 17;
        window.set_usage(now_ns, u64::from(load) * SECOND_NS / 10, memory);
        self.second += 1;
        let decision = self.scaler.decide(&self.policies, &self.facts, now_ns).expect("seen");
        self.facts.tasks = decision.tasks;
        self.tasks.push(decision.tasks);
        decision.reason
    }

    fn run(mut self, seconds: u64, load: impl Fn(u64) -> u32) -> Vec<u32> {
        for second in 0..seconds {
            self.second(load(second));
        }
        self.tasks
    }
}

fn target(target: Targets) -> ScalePolicies {
    ScalePolicies { target, ..ScalePolicies::default() }
}

fn in_flight(tasks: u32) -> ScalePolicies {
    target(Targets { in_flight: Some(tasks), ..Targets::default() })
}

/// Tasks after a second of such a load, without a burst before it.
fn after(policies: &ScalePolicies, tasks: u32, load: u32) -> u32 {
    let mut sim = Sim::new(policies.clone(), tasks);
    sim.scaler.burst = None;
    sim.second(load);
    sim.facts.tasks
}

fn changes(tasks: &[u32]) -> usize {
    tasks.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn a_step_of_fifty_times_is_followed_within_the_second() {
    let tasks = Sim::new(in_flight(7), 1).run(120, |second| if second < 60 { 6 } else { 300 });
    assert_eq!(&tasks[..60], [1; 60]);
    // Requests start 30 at once; the target asks for 43 as the burst window fills.
    assert!(tasks[60] >= 30 && tasks[66] == 43, "{tasks:?}");
    assert_eq!(changes(&tasks[70..]), 0);
}

#[test]
fn tasks_that_requests_have_started_stay_while_the_load_is_about_right_for_them() {
    let mut policies = in_flight(9);
    (policies.window, policies.burst) = (Duration::from_secs(6), Duration::from_secs(1));
    // Requests start 29, which are meant for 261: 288 is more than a tenth above.
    assert_eq!(after(&policies, 1, 288), 32);
    // Requests start 30, which are meant for 270: 291 is not.
    assert_eq!(after(&policies, 1, 291), 30);
    // Of the same number of tasks more load never means fewer.
    assert_eq!([after(&policies, 30, 288), after(&policies, 30, 291)], [30, 30]);
}

#[test]
fn a_service_whose_load_ends_goes_down_after_the_window_and_never_by_more_than_half() {
    let tasks = Sim::new(in_flight(7), 1).run(300, |second| if second < 120 { 200 } else { 0 });
    assert!(tasks[70..120].iter().all(|tasks| *tasks == 29), "{tasks:?}");
    // Within the last minute there were two hundred at once.
    assert!(tasks[120..178].iter().all(|tasks| *tasks == 29), "{tasks:?}");
    let down = tasks[120..].windows(2);
    assert!(down.into_iter().all(|pair| pair[1] <= pair[0] && pair[1] >= pair[0] / 2));
    assert_eq!(tasks[190], 1);
}

/// What an oracle would have, who knows the load of the whole window around each second.
fn oracle(load: impl Fn(u64) -> u32, second: u64) -> u32 {
    let around = second.saturating_sub(60)..=second;
    around.map(load).max().unwrap_or(0).div_ceil(7).max(1)
}

#[test]
fn a_wave_is_followed_without_much_more_than_it_needs() {
    let wave = |second: u64| {
        let turn = second as f64 / 1_200.0 * std::f64::consts::TAU;
        (200.0 + 150.0 * turn.sin()) as u32
    };
    let tasks = Sim::new(in_flight(7), 29).run(3_600, wave);
    let had: f64 = tasks.iter().map(|tasks| f64::from(*tasks)).sum();
    let needed: f64 = (0..3_600).map(|second| f64::from(oracle(wave, second))).sum();
    assert!(had / needed < 1.2, "{}", had / needed);
    for (second, tasks) in tasks.iter().enumerate() {
        assert!(tasks * CONCURRENCY >= wave(second as u64), "second {second}");
    }
}

#[test]
fn load_that_comes_and_goes_has_no_more_than_a_window_of_surplus() {
    let pulses = |second: u64| if second % 300 < 60 { 140 } else { 3 };
    let tasks = Sim::new(in_flight(7), 1).run(3_000, pulses);
    let had: f64 = tasks.iter().map(|tasks| f64::from(*tasks)).sum();
    let needed: f64 = (0..3_000).map(|second| f64::from(oracle(pulses, second))).sum();
    assert!(had / needed < 1.2, "{}", had / needed);
    // Up at once, and down by halves, ten times.
    assert!(changes(&tasks) <= 10 * 8, "{}", changes(&tasks));
}

#[test]
fn a_deployment_adds_tasks_and_takes_none() {
    let mut sim = Sim::new(in_flight(7), 10);
    sim.facts.may_shrink = false;
    sim.seconds(200, 7);
    assert_eq!((sim.facts.tasks, sim.second(7)), (10, Reason::Deploying));
    assert!(sim.second(300) != Reason::Deploying && sim.facts.tasks >= 30);
}

#[test]
fn cooldowns_are_kept_in_both_directions() {
    let cool = |out: u64, back: u64| ScalePolicies {
        out_cooldown: Duration::from_secs(out),
        in_cooldown: Duration::from_secs(back),
        ..in_flight(3)
    };
    let tasks = Sim::new(cool(100, 0), 1).run(300, |second| 6 + second as u32 / 30);
    let at: Vec<usize> = (1..300).filter(|i| tasks[*i] != tasks[i - 1]).collect();
    assert!(at.len() > 1 && at.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{at:?}");
    let tasks = Sim::new(cool(0, 50), 16).run(600, |_| 3);
    let at: Vec<usize> = (1..600).filter(|i| tasks[*i] != tasks[i - 1]).collect();
    assert!(at.len() > 2 && at.windows(2).all(|pair| pair[1] - pair[0] >= 50), "{at:?}");
}

#[test]
fn a_step_is_taken_once_in_a_window() {
    let step = |mark, adjust| Step { metric: Metric::Rps, mark, adjust };
    let steps = vec![
        step(Threshold::Above(50), Adjust::Add(2)),
        step(Threshold::Below(10), Adjust::RemovePercent(50)),
    ];
    let policies = ScalePolicies { steps, ..ScalePolicies::default() };
    let mut sim = Sim::new(policies, 1);
    sim.seconds(61, 9);
    assert_eq!(sim.facts.tasks, 3, "90 requests a second on one task");
    sim.seconds(600, 9);
    assert_eq!(sim.facts.tasks, 3, "30 requests a second on each");
    sim.seconds(600, 0);
    assert_eq!(sim.facts.tasks, 1);
}

#[test]
fn what_is_not_known_changes_nothing() {
    let policies = in_flight(7);
    let mut scaler = Scaler::new(&policies, 3, 5);
    let facts = Sim::new(policies.clone(), 3).facts;
    assert_eq!(scaler.decide(&policies, &facts, 5), None);
    assert_eq!(scaler.tasks(), 3);
}

#[test]
fn the_last_changes_are_remembered_and_no_more() {
    let policies = in_flight(7);
    let mut scaler = Scaler::new(&policies, 1, 0);
    for tasks in 0..100 {
        scaler.follow(&policies, tasks, Reason::Request, u64::from(tasks));
    }
    let changes: Vec<u32> = scaler.changes().map(|change| change.tasks).collect();
    assert_eq!(changes, (80..100).collect::<Vec<_>>());
}

prop_compose! {
    fn some_policies()(
        in_flight in prop::option::of(1u32..15),
        rps in prop::option::of(1u32..200),
        cpu in prop::option::of(1u32..101),
        memory in prop::option::of(1u32..101),
        window in 6u64..120,
        burst in 1u64..6,
    ) -> ScalePolicies {
        ScalePolicies {
            target: Targets { in_flight, rps, cpu, memory },
            window: Duration::from_secs(window),
            burst: Duration::from_secs(burst),
            ..ScalePolicies::default()
        }
    }
}

proptest! {
    #[test]
    fn constant_load_never_flaps(
        policies in some_policies(),
        load in 0u32..300,
        tasks in 1u32..50,
    ) {
        let tasks = Sim::new(policies, tasks).run(400, |_| load);
        let late = &tasks[300..];
        prop_assert_eq!(changes(late), 0, "{:?}", tasks);
    }

    #[test]
    fn the_bounds_hold(
        policies in some_policies(),
        loads in prop::collection::vec(0u32..2_000, 1..60),
        min in 0u32..20,
        more in 0u32..20,
    ) {
        let mut sim = Sim::new(policies, min.max(1));
        (sim.facts.min, sim.facts.max) = (min, min.max(1) + more);
        for load in loads {
            sim.second(load);
            prop_assert!((min..=min.max(1) + more).contains(&sim.facts.tasks));
        }
    }

    #[test]
    fn more_load_never_means_fewer_tasks(
        policies in some_policies(),
        load in 0u32..300,
        more in 0u32..100,
        tasks in 1u32..50,
    ) {
        // Of as many tasks as there are: requests start none, whose number is right enough then.
        let tasks = tasks.max((load + more).div_ceil(CONCURRENCY));
        prop_assert!(after(&policies, tasks, load + more) >= after(&policies, tasks, load));
    }

    #[test]
    fn out_if_any_asks_and_in_only_if_all_agree(
        policies in some_policies(),
        load in 0u32..300,
        tasks in 1u32..100,
    ) {
        let mut sim = Sim::new(policies, tasks);
        sim.scaler.burst = None;
        let had = sim.facts.tasks.max(load.div_ceil(CONCURRENCY));
        sim.second(load);
        let wants: Vec<u32> = sim.scaler.inputs().map(|input| input.wants.min(100)).collect();
        if wants.iter().any(|wants| *wants > had) {
            prop_assert!(sim.facts.tasks > had || had == 100);
        }
        if sim.facts.tasks < had {
            prop_assert!(wants.iter().all(|wants| *wants < had));
            prop_assert!(sim.facts.tasks * 2 + 1 >= had);
        }
    }
}
