//! Copies of requests go to somebody who is there. Pure.

use crate::model::{Mirror, MirrorTo, Name};
use crate::spec::{Manifest, Problem, Problems};

use super::super::failure::Failure;
use super::registered::Registered;

/// Services that a hint lists at most.
const LISTED: usize = 12;

/// Refuses mirrors to revisions that are not kept, and to services that do not exist.
pub(super) fn check(manifest: &Manifest, registered: &Registered) -> Result<(), Failure> {
    let mirrors = manifest.services.iter();
    let mirrors = mirrors.filter_map(|(name, service)| Some((name, service.mirror.as_ref()?)));
    let problems = mirrors.filter_map(|(name, mirror)| match &mirror.to {
        MirrorTo::Revision(number) => check_revision(name, *number, registered),
        MirrorTo::Service(other) => check_service(name, other, manifest, registered),
    });
    let problems: Vec<Problem> = problems.collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Manifest(Problems(problems))),
    }
}

fn check_revision(name: &Name, number: u64, registered: &Registered) -> Option<Problem> {
    let kept = registered.revisions.get(name).cloned().unwrap_or_default();
    if kept.contains(&number) {
        return None;
    }
    let known: Vec<String> = kept.iter().map(u64::to_string).collect();
    let hint = match known.is_empty() {
        true => "the service has no revision yet: leave `mirror` out".to_owned(),
        false => format!("revisions that are kept: {}", known.join(", ")),
    };
    let message = format!("revision {number} is not kept");
    let problem = Problem::new(&format!("service.{name}.mirror.revision"), message);
    Some(problem.value(number.to_string()).hint(hint))
}

fn check_service(
    name: &Name,
    other: &Name,
    manifest: &Manifest,
    registered: &Registered,
) -> Option<Problem> {
    if manifest.services.contains_key(other) || registered.services.contains_key(other) {
        return None;
    }
    let all = manifest.services.keys().chain(registered.services.keys());
    let mut known: Vec<&str> = all.filter(|one| *one != name).map(Name::as_str).collect();
    known.sort_unstable();
    known.dedup();
    let hint = match known.len() {
        0 => format!("declare it: `[service.{other}]`"),
        n if n > LISTED => {
            format!("services that exist: {} and {} more", known[..LISTED].join(", "), n - LISTED)
        }
        _ => format!("services that exist: {}", known.join(", ")),
    };
    let message = "no service of this name is in the manifest or registered";
    let problem = Problem::new(&format!("service.{name}.mirror.service"), message);
    Some(problem.value(other.as_str()).hint(hint))
}

/// What differs, in words.
pub(super) fn describe(before: Option<&Mirror>, after: Option<&Mirror>) -> Option<String> {
    let said = |one: Option<&Mirror>| one.map_or("none".to_owned(), Mirror::to_string);
    (before != after).then(|| format!("mirror {} → {}", said(before), said(after)))
}
