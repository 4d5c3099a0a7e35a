//! Bounds that a schedule puts in force.

use super::*;
use crate::model::ScheduledBounds;

const HOUR_MS: u64 = 3_600_000;
/// 2026-11-24, a Tuesday, at midnight in UTC.
const TUESDAY_MS: u64 = 1_795_478_400_000;
const STEADY_MS: u64 = 5;

fn scheduled() -> Snapshot {
    let mut now = snapshot(&["local"], &[("hello", 1, 1)]);
    let entry = |cron: &str, min, max| ScheduledBounds {
        cron: cron.parse().expect(cron),
        zone: "Europe/Berlin".parse().expect("a zone"),
        min: Some(min),
        max,
    };
    let service = now.services.get_mut("hello").expect("there");
    service.schedule =
        vec![entry("0 8 * * MON-FRI", 4, Some(40)), entry("0 18 * * MON-FRI", 0, None)];
    now
}

/// A pass at this hour of the wall clock; returns when the next one is due, by the steady clock.
fn pass(now: &mut Snapshot, hour: u64) -> Option<u64> {
    let at = Now { steady_ms: STEADY_MS, wall_ms: TUESDAY_MS + hour * HOUR_MS };
    let decided = plan(now, at);
    assert!(check(now, &decided).is_empty(), "{decided:?}");
    *now = apply(now, &decided);
    assert!(plan(now, at).is_empty());
    decided.wake_at_ms()
}

fn bounds(now: &Snapshot) -> (u32, u32) {
    let grant = now.grants.values().next().expect("granted");
    (grant.revisions[0].scale.min, grant.revisions[0].scale.max)
}

#[test]
fn bounds_follow_the_wall_clock_whichever_way_it_is_set() {
    let mut now = scheduled();
    for (hour, expected) in
        [(6, (0, 100)), (7, (4, 40)), (16, (4, 40)), (17, (0, 100)), (8, (4, 40))]
    {
        pass(&mut now, hour);
        assert_eq!(bounds(&now), expected, "at {hour}");
    }
    let rollout = &now.rollouts["hello"];
    let said: Vec<&str> = rollout.events.iter().map(|event| event.message.as_str()).collect();
    let morning =
        "bounds are scheduled, `0 8 * * MON-FRI` Europe/Berlin min 4 max 40: 4 to 40 tasks";
    assert_eq!(said.last(), Some(&morning));
}

#[test]
fn the_clock_is_looked_at_again_within_a_minute() {
    let mut now = scheduled();
    assert_eq!(pass(&mut now, 6), Some(STEADY_MS + 60_000));
    let second = Now { steady_ms: STEADY_MS, wall_ms: TUESDAY_MS + 7 * HOUR_MS - 1_000 };
    assert_eq!(plan(&now, second).wake_at_ms(), Some(STEADY_MS + 1_000));
}

#[test]
fn a_service_without_its_schedule_has_its_own_bounds_again() {
    let mut now = scheduled();
    pass(&mut now, 9);
    now.services.get_mut("hello").expect("there").schedule.clear();
    assert_eq!(pass(&mut now, 9), None);
    assert_eq!((bounds(&now), &now.rollouts["hello"].scheduled), ((0, 100), &None));
}
