//! The three ways to write a manifest.

use std::fmt;
use std::path::Path;

/// How a manifest is written. The schema is the same in all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// TOML 1.0, the format of choice.
    Toml,
    /// YAML 1.2, one document, without tags and merge keys.
    Yaml,
    /// JSON (RFC 8259).
    Json,
}

impl Format {
    /// The format that a file name's extension stands for, if it stands for one.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Guesses the format of a manifest that has no file name, such as one from stdin.
    ///
    /// The first line that is neither empty nor a comment decides; without one it is TOML.
    pub fn sniff(text: &str) -> Self {
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        let first = first.unwrap_or_default();
        let yaml = ["---", "%", "- "].iter().any(|start| first.starts_with(start));
        match first.find(['{', '[', ':', '=']).map(|at| (at, first.as_bytes()[at])) {
            _ if yaml => Self::Yaml,
            Some((0, b'{')) => Self::Json,
            Some((_, b':')) => Self::Yaml,
            _ => Self::Toml,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Toml => "TOML",
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_and_first_lines_tell() {
        for (path, format) in [
            ("a/wharf.toml", Some(Format::Toml)),
            ("wharf.YAML", Some(Format::Yaml)),
            ("wharf.yml", Some(Format::Yaml)),
            ("wharf.json", Some(Format::Json)),
            ("wharf", None),
            ("wharf.wasm", None),
        ] {
            assert_eq!(Format::of_path(Path::new(path)), format, "{path}");
        }
        for (text, format) in [
            ("", Format::Toml),
            ("# a comment\n\n[task.a]\n", Format::Toml),
            ("task.a.image = \"x:1\"", Format::Toml),
            ("\u{feff}# c\ntask:\n  a:\n", Format::Yaml),
            ("---\n{}", Format::Yaml),
            ("\n  {\"task\": {}}", Format::Json),
        ] {
            assert_eq!(Format::sniff(text), format, "{text}");
        }
    }
}
