//! Certificates that are renewed under a running node.

use wharf::tls::{Certificates, Error, Sources};

use super::with_certificates;
use crate::support::{Front, Pair, shake_hands, tls_client};

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_put_in_force_as_a_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, new) = (Pair::for_names(&["a.test"]), Pair::for_names(&["a.test"]));
    old.write(dir.path(), "a");
    let (edge, certificates) = with_certificates(dir.path());
    let front = Front::start_at_edge(Default::default(), edge).await;
    let address = front.https.expect("TLS");
    let accepts =
        async |pair: &Pair| shake_hands(address, "a.test", tls_client(&[pair], &[])).await.is_ok();
    assert!(accepts(&old).await && !accepts(&new).await);
    assert!(!certificates.reload().expect("readable"), "nothing has changed");

    // Half of a renewal: the earlier ones stay, a further one is not added either.
    std::fs::write(dir.path().join("a.crt"), &new.certificate).expect("writable");
    let further = Pair::for_names(&["b.test"]);
    further.write(dir.path(), "b");
    let error = certificates.reload().expect_err("the key is the old one's");
    assert!(matches!(error, Error::Pair { .. }), "{error}");
    assert!(accepts(&old).await && !accepts(&new).await);
    let stranger = shake_hands(address, "b.test", tls_client(&[&further], &[])).await;
    assert!(stranger.is_err());

    new.write(dir.path(), "a");
    assert!(certificates.reload().expect("readable"));
    assert!(!accepts(&old).await && accepts(&new).await);
    let known = shake_hands(address, "b.test", tls_client(&[&further], &[])).await;
    assert!(known.is_ok());

    std::fs::remove_file(dir.path().join("a.key")).expect("there");
    certificates.reload().expect_err("the key is gone");
    assert!(accepts(&new).await);
}

/// Why the certificates of this folder are refused, and what to do.
fn refused(prepare: impl FnOnce(&std::path::Path)) -> (String, String) {
    let dir = tempfile::tempdir().expect("a folder");
    prepare(dir.path());
    let sources = Sources { pairs: Vec::new(), dir: Some(dir.path().to_owned()) };
    let error = Certificates::open(sources).expect_err("refused");
    (error.to_string(), error.hint())
}

#[test]
fn what_cannot_be_used_is_named() {
    let pair = Pair::for_names(&["a.test"]);
    let write = |dir: &std::path::Path, name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("writable");
    };
    let (what, hint) = refused(|dir| {
        pair.write(dir, "a");
        write(dir, "a.key", &Pair::for_names(&["a.test"]).key);
    });
    assert!(what.contains("a.key does not fit the certificate in"), "{what}");
    assert!(hint.contains("the key that the certificate was requested with"), "{hint}");

    let (what, hint) = refused(|dir| write(dir, "a.crt", &pair.certificate));
    assert!(what.starts_with("there is no private key in") && what.ends_with("a.crt"), "{what}");
    assert!(hint.contains("a.key"), "{hint}");

    let (what, _) = refused(|dir| write(dir, "a.pem", &pair.key));
    assert!(what.starts_with("there is no certificate in") && what.ends_with("a.pem"), "{what}");

    let (what, _) = refused(|dir| {
        write(dir, "a.crt", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        write(dir, "a.key", &pair.key);
    });
    assert!(what.ends_with("a.crt is not PEM"), "{what}");

    let (what, _) = refused(|dir| {
        write(dir, "a.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        write(dir, "a.key", &pair.key);
    });
    assert!(what.starts_with("the certificate in") && what.ends_with("cannot be used"), "{what}");

    let (what, _) = refused(|dir| {
        write(dir, "a.crt", &pair.certificate);
        let file = std::fs::File::create(dir.join("a.key")).expect("writable");
        file.set_len((1 << 20) + 1).expect("sparse");
    });
    assert!(what.ends_with("a.key has more than 1 MiB"), "{what}");

    let (what, hint) = refused(|dir| write(dir, ".hidden.pem", "x"));
    assert!(what.contains("has no certificates"), "{what}");
    assert!(hint.contains("NAME.crt"), "{hint}");
}
