//! `route` of a service: texts, or tables with rules.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::problem::Problem;
use super::reader::{Given, Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, values};
use crate::model::{
    InvalidRoute, Methods, Networks, Rate, RateKey, RateLimit, Route, RoutePattern, RouteRules,
};

/// For rules that stand beside the route instead of in it.
pub(super) const BELONGS: &str =
    "it is a rule of a route: write `route = { match = \"host/*\", … }`";

const HINT: &str = "write \"HOST/*\" or \"HOST/PATH/*\", such as \"hello.localhost/*\"";

const ROUTE: Shape = Shape {
    keys: &["match", "methods", "allow", "deny", "rate", "request_body", "compress"],
    slips: &[
        ("host", "did you mean `match`? Write `match = \"host/*\"`"),
        ("path", "did you mean `match`? Write `match = \"host/path/*\"`"),
        ("pattern", "did you mean `match`?"),
        ("method", "did you mean `methods`? Write `methods = [\"GET\"]`"),
        ("limit", "did you mean `rate`?"),
        ("rate_limit", "did you mean `rate`?"),
        ("max_body", "did you mean `request_body`?"),
        ("compression", "did you mean `compress`? Write `compress = true`"),
        ("gzip", "write `compress = true`; the client says which coding"),
        ("cidr", "write `allow = [\"10.0.0.0/8\"]` or `deny = […]`"),
    ],
    example: HINT,
};

const RATE: Shape = Shape {
    keys: &["requests", "per", "burst", "by"],
    slips: &[
        ("limit", "did you mean `requests`?"),
        ("window", "did you mean `per`?"),
        ("period", "did you mean `per`?"),
        ("key", "did you mean `by`?"),
    ],
    example: "write `rate = { requests = 100, per = \"1s\", burst = 200, by = \"client\" }`",
};

/// Where each route of the manifest was seen first.
pub(super) type Seen = BTreeMap<RoutePattern, String>;

/// Reads the routes of a service.
pub(super) fn read(table: &mut Table<'_, '_>, seen: &mut Seen) -> Vec<Route> {
    let mut routes = Vec::new();
    let Some(all) = table.get("route") else { return routes };
    let spots = one_or_more(&all);
    if spots.len() > bounds::ROUTES {
        let message = format!("{} routes, {} is the most", spots.len(), bounds::ROUTES);
        table.report(all.problem(message).hint("use a wildcard host or a shorter prefix"));
    }
    for spot in spots.iter().take(bounds::ROUTES) {
        let Some(route) = read_route(table, spot) else { continue };
        match seen.get(&route.pattern) {
            Some(first) => table.report(repeated(spot, &route.pattern, first)),
            None => {
                seen.insert(route.pattern.clone(), spot.path.clone());
                routes.push(route);
            }
        }
    }
    routes
}

/// The items of a list, or what stands in place of one.
pub(super) fn one_or_more<'t>(all: &Spot<'t>) -> Vec<Spot<'t>> {
    match &all.node.tree {
        Tree::List(items) => items.iter().enumerate().map(|(i, item)| all.item(i, item)).collect(),
        _ => vec![all.clone()],
    }
}

fn read_route<'t>(table: &mut Table<'t, '_>, spot: &Spot<'t>) -> Option<Route> {
    let Tree::Table(_) = &spot.node.tree else {
        let route = pattern(spot).map_err(|problem| table.report(problem));
        return route.ok().map(Route::from);
    };
    let mut table = table.open_at(spot, Some(&ROUTE))?;
    let rules = read_rules(&mut table);
    match table.read("match", pattern) {
        Given::Value(pattern) => Some(Route { pattern, rules }),
        Given::Faulty => None,
        Given::Absent => {
            let hint = "write `match = \"HOST/*\"` or `match = \"HOST/PATH/*\"`";
            table.report(spot.problem("the route does not say what it matches").hint(hint));
            None
        }
    }
}

fn read_rules(table: &mut Table<'_, '_>) -> RouteRules {
    RouteRules {
        methods: table.read("methods", methods).or(Methods::default()),
        allow: table.read("allow", networks).or(Networks::default()),
        deny: table.read("deny", networks).or(Networks::default()),
        rate: read_rates(table),
        request_body: table.read("request_body", |spot| values::size(spot, bounds::BODY)).some(),
        compress: table.read("compress", values::switch).or(false),
    }
}

fn pattern(spot: &Spot<'_>) -> Result<RoutePattern, Problem> {
    let Tree::Text(text) = &spot.node.tree else {
        return Err(spot.expected("text or a list of texts").hint(HINT));
    };
    text.parse().map_err(|error| match error {
        InvalidRoute::Scheme(rest) => {
            let valid = rest.parse::<RoutePattern>().is_ok();
            let hint = format!("leave it out: write \"{rest}\"");
            spot.problem("a route has no scheme").hint(if valid { &hint } else { HINT })
        }
        other => spot.problem(other.to_string()).hint(HINT),
    })
}

fn repeated(spot: &Spot<'_>, route: &RoutePattern, first: &str) -> Problem {
    spot.problem(format!("`{route}` is a route already, at {first}"))
        .hint("each route leads to one service: remove one of the two or change its host or path")
}

/// The items of a list that has at least one and not too many.
pub(super) fn items<'t>(
    spot: &Spot<'t>,
    most: usize,
    hint: &str,
) -> Result<Vec<Spot<'t>>, Problem> {
    let all = one_or_more(spot);
    match all.len() {
        0 => Err(spot
            .problem("an empty list means nothing")
            .hint(format!("{hint}, or leave it out"))),
        n if n > most => Err(spot.problem(format!("{n} of them, {most} is the most")).hint(hint)),
        _ => Ok(all),
    }
}

pub(super) fn methods(spot: &Spot<'_>) -> Result<Methods, Problem> {
    const HINT: &str = "write `methods = [\"GET\", \"POST\"]`";
    let mut methods = Methods::default();
    for spot in items(spot, bounds::METHODS, HINT)? {
        let text = values::text(&spot).map_err(|problem| problem.hint(HINT))?;
        methods.add(text).map_err(|error| spot.problem(error.to_string()).hint(HINT))?;
    }
    Ok(methods)
}

pub(super) fn networks(spot: &Spot<'_>) -> Result<Networks, Problem> {
    const HINT: &str = "write networks such as [\"10.0.0.0/8\", \"2001:db8::/32\"]";
    let spots = items(spot, bounds::NETWORKS, HINT)?;
    let networks = spots.iter().map(|spot| {
        let text = values::text(spot).map_err(|problem| problem.hint(HINT))?;
        network(text).ok_or_else(|| spot.problem("not a network of addresses").hint(HINT))
    });
    networks.collect()
}

/// A network, or one address.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn read_rates(table: &mut Table<'_, '_>) -> Vec<RateLimit> {
    let Some(all) = table.get("rate") else { return Vec::new() };
    let spots = match items(&all, bounds::RATES, RATE.example) {
        Ok(spots) => spots,
        Err(problem) => {
            table.report(problem);
            return Vec::new();
        }
    };
    let rates = spots.iter().filter_map(|spot| {
        let mut table = table.open_at(spot, Some(&RATE))?;
        read_limit(&mut table)
    });
    rates.collect()
}

fn read_limit(table: &mut Table<'_, '_>) -> Option<RateLimit> {
    let rate = read_rate(table, &RATE);
    let by = table.read("by", |spot| match values::text(spot)? {
        "client" => Ok(RateKey::Client),
        "route" => Ok(RateKey::Route),
        _ => Err(spot.problem("unknown key").hint("write `by = \"client\"` or `by = \"route\"`")),
    });
    Some(RateLimit { rate: rate?, by: by.or(RateKey::Route) })
}

/// Reads how many requests there may be in which time.
pub(super) fn read_rate(table: &mut Table<'_, '_>, shape: &Shape) -> Option<Rate> {
    let number = |spot: &Spot<'_>| values::integer(spot, bounds::RATE_REQUESTS);
    let requests = table.read("requests", number);
    let per = table.read("per", |spot| values::time(spot, bounds::RATE_PER));
    let burst = table.read("burst", number).some();
    for (key, is_absent) in [("requests", requests == Given::Absent), ("per", per == Given::Absent)]
    {
        if is_absent {
            let problem = table.spot().problem(format!("the limit has no `{key}`"));
            table.report(problem.hint(shape.example));
        }
    }
    let (requests, per) = (requests.some()?, per.some()?);
    Some(Rate { requests, per, burst: burst.unwrap_or(requests) })
}
