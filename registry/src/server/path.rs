//! What a request path names. Pure: this is where untrusted names become checked ones.
//!
//! Repository names contain slashes, and may contain components such as `blobs` and `tags`,
//! so a path is read from its end.

use std::fmt;

use http::StatusCode;

use super::failure::Failure;
use crate::digest::{Digest, quote};
use crate::reference::{is_repository, is_tag};

/// What is addressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Root,
    Catalog,
    Tags { repository: String },
    Referrers { repository: String, subject: Digest },
    Manifest { repository: String, reference: Selector },
    Blob { repository: String, digest: Digest },
    Uploads { repository: String },
    Upload { repository: String, id: String },
}

impl Target {
    /// The methods that it has, as `Allow` lists them; `dispatch` has the same.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Root => "GET, HEAD",
            Self::Catalog | Self::Tags { .. } | Self::Referrers { .. } => "GET",
            Self::Manifest { .. } => "GET, HEAD, PUT, DELETE",
            Self::Blob { .. } => "GET, HEAD, DELETE",
            Self::Uploads { .. } => "POST",
            Self::Upload { .. } => "GET, PATCH, PUT, DELETE",
        }
    }
}

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    Tag(String),
    Digest(Digest),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Reads the path of a request.
pub(super) fn parse(path: &str) -> Result<Target, Failure> {
    let decoded = decode(path).ok_or_else(|| not_found(path))?;
    let rest = match decoded.strip_prefix("/v2") {
        Some("" | "/") => return Ok(Target::Root),
        Some("/_catalog") => return Ok(Target::Catalog),
        Some(rest) => rest.strip_prefix('/').ok_or_else(|| not_found(path))?,
        None => return Err(not_found(path)),
    };
    let segments: Vec<&str> = rest.split('/').collect();
    match segments.as_slice() {
        [name @ .., "blobs", "uploads" | "uploads/"] | [name @ .., "blobs", "uploads", ""] => {
            Ok(Target::Uploads { repository: repository(name)? })
        }
        [name @ .., "blobs", "uploads", id] => {
            Ok(Target::Upload { repository: repository(name)?, id: upload_id(id)? })
        }
        [name @ .., "tags", "list"] => Ok(Target::Tags { repository: repository(name)? }),
        [name @ .., "manifests", text] => {
            Ok(Target::Manifest { repository: repository(name)?, reference: selector(text)? })
        }
        [name @ .., "blobs", text] => {
            Ok(Target::Blob { repository: repository(name)?, digest: digest(text)? })
        }
        [name @ .., "referrers", text] => {
            Ok(Target::Referrers { repository: repository(name)?, subject: digest(text)? })
        }
        _ => Err(not_found(path)),
    }
}

/// Checks a digest that came in a path or a query.
pub(super) fn digest(text: &str) -> Result<Digest, Failure> {
    text.parse::<Digest>().map_err(|error| Failure::digest_invalid(error.to_string()))
}

fn repository(segments: &[&str]) -> Result<String, Failure> {
    let name = segments.join("/");
    if is_repository(&name) {
        return Ok(name);
    }
    let message = format!("`{}` is not a repository name", quote(&name));
    Err(Failure::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message))
}

fn selector(text: &str) -> Result<Selector, Failure> {
    if text.contains(':') {
        return Ok(Selector::Digest(digest(text)?));
    }
    if is_tag(text) {
        return Ok(Selector::Tag(text.to_owned()));
    }
    Err(Failure::manifest_invalid(format!("`{}` is neither a tag nor a digest", quote(text))))
}

fn upload_id(text: &str) -> Result<String, Failure> {
    let sound = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if sound { Ok(text.to_owned()) } else { Err(Failure::upload_unknown()) }
}

/// Clients may escape the `:` of a digest. What comes out is checked like the rest.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn not_found(path: &str) -> Failure {
    let message = format!("there is nothing at `{}`", quote(path));
    Failure::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> String {
        "a/blobs/tags".to_owned()
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"x");
        let target = |path: &str| parse(path).unwrap_or_else(|f| panic!("{path}: {f:?}"));
        assert_eq!(target("/v2/"), Target::Root);
        assert_eq!(target("/v2"), Target::Root);
        assert_eq!(target("/v2/_catalog"), Target::Catalog);
        let repository = repository();
        let at = |tail: &str| target(&format!("/v2/{repository}/{tail}"));
        assert_eq!(at("tags/list"), Target::Tags { repository: repository.clone() });
        assert_eq!(at("blobs/uploads/"), Target::Uploads { repository: repository.clone() });
        assert_eq!(
            at("blobs/uploads/ab12"),
            Target::Upload { repository: repository.clone(), id: "ab12".into() }
        );
        assert_eq!(
            at(&format!("blobs/{digest}")),
            Target::Blob { repository: repository.clone(), digest }
        );
        assert_eq!(
            at(&format!("blobs/sha256%3A{}", digest.hex())),
            Target::Blob { repository: repository.clone(), digest }
        );
        let reference = Selector::Tag("v1".into());
        assert_eq!(
            at("manifests/v1"),
            Target::Manifest { repository: repository.clone(), reference }
        );
        let reference = Selector::Digest(digest);
        assert_eq!(
            at(&format!("manifests/{digest}")),
            Target::Manifest { repository: repository.clone(), reference }
        );
        assert_eq!(
            at(&format!("referrers/{digest}")),
            Target::Referrers { repository, subject: digest }
        );
    }

    #[test]
    fn nothing_leaves_the_folder() {
        for path in [
            "/v2/../manifests/x",
            "/v2/a/../../etc/manifests/x",
            "/v2/a/manifests/..",
            "/v2/a/manifests/.hidden",
            "/v2/a/manifests/x%2F..%2Fy",
            "/v2/%2e%2e/manifests/x",
            "/v2/a%2F..%2Fb/manifests/x",
            "/v2//manifests/x",
            "/v2/A/manifests/x",
            "/v2/a%00b/manifests/x",
            "/v2/a/blobs/sha256:..",
            "/v2/a/blobs/uploads/..",
            "/v2/a/blobs/uploads/x%2Fy",
            "/v2/_x/tags/list",
            "/v2/a%zz/tags/list",
            "/v2/a%2",
            "/v2/%ff/tags/list",
            "/v3/",
            "/v2x/",
            "/v2/tags/list",
            "/v2/a,b/tags/list",
            "/v2/a/manifests/sha256:x",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
        let long = format!("/v2/{}/tags/list", "a".repeat(256));
        assert!(parse(&long).is_err());
    }
}
