//! A whole node that speaks TLS.

use std::path::Path;

use crate::support::{
    Node, Pair, Setup, exchange, last_get, ran, serve_command, shake_hands, tls_client, wait_for,
};

fn ready(node: &Node) -> serde_json::Value {
    let text = std::fs::read_to_string(node.path("ready.json")).expect("ready");
    serde_json::from_str(&text).expect("JSON")
}

fn arguments(certificate: &Path, key: &Path) -> [String; 6] {
    let text = |path: &Path| path.display().to_string();
    let [listen, any] = ["--tls-listen", "127.0.0.1:0"].map(str::to_owned);
    [listen, any, "--tls-cert".to_owned(), text(certificate), "--tls-key".to_owned(), text(key)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_tls_and_takes_up_new_certificates() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, new) = (Pair::for_names(&["env.test"]), Pair::for_names(&["env.test"]));
    let (certificate, key) = old.write(dir.path(), "env");
    let setup = Setup { args: arguments(&certificate, &key).to_vec(), ..Setup::default() };
    let mut node = Node::start_with(setup);
    let address = ready(&node)["https"].as_str().expect("https").parse().expect("an address");
    let stream = shake_hands(address, "env.test", tls_client(&[&old], &[])).await;
    let answer = exchange(&mut stream.expect("a handshake"), &last_get("env", "/", "")).await;
    assert!(answer.contains("\r\nwharf-error: no-route\r\n"), "{answer}");

    let hang_up = |node: &Node| {
        let pid = i32::try_from(node.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let hangup = rustix::process::Signal::HUP;
        rustix::process::kill_process(pid.expect("a process"), hangup).expect("it runs");
    };
    std::fs::write(&key, &new.key).expect("writable");
    hang_up(&node);
    let complaint = wait_for("a complaint", || {
        let log = node.log();
        log.lines()
            .find(|line| line.contains("changed certificates are refused"))
            .map(str::to_owned)
    });
    assert!(complaint.contains("env.key does not fit the certificate in"), "{complaint}");
    assert!(shake_hands(address, "env.test", tls_client(&[&old], &[])).await.is_ok());

    new.write(dir.path(), "env");
    hang_up(&node);
    wait_for("new certificates", || {
        node.log().contains("changed certificates are in force").then_some(())
    });
    assert!(shake_hands(address, "env.test", tls_client(&[&new], &[])).await.is_ok());
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn certificates_that_cannot_be_used_keep_a_node_from_starting() {
    let dir = tempfile::tempdir().expect("a folder");
    let (certificate, key) = Pair::for_names(&["env.test"]).write(dir.path(), "env");
    std::fs::write(&key, Pair::for_names(&["env.test"]).key).expect("writable");
    let mut command = serve_command(&dir.path().join("data"));
    let ran = ran(command.args(arguments(&certificate, &key)));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let said = "error: the certificates cannot be used: the key in ";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(ran.stderr.contains("\nhint: name the key that"), "{}", ran.stderr);

    let ran = crate::support::ran(
        serve_command(&dir.path().join("data")).args(["--tls-listen", "127.0.0.1:0"]),
    );
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("--tls-listen has no certificate"), "{}", ran.stderr);
}
