//! Components that cannot run are refused when they are deployed, and told why.

use registry::Digest;
use wharf::model::ByteSize;
use wharf::runtime::LoadError;

use crate::support::{Front, ServiceOptions, guest, preview1_guest, wat};

/// What deploying the component ends in.
async fn try_out(front: &Front, wasm: &[u8], options: ServiceOptions) -> Result<(), LoadError> {
    let deployment = front.prepare("trial", wasm, options).await;
    let loaded = front.loader.load(deployment.component).await;
    let loaded = loaded.map_err(|error| std::sync::Arc::into_inner(error).expect("one owner"))?;
    front.runtime.try_out(loaded, &deployment).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_module_that_cannot_become_a_component_is_refused() {
    let front = Front::start().await;
    let error = front.compile(&wat("not-a-component")).await.expect_err("refused");
    assert_eq!(error.code(), "component-core-module", "{error}");
    assert!(error.to_string().contains("env"), "it names what is missing: {error}");
    assert!(!error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_bring_native_code() {
    let front = Front::start().await;
    let wasm = guest("hello");
    front.compile(&wasm).await.expect("it compiles");
    let files = std::fs::read_dir(front.compiled_dir()).expect("a folder").flatten();
    let mut paths = files.map(|entry| entry.path());
    let code = paths.find(|path| path.extension().is_some_and(|e| e == "cwasm")).expect("code");
    let code = std::fs::read(code).expect("code");
    let error = front.compile(&code).await.expect_err("refused");
    assert_eq!(error.code(), "component-precompiled", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_webassembly_is_refused() {
    let front = Front::start().await;
    let hello = guest("hello");
    let mut flipped = hello.clone();
    let middle = flipped.len() / 2;
    flipped[middle..middle + 64].fill(0xff);
    let cases: [(&str, &[u8]); 8] = [
        ("nothing", b""),
        ("text", b"(component)"),
        ("half a preamble", b"\0asm"),
        ("a version of its own", b"\0asm\xff\0\x01\0"),
        ("zeros", &[0; 1_000]),
        ("an ELF file", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("half a component", &hello[..hello.len() / 2]),
        ("a garbled component", &flipped),
    ];
    for (what, bytes) in cases {
        let error = front.compile(bytes).await.err();
        let error = error.unwrap_or_else(|| panic!("{what} was compiled"));
        let known = ["component-invalid", "component-precompiled", "component-core-module"];
        assert!(known.contains(&error.code()), "{what}: {error}");
        assert!(!error.is_retryable(), "{what}");
    }
    let huge = vec![0; (256 << 20) + 1];
    let error = front.compile(&huge).await.expect_err("refused");
    assert_eq!(error.code(), "component-too-large", "{error}");
    front.compile(&hello).await.expect("the compiler goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_nobody_provides_is_named() {
    let front = Front::start().await;
    let wasm = wat("needs-unknown-import");
    let error = try_out(&front, &wasm, ServiceOptions::default()).await.expect_err("refused");
    assert_eq!(error.code(), "component-unlinkable", "{error}");
    assert!(error.to_string().contains("acme:missing/thing@1.0.0"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_does_not_answer_http_is_refused() {
    let front = Front::start().await;
    let p1 = preview1_guest("p1");
    let error = try_out(&front, &p1, ServiceOptions::default()).await.expect_err("refused");
    assert_eq!(error.code(), "component-not-http", "{error}");
    assert!(error.to_string().contains("wasi:http/incoming-handler"), "{error}");
    let empty = wat::parse_str("(component)").expect("a component");
    let error = try_out(&front, &empty, ServiceOptions::default()).await.expect_err("refused");
    assert_eq!(error.code(), "component-not-http", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_too_small_to_start_with_is_refused_with_both_numbers() {
    let front = Front::start().await;
    let wasm = wat("huge-initial-memory");
    let error = try_out(&front, &wasm, ServiceOptions::default()).await.expect_err("refused");
    assert_eq!(error.code(), "memory-too-small", "{error}");
    let LoadError::MemoryTooSmall { needed, allowed } = error else { panic!("{error}") };
    assert!(needed >= 512 << 20, "{needed}");
    assert_eq!(allowed, 128 << 20);
    let mut roomy = ServiceOptions::default();
    roomy.limits.memory = ByteSize::mib(600);
    roomy.limits.instance_memory = ByteSize::mib(600);
    try_out(&front, &wasm, roomy).await.expect("it fits");
    assert_eq!(front.runtime.memory().used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_while_a_component_starts() {
    let front = Front::start().await;
    let wasm = wat("start-loops");
    let error = try_out(&front, &wasm, ServiceOptions::default()).await.expect_err("refused");
    assert_eq!(error.code(), "component-start-failed", "{error}");
    assert!(error.to_string().contains("fuel"), "{error}");
    // Deployed all the same, it is a failed request like any other.
    front.deploy("loops", &wasm, ServiceOptions::default()).await;
    let answer = front.client().get("loops", "/").send().await.expect("an answer");
    assert_eq!(answer.headers()["wharf-error"], "fuel-exhausted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_needs_more_than_a_slot_is_refused() {
    let front = Front::start().await;
    let many = |what: &str, count: usize| {
        let module = format!("(core module $m {what})");
        let instances: String = (0..count).map(|_| "(core instance (instantiate $m))").collect();
        wat::parse_str(format!("(component {module} {instances})")).expect("a component")
    };
    for (what, wasm) in [
        ("memories", many("(memory 1)", 5)),
        ("tables", many("(table 1 funcref)", 9)),
        ("instances", many("", 65)),
        ("elements", many("(table 200000 funcref)", 1)),
    ] {
        let refused = match front.compile(&wasm).await {
            Err(error) => (error.code(), error.to_string()),
            Ok(()) => {
                let error = front.loader.load(Digest::of(&wasm)).await.err();
                let error = error.unwrap_or_else(|| panic!("too many {what} were taken"));
                (error.code(), error.to_string())
            }
        };
        let named = refused.1.contains(what.trim_end_matches("s"));
        assert!(refused.0 == "component-too-large" && named, "{what}: {refused:?}");
    }
}
