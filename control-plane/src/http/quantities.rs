//! Durations and sizes as people write them.

use std::time::Duration;

use crate::config::parse_size;
use serde::{Deserialize, Deserializer, de::Error};

/// `30s`, `5m`, `1h30m`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).map(Self).map_err(D::Error::custom)
    }
}

fn parse_span(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no duration such as 30s or 5m: {error}"))
}

/// As [`Span`], or `-1` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeepAlive(pub(super) Option<Duration>);

impl KeepAlive {
    /// Milliseconds; -1 for ever.
    pub(super) fn milliseconds(self) -> i64 {
        self.0.map_or(-1, |span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "-1" {
            return Ok(Self(None));
        }
        parse_span(&text).map(|span| Self(Some(span))).map_err(D::Error::custom)
    }
}

/// `12GB`, `512MiB` or `80%` of the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    Bytes(u64),
    /// 0 to 1.
    Share(f64),
}

impl Size {
    /// In bytes, of a device with `total` bytes.
    pub(super) fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => (total as f64 * share) as u64,
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(percent) = text.strip_suffix('%') else {
            return parse_size(&text).map(Self::Bytes).map_err(D::Error::custom);
        };
        match percent.parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Share(percent / 100.0)),
            _ => Err(D::Error::custom(format!("{text:?} is no share between 0% and 100%"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_but_for_nought_and_ever() {
        let span = |text: &str| serde_json::from_str::<Span>(text).map(|span| span.0);
        assert_eq!(span("\"5m\"").unwrap(), Duration::from_secs(300));
        assert_eq!(span("\"0\"").unwrap(), Duration::ZERO);
        assert!(span("\"-1\"").is_err() && span("\"soon\"").is_err());
        let keep =
            |text: &str| serde_json::from_str::<KeepAlive>(text).map(KeepAlive::milliseconds);
        assert_eq!(keep("\"-1\"").unwrap(), -1);
        assert_eq!(keep("\"10s\"").unwrap(), 10_000);
    }

    #[test]
    fn sizes_are_bytes_or_shares() {
        let size = |text: &str| serde_json::from_str::<Size>(text);
        assert_eq!(size("\"1KiB\"").unwrap().of(7), 1024);
        assert_eq!(size("\"50%\"").unwrap().of(1000), 500);
        assert!(size("\"0%\"").is_err() && size("\"150%\"").is_err());
    }
}
