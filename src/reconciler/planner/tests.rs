//! Plans, and deployments from their first pass to their last.

use proptest::prelude::{Just, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use super::super::check;
use super::super::fixtures::*;
use super::*;
use crate::model::{
    Alarm, Breaker, DeployPolicy, GrantPhase, GrantStatus, HealthState, NodeStatus, Order, Percent,
    RevisionStatus, Stage, Strategy,
};

#[test]
fn a_service_gets_one_grant_and_then_rests() {
    let snapshot = snapshot(&["local"], &[("hello", 1, 1)]);
    let first = plan(&snapshot, 0);
    assert_eq!(first.actions.len(), 1);
    assert!(check(&snapshot, &first).is_empty());
    assert!(plan(&apply(&snapshot, &first), 0).is_empty());
}

#[test]
fn what_is_not_wanted_any_more_is_taken_back_and_forgotten() {
    let mut snapshot = snapshot(&["local"], &[("hello", 1, 1), ("other", 1, 1)]);
    snapshot = apply(&snapshot, &plan(&snapshot, 0));
    snapshot.services.remove("hello");
    let next = plan(&snapshot, 0);
    let service = name("hello");
    assert_eq!(
        next.actions,
        [
            Action::DeleteGrant { node: name("local"), service: service.clone() },
            Action::DeleteRevision { service: service.clone(), number: 1 },
            Action::DeleteRollout { service },
        ]
    );
    assert!(check(&snapshot, &next).is_empty());
}

#[test]
fn a_plan_says_what_is_missing() {
    let why = |snapshot: &Snapshot| plan(snapshot, 0).services["hello"].blocked.clone();
    let without_nodes = snapshot(&[], &[("hello", 1, 1)]);
    assert_eq!(why(&without_nodes).as_deref(), Some("no node has registered itself"));
    let mut snapshot = snapshot(&["local"], &[("hello", 1, 1)]);
    snapshot.revisions.clear();
    assert_eq!(why(&snapshot).as_deref(), Some("revision 1 is not kept any more"));
    snapshot.rollouts.clear();
    let nothing = "nothing was deployed yet: apply the service again";
    assert_eq!(why(&snapshot).as_deref(), Some(nothing));
}

#[test]
fn old_revisions_go_and_those_in_use_stay() {
    let mut now = snapshot(&["local"], &[("hello", 1, 1)]);
    let mut service = now.services["hello"].clone();
    service.deploy.keep = 2;
    service.traffic = vec![
        crate::model::TrafficTarget::share(None, Percent::whole(99)),
        crate::model::TrafficTarget::share(Some(2), Percent::whole(1)),
    ];
    now.services.insert(name("hello"), service.clone());
    for revision in 2..=6 {
        deploy(&mut now, &service, definition("hello", revision), DeployPolicy::default());
        now.rollouts.get_mut("hello").expect("deployed").stage = Stage::Completed;
    }
    let decided = plan(&now, 0);
    assert!(check(&now, &decided).is_empty());
    let after = apply(&now, &decided);
    let kept: Vec<u64> = after.revisions.keys().map(|(_, number)| *number).collect();
    // 6 serves, 5 is where a rollback goes, 2 has traffic; of the others two are kept.
    assert_eq!(kept, [2, 3, 4, 5, 6]);
    assert!(plan(&after, 0).is_empty());
}

#[test]
fn a_revision_that_gets_copies_stays_and_has_a_place_without_a_share() {
    let mut now = snapshot(&["local"], &[("hello", 1, 1)]);
    let mut service = now.services["hello"].clone();
    service.deploy.keep = 1;
    service.scale.min = 3;
    let to = crate::model::MirrorTo::Revision(2);
    service.mirror = Some(Mirror { to, percent: Percent::whole(10) });
    now.services.insert(name("hello"), service.clone());
    for revision in 2..=5 {
        deploy(&mut now, &service, definition("hello", revision), DeployPolicy::default());
        now.rollouts.get_mut("hello").expect("deployed").stage = Stage::Completed;
    }
    let decided = plan(&now, 0);
    assert!(check(&now, &decided).is_empty());
    let after = apply(&now, &decided);
    let kept: Vec<u64> = after.revisions.keys().map(|(_, number)| *number).collect();
    assert_eq!(kept, [2, 3, 4, 5]);
    let grant = after.grants.values().next().expect("a grant");
    assert_eq!(grant.steering.mirror, service.mirror);
    let mirrored = grant.revision(2).expect("a place");
    assert_eq!((mirrored.share, mirrored.scale.min), (Percent::NONE, 0));
    // Where the one in service gets the copies, nothing is taken from it.
    service.mirror.as_mut().expect("set").to = crate::model::MirrorTo::Revision(5);
    now.services.insert(name("hello"), service);
    let after = apply(&now, &plan(&now, 0));
    let grant = after.grants.values().next().expect("a grant");
    let numbers: Vec<u64> = grant.revisions.iter().map(|revision| revision.number).collect();
    assert_eq!((numbers, grant.revisions[0].scale.min), (vec![5], 3));
}

/// What a node would say of the grants that it has: everything runs.
fn report(snapshot: &mut Snapshot, errors: u64) {
    for ((node, service), grant) in &snapshot.grants {
        let before = snapshot.statuses.get(&(node.clone(), service.clone()));
        let seen = |number: u64| {
            let revisions = before.map_or(&[][..], |before| &before.revisions);
            revisions.iter().find(|one| one.number == number)
        };
        let status = |revision: &GrantedRevision| {
            let points = u64::from(revision.share.basis_points());
            let requests = seen(revision.number).map_or(0, |one| one.requests) + points;
            let is_new = grant.revisions.last().is_some_and(|last| last.number == revision.number);
            let failed = if is_new { points * errors / 100 } else { 0 };
            RevisionStatus {
                number: revision.number,
                definition: revision.definition.id.clone(),
                phase: GrantPhase::Ready,
                code: None,
                message: String::new(),
                tasks: revision.scale.min,
                failures: 0,
                requests,
                errors: seen(revision.number).map_or(0, |one| one.errors) + failed,
                p99_us: 1_000,
                health: HealthState::Unknown,
            }
        };
        let status = GrantStatus {
            node: node.clone(),
            service: service.clone(),
            generation: grant.generation,
            revisions: grant.revisions.iter().map(status).collect(),
            at_ms: 0,
        };
        snapshot.statuses.insert((node.clone(), service.clone()), status);
    }
}

/// Plans and reports until nothing changes, second by second; returns the shares of the new
/// revision that were in force, in order.
fn run(snapshot: &mut Snapshot, seconds: u64, errors: u64) -> Vec<Percent> {
    let mut shares = Vec::new();
    for second in 0..seconds {
        // Later than the epoch, which stands for a stage that has not begun.
        let decided = plan(snapshot, (second + 1) * 1_000);
        assert_eq!(check(snapshot, &decided), []);
        *snapshot = apply(snapshot, &decided);
        let rollout = &snapshot.rollouts["hello"];
        let grant = snapshot.grants.values().next().expect("a grant");
        let share = grant.revision(rollout.revision).map_or(Percent::NONE, |one| one.share);
        if shares.last() != Some(&share) {
            shares.push(share);
        }
        report(snapshot, errors);
    }
    shares
}

fn deploying(strategy: Strategy, bake: u64) -> Snapshot {
    let mut now = snapshot(&["local"], &[("hello", 1, 1)]);
    let mut service = now.services["hello"].clone();
    service.scale.min = 4;
    now.services.insert(name("hello"), service.clone());
    run(&mut now, 2, 0);
    let bake = std::time::Duration::from_secs(bake);
    let policy = DeployPolicy { strategy, bake, ..DeployPolicy::default() };
    deploy(&mut now, &service, definition("hello", 2), policy);
    now
}

fn percents(shares: &[u16]) -> Vec<Percent> {
    shares.iter().map(|share| Percent::whole(*share)).collect()
}

#[test]
fn each_strategy_takes_its_steps() {
    let step_bake = std::time::Duration::from_secs(3);
    let percent = Percent::whole(25);
    for (strategy, steps) in [
        (Strategy::Rolling { min_healthy: 100, max_healthy: 200 }, &["0", "100"][..]),
        (Strategy::Rolling { min_healthy: 75, max_healthy: 100 }, &["0", "33.33", "66.66", "100"]),
        (Strategy::BlueGreen, &["0", "100"]),
        (Strategy::AllAtOnce, &["0", "100"]),
        (Strategy::Canary { percent, step_bake }, &["0", "25", "100"]),
        (Strategy::Linear { percent, step_bake }, &["0", "25", "50", "75", "100"]),
    ] {
        let mut now = deploying(strategy, 2);
        let shares = run(&mut now, 30, 0);
        let rollout = &now.rollouts["hello"];
        let steps: Vec<Percent> = steps.iter().map(|step| step.parse().expect("one")).collect();
        assert_eq!(shares, steps, "{strategy:?}: {:#?}", rollout.events);
        assert_eq!(rollout.stage, Stage::Completed, "{strategy:?}: {:#?}", rollout.events);
        assert!(plan(&now, 60_000).is_empty(), "it rests");
    }
}

#[test]
fn a_canary_that_fails_is_rolled_back_and_never_gets_more_than_its_share() {
    let step_bake = std::time::Duration::from_secs(60);
    let mut now = deploying(Strategy::Canary { percent: Percent::whole(5), step_bake }, 2);
    let shares = run(&mut now, 30, 100);
    assert_eq!(shares, percents(&[0, 5, 0]));
    let rollout = &now.rollouts["hello"];
    assert_eq!(rollout.stage, Stage::Failed { share: Percent::NONE });
    let last = &rollout.events.last().expect("an event").message;
    assert!(last.contains("100% of its") && last.contains("revision 1 has the traffic"), "{last}");
}

#[test]
fn a_person_pauses_promotes_and_aborts() {
    let step_bake = std::time::Duration::from_secs(5);
    let canary = Strategy::Canary { percent: Percent::whole(5), step_bake };
    let order = |now: &mut Snapshot, order| {
        let rollout = now.rollouts.get_mut("hello").expect("deployed");
        rollout.order = Some(order);
        rollout.version += 1;
    };
    let mut now = deploying(canary, 0);
    run(&mut now, 3, 0);
    order(&mut now, Order::Pause);
    assert_eq!(run(&mut now, 600, 0), percents(&[5]), "a pause has no end");
    order(&mut now, Order::Promote);
    assert_eq!(run(&mut now, 1, 0), percents(&[100]));
    let mut now = deploying(canary, 0);
    run(&mut now, 3, 0);
    order(&mut now, Order::Abort);
    assert_eq!(run(&mut now, 20, 0), percents(&[0]));
    assert_eq!(now.rollouts["hello"].stage, Stage::Aborted);
}

#[test]
fn what_cannot_run_fails_at_once_and_what_may_run_later_gets_its_tries() {
    let mut now = deploying(Strategy::BlueGreen, 0);
    run(&mut now, 1, 0);
    let status = now.statuses.values_mut().next().expect("a report");
    let new = status.revisions.last_mut().expect("the new one");
    (new.phase, new.code) = (GrantPhase::Pulling, Some("image-unreachable".to_owned()));
    new.failures = Breaker::LEAST - 1;
    let decided = plan(&now, 1_000);
    assert!(decided.actions.iter().all(|action| !matches!(action, Action::PutRollout { .. })));
    let mut late = now.clone();
    let failures = |now: &mut Snapshot, phase, failures| {
        let status = now.statuses.values_mut().next().expect("a report");
        let new = status.revisions.last_mut().expect("the new one");
        (new.phase, new.failures) = (phase, failures);
        apply(now, &plan(now, 1_000)).rollouts["hello"].stage
    };
    let failed = Stage::Failed { share: Percent::NONE };
    assert_eq!(failures(&mut late, GrantPhase::Pulling, Breaker::LEAST), failed);
    assert_eq!(failures(&mut now, GrantPhase::Failed, 0), failed);
}

#[test]
fn a_new_deployment_supersedes_one_that_is_under_way() {
    let step_bake = std::time::Duration::from_secs(60);
    let mut now = deploying(Strategy::Canary { percent: Percent::whole(5), step_bake }, 0);
    run(&mut now, 3, 0);
    let service = now.services["hello"].clone();
    deploy(&mut now, &service, definition("hello", 3), DeployPolicy::default());
    run(&mut now, 5, 0);
    let rollout = &now.rollouts["hello"];
    assert_eq!((rollout.stage, rollout.revision, rollout.stable), (Stage::Completed, 3, Some(1)));
    let granted = now.grants.values().next().expect("a grant");
    assert_eq!(granted.revisions.len(), 1);
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    let step_bake = std::time::Duration::from_secs(2);
    prop_oneof![
        (0u32..=100, 1u32..=200).prop_map(|(min, more)| Strategy::Rolling {
            min_healthy: min,
            max_healthy: 100.max(min + more),
        }),
        Just(Strategy::BlueGreen),
        Just(Strategy::AllAtOnce),
        (1u16..100).prop_map(move |percent| Strategy::Canary {
            percent: Percent::whole(percent),
            step_bake,
        }),
        (10u16..100).prop_map(move |percent| Strategy::Linear {
            percent: Percent::whole(percent),
            step_bake,
        }),
    ]
}

proptest! {
    #[test]
    fn plans_pass_the_checker_and_converge(
        nodes in prop::collection::vec("[a-c]", 0..4),
        services in prop::collection::vec(("[a-e]", 1u32..4, 5u64..9), 0..6),
        stale in prop::collection::vec(("[a-e]", 1u32..4, 1u64..5), 0..6),
        draining in prop::collection::vec("[a-c]", 0..3),
    ) {
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let with = |services: &[(String, u32, u64)]| {
            let services: Vec<_> =
                services.iter().map(|(name, r, g)| (name.as_str(), *r, *g)).collect();
            snapshot(&nodes, &services)
        };
        let before = with(&stale);
        let mut now = with(&services);
        now.grants = apply(&before, &plan(&before, 0)).grants;
        for node in now.nodes.values_mut().filter(|node| draining.contains(&node.id.to_string())) {
            node.status = NodeStatus::Draining;
        }
        let decided = plan(&now, 0);
        prop_assert_eq!(check(&now, &decided), vec![]);
        prop_assert_eq!(&decided, &plan(&now, 0));
        prop_assert!(plan(&apply(&now, &decided), 0).is_empty());
    }

    #[test]
    fn every_deployment_ends_well_or_where_it_began(
        strategy in strategies(),
        tasks in 0u32..6,
        errors in prop_oneof![Just(0u64), Just(100u64)],
        restart in 0u64..40,
    ) {
        let mut now = deploying(strategy, 3);
        now.services.get_mut("hello").expect("there").scale.min = tasks;
        // A control plane that starts again decides the same from what is in the store.
        run(&mut now, restart, errors);
        run(&mut now, 400, errors);
        let rollout = &now.rollouts["hello"];
        prop_assert!(rollout.stage.is_over(), "{:#?}", rollout);
        let serving = match errors {
            0 => 2,
            _ => 1,
        };
        let grant = now.grants.values().next().expect("a grant");
        prop_assert_eq!(grant.revisions.len(), 1);
        prop_assert_eq!(grant.revisions[0].number, serving, "{:#?}", rollout.events);
        prop_assert!(Alarm::default().errors < Percent::ALL);
    }
}

mod drain;
mod schedule;
