//! Nodes that drain.

use super::*;

fn drain(snapshot: &mut Snapshot, node: &str, status: NodeStatus) {
    snapshot.nodes.get_mut(node).expect("a node").status = status;
}

/// Where the service has grants after a pass that the checker agrees to.
fn pass(snapshot: &mut Snapshot) -> (Vec<String>, ServicePlan) {
    let decided = plan(snapshot, 0);
    assert_eq!(check(snapshot, &decided), []);
    *snapshot = apply(snapshot, &decided);
    let nodes = snapshot.grants.keys().map(|(node, _)| node.to_string()).collect();
    (nodes, decided.services["hello"].clone())
}

#[test]
fn a_draining_node_gets_no_new_service_and_the_plan_says_so() {
    let mut now = snapshot(&["local"], &[("hello", 1, 1)]);
    drain(&mut now, "local", NodeStatus::Draining);
    let (nodes, decision) = pass(&mut now);
    assert_eq!(nodes, [""; 0]);
    let why = "node local is draining and takes no new service: `wharf node undrain local`";
    assert_eq!(decision.blocked.as_deref(), Some(why));
    let mut two = snapshot(&["a", "b"], &[("hello", 1, 1)]);
    drain(&mut two, "a", NodeStatus::Draining);
    assert_eq!(pass(&mut two).0, ["b"]);
    let mut none = snapshot(&["a", "b"], &[("hello", 1, 1)]);
    drain(&mut none, "a", NodeStatus::Draining);
    drain(&mut none, "b", NodeStatus::Draining);
    let why = pass(&mut none).1.blocked.expect("nowhere");
    assert!(why.starts_with("every node is draining (a, b)"), "{why}");
    drain(&mut now, "local", NodeStatus::Active);
    assert_eq!(pass(&mut now).0, ["local"]);
}

#[test]
fn without_another_node_a_service_stays_and_may_change() {
    let mut now = snapshot(&["local"], &[("hello", 1, 1)]);
    pass(&mut now);
    report(&mut now, 0);
    drain(&mut now, "local", NodeStatus::Draining);
    let (nodes, decision) = pass(&mut now);
    assert_eq!(nodes, ["local"]);
    let note = "stays on local, which is draining: no other node takes it";
    assert_eq!((decision.blocked, decision.note.as_deref()), (None, Some(note)));
    assert!(plan(&now, 0).is_empty(), "it rests");
    let mut service = now.services["hello"].clone();
    service.scale.min = 3;
    now.services.insert(name("hello"), service);
    now.rollouts.get_mut("hello").expect("deployed").version += 1;
    pass(&mut now);
    assert_eq!(now.grants.values().next().expect("a grant").revisions[0].scale.min, 3);
}

#[test]
fn a_service_moves_once_another_node_serves_it() {
    let mut now = snapshot(&["a"], &[("hello", 1, 1)]);
    pass(&mut now);
    report(&mut now, 0);
    now.nodes.extend(snapshot(&["b"], &[]).nodes);
    assert_eq!(pass(&mut now).0, ["a"], "nobody asked for a move");
    drain(&mut now, "a", NodeStatus::Draining);
    let (nodes, decision) = pass(&mut now);
    assert_eq!(nodes, ["a", "b"]);
    assert!(decision.under_way, "reports of b are waited for");
    assert_eq!(decision.note.as_deref(), Some("moves from a to b once it is ready there"));
    assert!(plan(&now, 0).is_empty(), "it rests until then");
    report(&mut now, 0);
    let status = now.statuses.get_mut(&(name("b"), name("hello"))).expect("a report");
    status.revisions[0].health = HealthState::Unhealthy;
    assert_eq!(pass(&mut now).0, ["a", "b"], "b does not serve it well");
    report(&mut now, 0);
    let (nodes, decision) = pass(&mut now);
    assert_eq!((nodes, decision.note, decision.under_way), (vec!["b".to_owned()], None, false));
    drain(&mut now, "a", NodeStatus::Active);
    assert_eq!(pass(&mut now).0, ["b"], "it does not come back by itself");
}

#[test]
fn a_move_that_is_called_off_leaves_one_node() {
    let mut now = snapshot(&["a", "b"], &[("hello", 1, 1)]);
    pass(&mut now);
    report(&mut now, 0);
    drain(&mut now, "a", NodeStatus::Draining);
    pass(&mut now);
    drain(&mut now, "a", NodeStatus::Active);
    assert_eq!(pass(&mut now).0, ["a"], "b had not served it yet");
}
