//! Bounds that change by the clock.
//!
//! Patterns are those of cron with five fields, read by `croner`; zones are those of the IANA time
//! zone database that is built in, so that every node of a version agrees about them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp, Zoned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Scale;

/// Bounds that are in force from a moment on, until those of another moment are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduledBounds {
    /// When they begin.
    pub cron: Cron,
    /// Whose clock it is.
    #[serde(default)]
    pub zone: Zone,
    /// The lower bound; the service's own if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The upper bound; the service's own if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// A pattern of minutes, hours, days of the month, months and days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron(String);

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(String);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// It is too long to be one.
    #[error("a pattern of over {} characters", Cron::MOST_CHARS)]
    TooLong,
    /// It has more or fewer fields.
    #[error("{0} fields, a pattern has 5")]
    Fields(usize),
    /// A field cannot be read.
    #[error("not a cron pattern: {0}")]
    Pattern(String),
    /// There is no such day, or next to never.
    #[error("it does not happen within four years")]
    Never,
}

/// There is no such zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no time zone `{0}` in the IANA database")]
pub struct UnknownZone(String);

impl Cron {
    /// Longer texts are not read.
    pub const MOST_CHARS: usize = 200;

    /// When it happened last, `now_ms` included, and when it happens next; as milliseconds since
    /// the Unix epoch.
    ///
    /// A time that a zone's clock leaves out counts when the clock goes on; one that it shows
    /// twice counts once.
    pub fn around(&self, zone: &Zone, now_ms: u64) -> (Option<u64>, Option<u64>) {
        let Some(now) = local(zone, now_ms) else { return (None, None) };
        let Ok(pattern) = pattern(&self.0) else { return (None, None) };
        let last = pattern.find_previous_occurrence(&now, true).ok();
        let next = pattern.find_next_occurrence(&now, false).ok();
        (last.as_ref().and_then(unix_ms), next.as_ref().and_then(unix_ms))
    }
}

fn pattern(text: &str) -> Result<croner::Cron, croner::errors::CronError> {
    let parser = croner::parser::CronParser::builder();
    let parser = parser.seconds(croner::parser::Seconds::Disallowed);
    parser.year(croner::parser::Year::Disallowed).build().parse(text)
}

fn local(zone: &Zone, now_ms: u64) -> Option<Zoned> {
    let second = i64::try_from(now_ms / 1_000).ok()?;
    Some(Timestamp::from_second(second).ok()?.to_zoned(zone.time_zone()?))
}

fn unix_ms(at: &Zoned) -> Option<u64> {
    u64::try_from(at.timestamp().as_millisecond()).ok()
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        if text.chars().count() > Self::MOST_CHARS {
            return Err(InvalidCron::TooLong);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != 5 {
            return Err(InvalidCron::Fields(fields.len()));
        }
        let cron = Self(fields.join(" "));
        pattern(&cron.0).map_err(|error| InvalidCron::Pattern(error.to_string()))?;
        // A search for what never happens would go on for thousands of years.
        match happens(&fields[2..]) {
            true => Ok(cron),
            false => Err(InvalidCron::Never),
        }
    }
}

/// Whether any day of four years in a row is one of these days, months and days of the week.
fn happens(days: &[&str]) -> bool {
    let Ok(pattern) = pattern(&format!("* * {}", days.join(" "))) else { return false };
    let first = date(2024, 1, 1);
    let all = first.series(Span::new().days(1)).take_while(|day| day.year() < 2028);
    let mut noons = all.filter_map(|day| day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).ok());
    noons.any(|noon| pattern.is_time_matching(&noon).unwrap_or(false))
}

impl Zone {
    /// Names of zones, for who has mistyped one.
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
    }

    fn time_zone(&self) -> Option<TimeZone> {
        TimeZoneDatabase::bundled().get(&self.0).ok()
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone(text.to_owned());
        let zone = Self(text.to_owned()).time_zone().ok_or_else(unknown)?;
        Ok(Self(zone.iana_name().unwrap_or(text).to_owned()))
    }
}

impl ScheduledBounds {
    /// Entries of one schedule: each is looked at whenever a service is.
    pub const MOST: usize = 20;

    /// The service's bounds while these are in force.
    pub fn over(&self, scale: Scale) -> Scale {
        let max = self.max.unwrap_or(scale.max);
        let min = self.min.unwrap_or(scale.min);
        // One of the two may be the service's own, which `wharf scale` changes.
        match self.max {
            Some(_) => Scale { min: min.min(max), max, ..scale },
            None => Scale { min, max: max.max(min), ..scale },
        }
    }
}

impl fmt::Display for ScheduledBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.cron, self.zone)?;
        for (name, bound) in [("min", self.min), ("max", self.max)] {
            if let Some(bound) = bound {
                write!(f, " {name} {bound}")?;
            }
        }
        Ok(())
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Cron);
as_text!(Zone);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        let at: Timestamp = text.parse().expect(text);
        u64::try_from(at.as_millisecond()).expect("after 1970")
    }

    fn around(cron: &str, zone: &str, now: &str) -> (Option<u64>, Option<u64>) {
        let (cron, zone): (Cron, Zone) = (cron.parse().expect(cron), zone.parse().expect(zone));
        cron.around(&zone, ms(now))
    }

    #[test]
    fn patterns_go_by_the_clock_of_their_zone() {
        for (cron, zone, now, last, next) in [
            // A Tuesday in winter: Berlin is an hour ahead.
            (
                "0 8 * * MON-FRI",
                "Europe/Berlin",
                "2026-11-24T07:00:00Z",
                "2026-11-24T07:00:00Z",
                "2026-11-25T07:00:00Z",
            ),
            // Over a weekend, and in summer.
            (
                "0 8 * * MON-FRI",
                "Europe/Berlin",
                "2026-07-19T12:00:00Z",
                "2026-07-17T06:00:00Z",
                "2026-07-20T06:00:00Z",
            ),
            // The clocks of New York leave out 02:30 on this day.
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-08T12:00:00Z",
                "2026-03-08T07:00:00Z",
                "2026-03-09T06:30:00Z",
            ),
            (
                "0 0 29 2 *",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2024-02-29T00:00:00Z",
                "2028-02-29T00:00:00Z",
            ),
        ] {
            assert_eq!(around(cron, zone, now), (Some(ms(last)), Some(ms(next))), "{cron} {now}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for (bad, says) in [
            ("", "0 fields"),
            ("0 8 * *", "4 fields"),
            ("0 8 ? * MON-FRI *", "6 fields"),
            ("61 8 * * *", "not a cron pattern"),
            ("0 0 30 2 *", "four years"),
            ("0 8 * * NODAY", "not a cron pattern"),
        ] {
            let error = bad.parse::<Cron>().expect_err(bad).to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
        assert!("Europe/Brelin".parse::<Zone>().is_err());
        assert_eq!("europe/berlin".parse::<Zone>().expect("known").to_string(), "Europe/Berlin");
        assert!(Zone::names().iter().any(|name| name == "Europe/Berlin"));
    }

    #[test]
    fn bounds_in_force_are_never_crossed() {
        let scale = Scale { min: 10, max: 20, ..Scale::default() };
        let bounds = |min, max| {
            let (cron, zone) = ("0 8 * * *".parse().expect("a pattern"), Zone::default());
            let scale = ScheduledBounds { cron, zone, min, max }.over(scale);
            (scale.min, scale.max)
        };
        assert_eq!(bounds(Some(4), Some(40)), (4, 40));
        assert_eq!(bounds(None, Some(5)), (5, 5));
        assert_eq!(bounds(Some(30), None), (30, 30));
    }
}
