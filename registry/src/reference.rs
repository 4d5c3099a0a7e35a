//! Names of images: `host[:port]/repository[:tag][@sha256:…]`.
//!
//! The grammar is that of `distribution/reference` (the Go package that Docker and skopeo
//! use), with Docker Hub's shorthand: `hello` means `docker.io/library/hello:latest`.
//!
//! *Invariant:* a `Reference` that exists is valid: its parts are safe in a URL path without
//! escaping, and every part is bounded.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{self, Digest, quote};

/// The longest reference that is read at all. The longest valid one is 255 + 1 + 128 + 72
/// bytes; anything far beyond is refused before it is looked at.
const REFERENCE_MAX_BYTES: usize = 1024;

/// The longest host and repository together, as in `distribution/reference`.
const NAME_MAX_BYTES: usize = 255;

/// The longest tag, from the OCI distribution specification.
const TAG_MAX_BYTES: usize = 128;

/// The registry that a name without a host means.
const DOCKER_HUB: &str = "docker.io";

/// A parsed image reference.
///
/// At least one of tag and digest is present: a text with neither means the tag `latest`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The host, with its port if one was given, e.g. `ghcr.io` or `127.0.0.1:7300`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path of the repository within its registry, e.g. `library/hello`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the reference is pinned to, if it is.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same image pinned to `digest`; the tag stays, for people to read.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same repository, tag and digest at another registry: a mirror, say.
    pub fn with_registry(&self, registry: &str) -> Result<Self, Error> {
        check_registry(registry)?;
        check_name_length(registry, &self.repository)?;
        Ok(Self { registry: registry.to_owned(), ..self.clone() })
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is empty.
    #[error(
        "the image reference is empty\n\
         hint: write host/repository:tag, for example ghcr.io/me/hello:1"
    )]
    Empty,
    /// The text, or its name part, is too long.
    #[error(
        "the image {part} `{value}` has {length} bytes, more than the {max} that registries \
         accept\n\
         hint: shorten it"
    )]
    TooLong {
        /// Which part: `reference`, `name` or `tag`.
        part: &'static str,
        /// The beginning of the text.
        value: String,
        /// Its length in bytes.
        length: usize,
        /// The most that is accepted, in bytes.
        max: usize,
    },
    /// The host is not a host name or address with an optional port.
    #[error(
        "`{value}` is not a registry\n\
         hint: write a host name or address, then a port if it needs one: localhost:5000"
    )]
    Registry {
        /// The text, shortened.
        value: String,
    },
    /// The repository path breaks the grammar.
    #[error(
        "`{value}` is not a repository name\n\
         hint: use lower-case letters and digits, separated by one of . _ - __ or by /"
    )]
    Repository {
        /// The text, shortened.
        value: String,
    },
    /// The repository path has upper-case letters.
    #[error(
        "`{value}` is not a repository name: names are lower case\n\
         hint: write `{lower}`"
    )]
    UpperCase {
        /// The path, shortened.
        value: String,
        /// The whole reference with the path in lower case, shortened.
        lower: String,
    },
    /// The tag breaks the grammar.
    #[error(
        "`{value}` is not a tag\n\
         hint: use up to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
    )]
    Tag {
        /// The text, shortened.
        value: String,
    },
    /// The part after `@` is not a digest.
    #[error("the reference `{value}` has a bad digest")]
    Digest {
        /// The text, shortened.
        value: String,
        /// What is wrong with it.
        #[source]
        source: digest::Error,
    },
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        check_length("reference", text, REFERENCE_MAX_BYTES)?;
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => (rest, Some(parse_digest(text, digest)?)),
        };
        let (name, tag) = split_tag(rest);
        let (registry, repository) = split_registry(name);
        check_registry(registry)?;
        if !is_repository(&repository) {
            return Err(bad_repository(text, name));
        }
        check_name_length(registry, &repository)?;
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(checked_tag(tag)?.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether `text` is a repository path: components of lower-case letters and digits, joined
/// by `/`, each with single separators `.`, `_`, `__` or any number of `-` inside.
pub(crate) fn is_repository(text: &str) -> bool {
    text.len() <= NAME_MAX_BYTES && text.split('/').all(is_component)
}

/// Whether `text` is a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_MAX_BYTES
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else {
        return false;
    };
    let separators = text.split(|c: char| c.is_ascii() && alphanumeric(c as u8));
    alphanumeric(first)
        && alphanumeric(last)
        && separators
            .filter(|s| !s.is_empty())
            .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// The tag starts at the last `:` that comes after the last `/`: earlier ones belong to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let path_start = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[path_start..].rfind(':') {
        Some(colon) => (&text[..path_start + colon], Some(&text[path_start + colon + 1..])),
        None => (text, None),
    }
}

/// The first component is a host only if it looks like one; otherwise the name is Docker Hub's.
fn split_registry(name: &str) -> (&str, String) {
    match name.split_once('/') {
        Some((host, path)) if looks_like_host(host) => {
            let registry = if host == "index.docker.io" { DOCKER_HUB } else { host };
            let official = registry == DOCKER_HUB && !path.contains('/');
            let prefix = if official { "library/" } else { "" };
            (registry, format!("{prefix}{path}"))
        }
        Some(_) => (DOCKER_HUB, name.to_owned()),
        None => (DOCKER_HUB, format!("library/{name}")),
    }
}

/// What is wrong with the path of `name`, in the words of who wrote `text`.
fn bad_repository(text: &str, name: &str) -> Error {
    let path = match name.split_once('/') {
        Some((host, path)) if looks_like_host(host) => path,
        _ => name,
    };
    let lower = path.to_ascii_lowercase();
    if lower == path || !is_repository(&lower) {
        return Error::Repository { value: quote(path) };
    }
    let (host, rest) = (&name[..name.len() - path.len()], &text[name.len()..]);
    Error::UpperCase { value: quote(path), lower: quote(&format!("{host}{lower}{rest}")) }
}

fn looks_like_host(text: &str) -> bool {
    text == "localhost"
        || text.contains(['.', ':', '['])
        || text.chars().any(|c| c.is_ascii_uppercase())
        || text.is_empty()
}

fn check_registry(text: &str) -> Result<(), Error> {
    let refused = || Error::Registry { value: quote(text) };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(refused)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| refused())?;
            match after {
                "" => (None, None),
                _ => (None, Some(after.strip_prefix(':').ok_or_else(refused)?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    if let Some(port) = port
        && (!port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err())
    {
        return Err(refused());
    }
    if host.is_some_and(|host| !host.split('.').all(is_host_label)) {
        return Err(refused());
    }
    Ok(())
}

fn is_host_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn check_name_length(registry: &str, repository: &str) -> Result<(), Error> {
    check_length("name", &format!("{registry}/{repository}"), NAME_MAX_BYTES)
}

fn check_length(part: &'static str, text: &str, max: usize) -> Result<(), Error> {
    if text.len() <= max {
        return Ok(());
    }
    Err(Error::TooLong { part, value: quote(text), length: text.len(), max })
}

fn checked_tag(tag: &str) -> Result<&str, Error> {
    check_length("tag", tag, TAG_MAX_BYTES)?;
    if is_tag(tag) { Ok(tag) } else { Err(Error::Tag { value: quote(tag) }) }
}

fn parse_digest(whole: &str, digest: &str) -> Result<Digest, Error> {
    digest.parse().map_err(|source| Error::Digest { value: quote(whole), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Reference>().unwrap_or_else(|e| panic!("{text}: {e}")).to_string()
    }

    fn refused(text: &str) -> Error {
        text.parse::<Reference>().expect_err(text)
    }

    #[test]
    fn docker_hub_shorthand_is_normalised() {
        assert_eq!(parsed("hello"), "docker.io/library/hello:latest");
        assert_eq!(parsed("me/hello:1"), "docker.io/me/hello:1");
        assert_eq!(parsed("docker.io/hello"), "docker.io/library/hello:latest");
        assert_eq!(parsed("index.docker.io/me/hello"), "docker.io/me/hello:latest");
    }

    #[test]
    fn hosts_ports_tags_and_digests_are_told_apart() {
        let digest = Digest::of(b"x");
        let text = format!("127.0.0.1:7300/a/b-c__d:v1.0_x@{digest}");
        let reference: Reference = text.parse().expect("valid");
        assert_eq!(reference.registry(), "127.0.0.1:7300");
        assert_eq!(reference.repository(), "a/b-c__d");
        assert_eq!(reference.tag(), Some("v1.0_x"));
        assert_eq!(reference.digest(), Some(digest));
        assert_eq!(reference.to_string(), text);
        assert_eq!(parsed("localhost/x"), "localhost/x:latest");
        assert_eq!(parsed("[::1]:5000/x:1"), "[::1]:5000/x:1");
        assert_eq!(parsed("[::1]/x"), "[::1]/x:latest");
        let pinned: Reference = format!("ghcr.io/x@{digest}").parse().expect("valid");
        assert_eq!((pinned.tag(), pinned.target()), (None, digest.to_string()));
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        assert_eq!(refused(""), Error::Empty);
        let huge = "a".repeat(64 << 10);
        assert!(matches!(refused(&huge), Error::TooLong { part: "reference", .. }));
        let long = format!("ghcr.io/{}", "a".repeat(250));
        assert!(matches!(refused(&long), Error::TooLong { part: "name", .. }));
        let tag = format!("ghcr.io/a:{}", "t".repeat(129));
        assert!(matches!(refused(&tag), Error::TooLong { part: "tag", .. }));
        for bad in [
            "ghcr.io/Hello",
            "ghcr.io/héllo",
            "ghcr.io/a//b",
            "ghcr.io/../b",
            "a b",
            "-a",
            "ghcr.io/a_",
            "ghcr.io/a..b",
            "ghcr.io/a___b",
            "ghcr.io/",
            "/",
            "ghcr.io/a?b=c",
        ] {
            assert!(
                matches!(
                    refused(bad),
                    Error::Repository { .. } | Error::Registry { .. } | Error::UpperCase { .. }
                ),
                "{bad}"
            );
        }
        for bad in [
            "ghcr.io:x/a",
            "ghcr.io:99999/a",
            "[::1/a",
            "[::1]x/a",
            "-x.io/a",
            "a..b/c",
            "gh cr.io/a",
            "user@ghcr.io/a",
            "GHCR_IO/a",
            "ghcr.io:/a",
        ] {
            let error = refused(bad);
            assert!(
                matches!(error, Error::Registry { .. } | Error::Digest { .. }),
                "{bad}: {error:?}"
            );
        }
        for bad in ["ghcr.io/a:", "ghcr.io/a:.x", "ghcr.io/a:x y", "ghcr.io/a:é"] {
            assert!(matches!(refused(bad), Error::Tag { .. }), "{bad}");
        }
        assert!(matches!(refused("ghcr.io/a@sha256:12"), Error::Digest { .. }));
        assert!(matches!(refused("ghcr.io/a@md5:12"), Error::Digest { .. }));
    }

    #[test]
    fn upper_case_is_mended_and_the_shorthand_not_shown() {
        for (bad, path, mended) in [
            ("HELLO:1", "HELLO", "hello:1"),
            ("ghcr.io/Me/Hello:V1", "Me/Hello", "ghcr.io/me/hello:V1"),
            ("wharf.internal/A", "A", "wharf.internal/a"),
        ] {
            let expected = Error::UpperCase { value: path.to_owned(), lower: mended.to_owned() };
            assert_eq!(refused(bad), expected);
        }
        assert_eq!(refused("a b"), Error::Repository { value: "a b".to_owned() });
    }

    #[test]
    fn every_error_has_a_hint_in_its_chain() {
        for bad in ["", "ghcr.io/A", "ghcr.io/a:.", "gh cr/a:b", "ghcr.io:x/a", "a@sha256:1"] {
            let error = refused(bad);
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let text = format!("{error}{}", source.unwrap_or_default());
            assert!(text.contains("hint: "), "{text}");
        }
    }

    #[test]
    fn a_mirror_keeps_everything_else() {
        let reference: Reference = "me/hello:1".parse().expect("valid");
        let mirror = reference.with_registry("mirror.local:5000").expect("a valid host");
        assert_eq!(mirror.to_string(), "mirror.local:5000/me/hello:1");
        assert!(reference.with_registry("a/b").is_err());
    }

    #[test]
    fn serde_uses_the_text() {
        let reference: Reference = serde_json::from_str("\"hello\"").expect("valid");
        let json = serde_json::to_string(&reference).expect("serialises");
        assert_eq!(json, "\"docker.io/library/hello:latest\"");
        assert!(serde_json::from_str::<Reference>("\"\"").is_err());
    }
}
