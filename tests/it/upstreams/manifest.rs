//! Manifests with upstreams: what is refused, and what is kept.

use super::*;
use crate::support::{Origin, guest};

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_with_what_to_do() {
    let node = Node::start();
    for (manifest, message) in [
        ("[upstream.a]\nroute = \"a.test/*\"", "an upstream needs a `target`"),
        ("[upstream.a]\ntarget = \"10.0.0.1:80\"", "write \"http://10.0.0.1:80\""),
        ("[upstream.a]\ntarget = \"http://a/b\"", "requests keep their own path"),
        ("[upstream.a]\ntarget = [\"http://a\", \"http://a\"]", "stands here twice"),
        ("[upstream.a]\ntarget = []", "0 targets"),
        ("[upstream.a]\ntarget = \"http://a\"\nca = \"x\"", "no certificates in PEM"),
        ("[upstream.a]\ntargets = \"http://a\"", "did you mean `target`?"),
        (
            "[upstream.a]\ntarget = \"http://a\"\n[service.a]\ntask = \"x\"",
            "a service has this name as well",
        ),
    ] {
        let ran = node.try_apply(manifest);
        assert_eq!(ran.code, Some(1), "{manifest}");
        assert!(ran.stderr.contains(message), "{manifest}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_routes_have_one_owner() {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    let task = "[task.hello]\ncomponent = \"hello.wasm\"\n";
    node.apply(&format!("{task}[service.hello]\nroute = \"hello.test/*\""));
    let clash = "[upstream.hello]\nroute = \"x.test/*\"\ntarget = \"http://127.0.0.1:1\"";
    let ran = node.try_apply(clash);
    assert!(ran.stderr.contains("a service has this name already"), "{}", ran.stderr);
    let clash = "[upstream.other]\nroute = \"hello.test/*\"\ntarget = \"http://127.0.0.1:1\"";
    let ran = node.try_apply(clash);
    assert!(ran.stderr.contains("the route belongs to the service hello"), "{}", ran.stderr);
    node.apply("[upstream.up]\nroute = \"up.test/*\"\ntarget = \"http://127.0.0.1:1\"");
    let ran = node.try_apply(&format!("{task}[service.up]\ntask = \"hello\""));
    assert!(ran.stderr.contains("an upstream has this name already"), "{}", ran.stderr);
    let ran =
        node.try_apply(&format!("{task}[service.two]\ntask = \"hello\"\nroute = \"up.test\""));
    assert!(ran.stderr.contains("the route belongs to the upstream up"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_forwards_before_it_says_that_it_serves() {
    let origin = Origin::start("one").await;
    let mut node = node(&[origin.address], "");
    let again = node.try_apply(&manifest(&[origin.address], "")).ok();
    assert!(again.stdout.contains("= upstream up  unchanged"), "{}", again.stdout);
    let changed = node.try_apply(&manifest(&[origin.address], "timeout = \"5s\"")).ok();
    assert!(changed.stdout.contains("timeout 1m → 5s"), "{}", changed.stdout);
    node.kill();
    node.start_again();
    assert_eq!(node.get("up.test", "/").await, (200, "one".to_owned()));
    let listed = node.wharf(&["upstreams"]).ok().stdout;
    assert!(listed.contains(&format!("http://{}", origin.address)), "{listed}");
    assert!(listed.contains("well"), "{listed}");
    let page = node.wharf(&["describe", "up"]).ok().stdout;
    assert!(page.contains("timeout     5s"), "{page}");
}
