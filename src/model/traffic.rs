//! Which share of a service's requests goes where.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{HostPattern, Mark, Name, RoutePattern};

/// A share in hundredths of a percent, 0 to 100 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

/// Why text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a percentage is a number from 0 to 100 with at most two decimals, such as 5 or 0.5")]
pub struct InvalidPercent;

impl Percent {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All of it.
    pub const ALL: Self = Self(10_000);

    /// A whole number of percent, at most 100.
    pub const fn whole(percent: u16) -> Self {
        assert!(percent <= 100, "a share is at most all of it");
        Self(percent * 100)
    }

    /// Hundredths of a percent, at most 10,000.
    pub fn from_basis_points(points: u32) -> Option<Self> {
        u16::try_from(points).ok().filter(|points| *points <= Self::ALL.0).map(Self)
    }

    /// Hundredths of a percent.
    pub fn basis_points(self) -> u32 {
        self.0.into()
    }

    /// What is left of all.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(Self::ALL.0 - self.0)
    }

    /// The share of a share, rounded to the nearest hundredth.
    #[must_use]
    pub fn of(self, whole: Self) -> Self {
        let points = (self.basis_points() * whole.basis_points() + 5_000) / 10_000;
        Self(u16::try_from(points).unwrap_or(Self::ALL.0))
    }

    /// This share and a step more, at most all.
    #[must_use]
    pub fn plus(self, step: Self) -> Self {
        Self((self.0 + step.0).min(Self::ALL.0))
    }

    /// What is left of this share without `other`; nothing if that is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `part` of `whole`, rounded down; all of nothing.
    pub fn ratio(part: u32, whole: u32) -> Self {
        let points = (u64::from(part) * 10_000).checked_div(u64::from(whole)).unwrap_or(10_000);
        Self(u16::try_from(points.min(10_000)).unwrap_or(Self::ALL.0))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        f.pad(&match part {
            0 => format!("{whole}%"),
            part if part % 10 == 0 => format!("{whole}.{}%", part / 10),
            part => format!("{whole}.{part:02}%"),
        })
    }
}

impl FromStr for Percent {
    type Err = InvalidPercent;

    fn from_str(text: &str) -> Result<Self, InvalidPercent> {
        let text = text.strip_suffix('%').unwrap_or(text).trim();
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 || whole.len() > 3 {
            return Err(InvalidPercent);
        }
        let part = format!("{part:0<2}");
        let parse = |text: &str| text.parse::<u32>().map_err(|_| InvalidPercent);
        Self::from_basis_points(parse(whole)? * 100 + parse(&part)?).ok_or(InvalidPercent)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A part of the traffic as the owner of a service splits it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficTarget {
    /// The revision; `None` for the latest that was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Its share.
    pub percent: Percent,
    /// The host name that leads to it alone: `tag---host` for each host of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Name>,
    /// Requests with this header field go there, whatever its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Mark>,
    /// The same for requests with this cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Mark>,
}

impl TrafficTarget {
    /// A share of a revision, or of the latest.
    pub fn share(revision: Option<u64>, percent: Percent) -> Self {
        Self { revision, percent, tag: None, header: None, cookie: None }
    }
}

impl fmt::Display for TrafficTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision {
            Some(revision) => write!(f, "{revision} {}", self.percent)?,
            None => write!(f, "latest {}", self.percent)?,
        }
        if let Some(tag) = &self.tag {
            write!(f, " as {tag}")?;
        }
        let marks = [("header", &self.header), ("cookie", &self.cookie)];
        let marks = marks.into_iter().filter_map(|(what, mark)| Some((what, mark.as_ref()?)));
        for (i, (what, mark)) in marks.enumerate() {
            write!(f, " {} {what} {mark}", if i == 0 { "by" } else { "or" })?;
        }
        Ok(())
    }
}

/// The route `tag---host` of a route, as in Cloud Run. Only a host that is known exactly can have
/// tags.
pub fn tagged_route(route: &RoutePattern, tag: &Name) -> Option<RoutePattern> {
    let HostPattern::Exact(host) = &route.host else { return None };
    let host = HostPattern::Exact(format!("{tag}---{host}").into());
    Some(RoutePattern { host, prefix: route.prefix.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_and_written() {
        for (text, points) in [("5", 500), ("0.5", 50), ("0.05%", 5), ("100%", 10_000), ("0", 0)] {
            let percent: Percent = text.parse().expect("a percentage");
            assert_eq!(percent.basis_points(), points, "{text}");
            assert_eq!(percent.to_string().parse(), Ok(percent), "{text}");
        }
        for text in ["", "-1", "101", "100.01", "1.234", "five", ".", "1e2", "+5"] {
            assert_eq!(text.parse::<Percent>(), Err(InvalidPercent), "{text}");
        }
    }

    #[test]
    fn shares_of_shares_add_up() {
        let ten = Percent::whole(10);
        assert_eq!(ten.of(Percent::whole(50)), Percent::whole(5));
        assert_eq!(ten.rest(), Percent::whole(90));
        assert_eq!(Percent::whole(95).plus(ten), Percent::ALL);
        assert_eq!(Percent::ratio(1, 3).basis_points(), 3_333);
        assert_eq!(Percent::ratio(0, 0), Percent::ALL);
    }
}
