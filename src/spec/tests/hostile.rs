//! Texts that are made to be too much.

use serde_json::json;

use super::*;

#[test]
fn sizes_and_counts_are_bounded() {
    let long = format!("{HELLO}#{}", "x".repeat(1 << 20));
    assert!(problem(&long, Format::Toml).message.contains("1MiB is the most"));

    let services = |count: usize| -> String {
        (0..count).map(|number| format!("[service.s{number}]\n")).collect()
    };
    let full = parse(&services(bounds::ENTRIES), Format::Toml).expect("valid");
    assert_eq!(full.services.len(), bounds::ENTRIES);
    let found = problem(&services(bounds::ENTRIES + 1), Format::Toml);
    assert_eq!((found.path.as_str(), found.value), ("service", None));

    let routes: Vec<_> = (0..=bounds::ROUTES).map(|number| format!("h{number}/*")).collect();
    let found = problem(&json!({"service": {"a": {"route": routes}}}).to_string(), Format::Json);
    assert!(found.message.contains("1001 routes"), "{found}");

    let env = |bytes: usize| json!({"A": "x".repeat(bytes - 1)});
    let task = |bytes| json!({"task": {"a": {"image": "x/y:1", "env": env(bytes)}}}).to_string();
    assert!(parse(&task(bounds::ENV), Format::Json).is_ok());
    assert_eq!(problem(&task(bounds::ENV + 1), Format::Json).path, "task.a.env");

    let keys: String = (0..20_000).map(|number| format!("k{number} = 1\n")).collect();
    let found = problems(&keys, Format::Toml);
    assert_eq!(found.len(), 1_001);
    assert_eq!(found[1_000].message, "and 19000 problems more");
}

#[test]
fn nesting_is_bounded_in_every_format() {
    let deep = |open: &str, close: &str, n: usize| open.repeat(n) + "1" + &close.repeat(n);
    let chain = vec!["a"; 78].join(".");
    for (text, format) in [
        (deep("[", "]", 100_000), Format::Json),
        (deep("{\"a\":", "}", 100_000), Format::Json),
        (deep("[", "]", 40), Format::Json),
        (deep("[", "]", 100_000), Format::Yaml),
        (deep("{a: ", "}", 100_000), Format::Yaml),
        (deep("{a: ", "}", 1_000), Format::Yaml),
        (deep("- ", "", 100_000), Format::Yaml),
        (deep("? ", "", 100_000), Format::Yaml),
        (format!("a = {}", deep("[", "]", 100_000)), Format::Toml),
        (format!("a = {}", deep("[", "]", 50)), Format::Toml),
        (format!("a = {}", deep("{a = ", "}", 100_000)), Format::Toml),
        (format!("x = {}", deep(&format!("{{{chain} = "), "}", 75)), Format::Toml),
        (format!("x = 1\nx = {}", deep(&format!("{{{chain} = "), "}", 75)), Format::Toml),
        (format!("x = {}", deep("{a.a.a.a.a.a.a.a = ", "}", 75)), Format::Toml),
        (format!("{} = 1", vec!["a"; 400_000].join(".")), Format::Toml),
        (format!("[{}]", vec!["a"; 400_000].join(".")), Format::Toml),
    ] {
        let start: String = text.chars().take(20).collect();
        assert!(problems(&text, format)[0].path.is_empty(), "{start}");
    }
}

#[test]
fn yaml_aliases_work_but_do_not_multiply() {
    let shared = "task:\n  a: &a\n    image: x/a:1\n    env: { &k KEY: &v text }\n  b: *a\n";
    let manifest = parse(shared, Format::Yaml).expect("valid");
    assert_eq!(manifest.tasks["a"], manifest.tasks["b"]);

    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let wide = format!("a: &a [{}1]\nb: [{}1]\n", "1,".repeat(50_000), "*a,".repeat(50_000));
    let long = format!("a: &a {}\nb:\n{}", "x".repeat(500_000), "- *a\n".repeat(50_000));
    let keys = format!("a: &a {}\nb:\n{}", "x".repeat(500_000), "- *a : 1\n".repeat(50_000));
    for text in [laughs, wide, long, keys, "&a [*a, *a]".to_owned(), "a: &a {b: *a}".to_owned()] {
        let found = problem(&text, Format::Yaml);
        assert_eq!(found.path, "", "{found}");
    }
    let merge = "task:\n  a: &a\n    image: x/a:1\n  b:\n    <<: *a\n    cpu: 1\n";
    let found = problems(merge, Format::Yaml);
    assert_eq!((found.len(), found[0].path.as_str()), (2, "task.b.\"<<\""));
    assert!(hint(&found[0]).contains("merge keys"));
}
