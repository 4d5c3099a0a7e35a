//! `[role.NAME]` and the tasks that have one.

use super::*;
use crate::model::{Callees, Rate, Role, RoleLimits};

const ROLES: &str = r#"
[role.web]
outbound = [
  "https://api.example.com",
  "https://*.example.org",
  { to = "http://10.0.0.5:8080", methods = ["GET"] },
]
networks = ["10.0.0.0/8"]
services = ["users", "carts"]
limits = { connections = 8, rate = { requests = 100, per = "1s" }, timeout = "5s" }

[role.all]
services = ["*"]

[task.a]
image = "x/a:1"
role = "web"

[task.b]
image = "x/b:1"
"#;

#[test]
fn a_role_is_read_and_belongs_to_the_tasks_that_name_it() {
    let manifest = parse(ROLES, Format::Toml).expect("valid");
    let role = manifest.role_of(&manifest.tasks["a"]);
    assert_eq!(role, manifest.roles["web"]);
    assert_eq!(role.name, Some(name("web")));
    let written: Vec<String> = role.outbound.iter().map(ToString::to_string).collect();
    let expected =
        ["https://api.example.com", "https://*.example.org", "http://10.0.0.5:8080 (GET, HEAD)"];
    assert_eq!(written, expected);
    assert_eq!(role.networks.to_string(), "10.0.0.0/8");
    assert_eq!(role.services, Callees::Some([name("users"), name("carts")].into()));
    let rate = Rate { requests: 100, per: Duration::from_secs(1), burst: 100 };
    let limits = RoleLimits {
        connections: 8,
        rate: Some(rate),
        timeout: Duration::from_secs(5),
        ..RoleLimits::default()
    };
    assert_eq!(role.limits, limits);
    assert_eq!(manifest.roles["all"].services, Callees::All);
    assert_eq!(manifest.role_of(&manifest.tasks["b"]), Role::default());
}

#[test]
fn a_role_alone_is_no_manifest() {
    let found = problem("[role.web]\noutbound = ['https://a.example']", Format::Toml);
    assert!(found.message.contains("no task and no service"), "{found}");
}

#[test]
fn mistakes_in_roles_are_found() {
    for (keys, path, said) in [
        ("outbound = 'api.example.com'", "outbound", "write \"https://api.example.com\""),
        ("outbound = ['ftp://a.example']", "outbound[0]", "write \"https://HOST\""),
        ("outbound = ['https://a.example/x']", "outbound[0]", "write \"https://a.example\""),
        ("outbound = ['https://u:p@a.example']", "outbound[0]", "write \"https://HOST\""),
        ("outbound = ['https://a b']", "outbound[0]", "\"https://*.HOST\""),
        ("outbound = ['http://users.wharf.internal']", "outbound[0]", "write `services = "),
        ("outbound = ['https://a.b', 'https://a.b:443']", "outbound[1]", "keep one of the two"),
        ("outbound = [{ methods = ['GET'] }]", "outbound[0]", "{ to = "),
        ("outbound = [{ to = 'https://a.b', methods = ['get'] }]", "outbound[0].methods[0]", "GET"),
        ("outbound = [{ to = 'https://a.b', path = '/x' }]", "outbound[0].path", "tell paths"),
        ("outbound = [7]", "outbound[0]", "write \"https://HOST\""),
        ("outbound = []", "outbound", "leave it out"),
        ("networks = ['10.0.0.0/33']", "networks[0]", "10.0.0.0/8"),
        ("services = ['*', 'a']", "services[0]", "leave the other names out"),
        ("services = ['Users']", "services[0]", "write `users`"),
        ("services = 7", "services", "write the names of services"),
        ("egress = ['https://a.b']", "egress", "did you mean `outbound`?"),
        ("limits = { connections = 0 }", "limits.connections", "from 1 to 4096"),
        ("limits = { request_body = 1 }", "limits.request_body", "did you mean `request_bytes`?"),
        ("limits = { rate = '100/s' }", "limits.rate", "rate = { requests = 100"),
        ("limits = { rate = { requests = 1 } }", "limits.rate", "per = \"1s\", burst = 200 }"),
        (
            "limits = { rate = { by = 'client', requests = 1, per = '1s' } }",
            "limits.rate.by",
            "all",
        ),
        ("limits = { timeout = 5 }", "limits.timeout", "write \"5s\""),
    ] {
        let text = format!("[role.web]\n{keys}\n[task.a]\nimage = 'x/a:1'\nrole = 'web'");
        let found = problem(&text, Format::Toml);
        assert_eq!(found.path, format!("role.web.{path}"), "{keys}: {found}");
        assert_eq!(found.line, Some(2), "{keys}: {found}");
        assert!(hint(&found).contains(said), "{keys}: {found}");
    }
}

#[test]
fn a_task_names_a_role_of_the_manifest() {
    for (roles, role, said) in [
        ("", "'web'", "add `[role.web]`"),
        ("[role.web]", "'wep'", "did you mean `web`?"),
        ("[role.web]", "'Web'", "write `web`"),
        ("[role.web]", "['web']", "in quotes"),
    ] {
        let text = format!("{roles}\n[task.a]\nimage = 'x/a:1'\nrole = {role}");
        let found = problem(&text, Format::Toml);
        assert_eq!((found.path.as_str(), found.line), ("task.a.role", Some(4)), "{found}");
        assert!(hint(&found).contains(said), "{role}: {found}");
    }
    // A role with mistakes is a role: they are not reported as if it were not there.
    let found =
        problem("[role.web]\nservices = 7\n[task.a]\nimage='x/a:1'\nrole='web'", Format::Toml);
    assert_eq!(found.path, "role.web.services");
    let found = problem("[roles.web]\n[task.a]\nimage='x/a:1'", Format::Toml);
    assert!(hint(&found).contains("`[role.NAME]`"), "{found}");
}
