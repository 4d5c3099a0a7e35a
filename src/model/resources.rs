//! Amounts: bytes, CPU units and durations, and how people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, written `512KiB`, `64MiB`, `2GiB`, `10MB` or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// CPU units as in ECS: 1024 are one core.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CpuUnits(pub u32);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// No number stands at the start.
    #[error("expected a number followed by a unit")]
    NoNumber,
    /// No unit stands after the number.
    #[error("a unit is missing after {number}: use one of {known}")]
    NoUnit {
        /// The number.
        number: u64,
        /// The units that are understood.
        known: &'static str,
    },
    /// The unit is none of those that are known.
    #[error("unknown unit `{unit}`: use one of {known}")]
    Unit {
        /// What stood after the number.
        unit: String,
        /// The units that are understood.
        known: &'static str,
    },
    /// The amount does not fit.
    #[error("the amount is too large")]
    TooLarge,
}

const BYTE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// `n` KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The amount as `usize`, saturating where `usize` is smaller.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let (number, unit) = split_number(text)?;
        let scale = match unit {
            "" => 1,
            _ => BYTE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, n)| *n).ok_or_else(
                || InvalidQuantity::Unit {
                    unit: unit.to_owned(),
                    known: "B, KiB, MiB, GiB, KB, MB, GB",
                },
            )?,
        };
        number.checked_mul(scale).map(Self).ok_or(InvalidQuantity::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = BYTE_UNITS[..3].iter().find(|(_, n)| self.0 >= *n && self.0.is_multiple_of(*n));
        match whole {
            Some((unit, n)) => f.pad(&format!("{}{unit}", self.0 / n)),
            None => f.pad(&format!("{}B", self.0)),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn split_number(text: &str) -> Result<(u64, &str), InvalidQuantity> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Err(InvalidQuantity::NoNumber);
    }
    let number = text[..end].parse().map_err(|_| InvalidQuantity::TooLarge)?;
    Ok((number, text[end..].trim_start()))
}

/// Durations as people write them: `250ms`, `10s`, `5m`, `1h`. Also a serde `with` module.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{InvalidQuantity, split_number};

    /// The units that [`parse`] reads.
    const UNITS: &str = "ms, s, m, h";

    /// Reads `250ms`, `10s`, `5m` or `1h`. A unit is required: a bare number could be anything.
    pub fn parse(text: &str) -> Result<Duration, InvalidQuantity> {
        let (number, unit) = split_number(text)?;
        let scale_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" => return Err(InvalidQuantity::NoUnit { number, known: UNITS }),
            _ => return Err(InvalidQuantity::Unit { unit: unit.to_owned(), known: UNITS }),
        };
        number.checked_mul(scale_ms).map(Duration::from_millis).ok_or(InvalidQuantity::TooLarge)
    }

    /// Writes a duration with the largest unit that keeps it whole.
    pub fn format(value: Duration) -> String {
        let ms = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        match ms {
            0 => "0s".to_owned(),
            _ if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
            _ if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
            _ if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
            _ => format!("{ms}ms"),
        }
    }

    /// Serialises as text.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*value))
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn byte_sizes_read_and_write() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("64MiB", 64 << 20), ("1 GiB", 1 << 30), ("10MB", 10_000_000)]
        {
            assert_eq!(text.parse::<ByteSize>().expect(text), ByteSize(bytes));
        }
        for bad in ["", "MiB", "-1", "1.5GiB", "64mib", "64 M", "18446744073709551615KiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        assert_eq!(ByteSize::mib(64).to_string(), "64MiB");
        assert_eq!(ByteSize(1_500).to_string(), "1500B");
    }

    #[test]
    fn durations_read_and_write() {
        for text in ["250ms", "10s", "5m", "1h", "90s"] {
            assert_eq!(duration::format(duration::parse(text).expect(text)), text);
        }
        assert_eq!(duration::parse("60s").expect("valid"), Duration::from_secs(60));
        for (bad, says) in [
            ("", "expected a number"),
            ("10", "a unit is missing after 10"),
            ("s", "expected a number"),
            ("1d", "unknown unit `d`"),
            ("-5s", "expected a number"),
        ] {
            let error = duration::parse(bad).expect_err(bad).to_string();
            assert!(error.starts_with(says), "{bad}: {error}");
        }
    }
}
