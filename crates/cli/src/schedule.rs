//! When rounds begin: slots at equal distances. Everything follows from the configuration and the time that is given; nothing
//! here looks at a clock.

use serde::Deserialize;
use thiserror::Error;

use crate::fields::{FieldError, Fields, Section};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Rounds at smaller distances would only follow one another; that is what `every` at its least does.
const EVERY_MIN_MS: u64 = 1000;
const EVERY_MAX_MS: u64 = 366 * DAY_MS;

/// Equally distant beginnings of rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Distance of two slots; none for rounds by command only.
    every_ms: Option<u64>,
    /// Slot 0, since the Unix epoch.
    start_ms: u64,
    /// A slot begins up to so much later.
    jitter_ms: u64,
    /// Makes the delays of different tasks different.
    name: String,
}

/// The beginning of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Counted from the schedule's start.
    pub(crate) number: u64,
    /// When it begins, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
}

/// What is wrong with a time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TimeError {
    #[error("write a number and s, m, h or d, for example \"90s\" or \"1h30m\"")]
    Duration,
    #[error("write a time in UTC, for example \"2026-05-01T02:30:00Z\"")]
    Instant,
}

/// `1h30m` and the like, in milliseconds.
fn duration(text: &str) -> Result<u64, TimeError> {
    let mut sum = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let (number, tail) = digits
            .and_then(|at| rest.split_at_checked(at))
            .ok_or(TimeError::Duration)?;
        let mut tail = tail.chars();
        let unit = match tail.next() {
            Some('s') => 1000,
            Some('m') => 60 * 1000,
            Some('h') => 3600 * 1000,
            Some('d') => DAY_MS,
            _ => return Err(TimeError::Duration),
        };
        let number: u64 = number.parse().map_err(|_| TimeError::Duration)?;
        sum = number
            .checked_mul(unit)
            .and_then(|part| sum.checked_add(part))
            .ok_or(TimeError::Duration)?;
        rest = tail.as_str();
    }
    if text.is_empty() {
        return Err(TimeError::Duration);
    }
    Ok(sum)
}

/// A time in UTC, in milliseconds since the Unix epoch. Years before 1970 are refused.
fn instant(text: &str) -> Result<u64, TimeError> {
    let field = |from: usize, to: usize| -> Result<u64, TimeError> {
        let digits = text
            .get(from..to)
            .filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        digits
            .and_then(|t| t.parse().ok())
            .ok_or(TimeError::Instant)
    };
    let between = [
        (4, "-"),
        (7, "-"),
        (10, "T"),
        (13, ":"),
        (16, ":"),
        (19, "Z"),
    ];
    let shaped = text.len() == 20
        && between
            .iter()
            .all(|(at, c)| text.get(*at..at + 1) == Some(*c));
    if !shaped {
        return Err(TimeError::Instant);
    }
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let february = if leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let place = usize::try_from(month).unwrap_or(usize::MAX).wrapping_sub(1);
    let length = lengths.get(place).copied().ok_or(TimeError::Instant)?;
    let in_range =
        year >= 1970 && (1..=length).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !in_range {
        return Err(TimeError::Instant);
    }
    let years: u64 = (1970..year)
        .map(|year| if leap(year) { 366 } else { 365 })
        .sum();
    let months: u64 = lengths.iter().take(place).sum();
    let days = years + months + day - 1;
    Ok(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000)
}

/// A time of the configuration, in milliseconds.
struct Time<const INSTANT: bool>(u64);

impl<'de, const INSTANT: bool> Deserialize<'de> for Time<INSTANT> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let read = if INSTANT {
            instant(&text)
        } else {
            duration(&text)
        };
        read.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Schedule {
    /// Reads `[schedule]`, if there is one; what is wrong with it is kept in `fields`.
    pub(crate) fn read<'i>(
        fields: &mut Fields<'i>,
        outer: &mut Section<'i>,
        name: &str,
    ) -> Option<Self> {
        let mut s = fields.table(outer, "schedule")?;
        let every = fields
            .optional::<Time<false>>(&mut s, "every")
            .map(|time| time.0);
        let start = fields
            .optional::<Time<true>>(&mut s, "start")
            .map(|time| time.0);
        let jitter = fields
            .optional::<Time<false>>(&mut s, "jitter")
            .map(|time| time.0);
        let mut range = |field: &str, value: Option<u64>, least: u64, most: u64| {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                fields.add(FieldError::Time {
                    field: s.field(field),
                    seconds: value / 1000,
                    least: least / 1000,
                    most: most / 1000,
                });
            }
        };
        range("every", every, EVERY_MIN_MS, EVERY_MAX_MS);
        range("jitter", jitter, 0, every.unwrap_or(0) / 2);
        if every.is_none() && (start.is_some() || jitter.is_some()) {
            fields.add(FieldError::Missing {
                field: s.field("every"),
            });
        }
        fields.end(s);
        Some(Self {
            every_ms: every,
            start_ms: start.unwrap_or(0),
            jitter_ms: jitter.unwrap_or(0),
            name: name.to_owned(),
        })
    }

    /// When a slot begins. The delay is the same each time it is asked for, so that a server that was started again in the
    /// meantime does not begin the slot a second time.
    fn at(&self, number: u64, every_ms: u64) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("veilsum/v1 schedule jitter");
        hasher
            .update(self.name.as_bytes())
            .update(&number.to_le_bytes());
        let mut drawn = [0; 8];
        hasher.finalize_xof().fill(&mut drawn);
        let jitter = u64::from_le_bytes(drawn) % self.jitter_ms.saturating_add(1);
        let before = self
            .start_ms
            .saturating_add(number.saturating_mul(every_ms));
        before.saturating_add(jitter)
    }

    /// The first slot that begins at `now_ms` or later and comes after slot `last`: one whose time has passed is missed, and
    /// none is begun twice, whatever the clock does. None for a schedule without slots.
    pub(crate) fn next(&self, now_ms: u64, last: Option<u64>) -> Option<Slot> {
        let every_ms = self.every_ms?;
        // Delays are shorter than half the distance, so one of the two is the first that has not passed.
        let passed = now_ms.saturating_sub(self.start_ms) / every_ms;
        let first = (passed..).find(|number| self.at(*number, every_ms) >= now_ms)?;
        let number = last.map_or(first, |last| first.max(last.saturating_add(1)));
        Some(Slot {
            number,
            at_ms: self.at(number, every_ms),
        })
    }

    /// Whether a slot is missed at `now_ms`: the next one has begun by then.
    pub(crate) fn is_missed(&self, slot: Slot, now_ms: u64) -> bool {
        let next = |every_ms| self.at(slot.number.saturating_add(1), every_ms);
        self.every_ms
            .is_some_and(|every_ms| now_ms >= next(every_ms))
    }

    /// How many slots were missed between the last that was begun and this one.
    pub(crate) fn missed(last: Option<u64>, slot: Slot) -> u64 {
        last.map_or(0, |last| slot.number.saturating_sub(last).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600 * 1000;

    fn hourly(jitter_ms: u64) -> Schedule {
        Schedule {
            every_ms: Some(HOUR),
            start_ms: 1000 * HOUR,
            jitter_ms,
            name: "digits".to_owned(),
        }
    }

    #[test]
    fn slots_come_at_their_times_and_missed_ones_are_skipped() {
        let schedule = hourly(0);
        let at = |hour: u64| Slot {
            number: hour,
            at_ms: (1000 + hour) * HOUR,
        };
        // Before the start, at a slot, between two, long after.
        for (now, expected) in [
            (0, 0),
            (1000 * HOUR, 0),
            (1000 * HOUR + 1, 1),
            (1001 * HOUR, 1),
            (1010 * HOUR + HOUR / 2, 11),
        ] {
            assert_eq!(schedule.next(now, None), Some(at(expected)), "{now}");
        }
        // A server that was down from slot 3 to slot 10 begins slot 11, once.
        let next = schedule.next(1010 * HOUR + 1, Some(3)).unwrap();
        assert_eq!((next, Schedule::missed(Some(3), next)), (at(11), 7));
        // Started again within the slot that it began, even if the clock was set back.
        assert_eq!(schedule.next(1003 * HOUR, Some(3)), Some(at(4)));
        assert_eq!(schedule.next(1002 * HOUR, Some(3)), Some(at(4)));
        let slot = at(4);
        assert!(!schedule.is_missed(slot, slot.at_ms + HOUR - 1));
        assert!(schedule.is_missed(slot, slot.at_ms + HOUR));
        assert_eq!(
            schedule.next(u64::MAX, None).map(|slot| slot.at_ms),
            Some(u64::MAX)
        );
    }

    #[test]
    fn delays_are_drawn_once_for_each_slot_and_task() {
        let schedule = hourly(HOUR / 2);
        let mut now = 0;
        let mut delays = Vec::new();
        for number in 0..50 {
            let slot = schedule.next(now, None).unwrap();
            assert_eq!(slot.number, number, "none is skipped, none comes twice");
            // Asked again in the meantime: the same.
            for asked in [now, slot.at_ms - 1, slot.at_ms] {
                assert_eq!(schedule.next(asked, None), Some(slot));
            }
            delays.push(slot.at_ms - (1000 + number) * HOUR);
            now = slot.at_ms + 1;
        }
        assert!(delays.iter().all(|delay| *delay <= HOUR / 2));
        let mut different = delays.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 40, "{delays:?}");
        let other = Schedule {
            name: "words".to_owned(),
            ..schedule
        };
        assert_ne!(other.next(0, None).unwrap().at_ms, delays[0] + 1000 * HOUR);
    }

    #[test]
    fn without_a_distance_there_are_no_slots() {
        let by_command = Schedule {
            every_ms: None,
            ..hourly(0)
        };
        assert_eq!(by_command.next(5, None), None);
    }

    #[test]
    fn times_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(90_000));
        assert_eq!(duration("1h30m"), Ok(90 * 60_000));
        assert_eq!(duration("7d"), Ok(7 * DAY_MS));
        for bad in [
            "",
            "5",
            "h",
            "1w",
            "-1s",
            "1 h",
            "99999999999999999999s",
            "300000000000d",
        ] {
            assert_eq!(duration(bad), Err(TimeError::Duration), "{bad}");
        }
        assert_eq!(instant("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(instant("2026-11-21T08:00:00Z"), Ok(1_795_248_000_000));
        assert_eq!(instant("2024-02-29T23:59:59Z"), Ok(1_709_251_199_000));
        for bad in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01",
            "1969-12-31T00:00:00Z",
            "20é6-01-01T00:00:00",
        ] {
            assert_eq!(instant(bad), Err(TimeError::Instant), "{bad}");
        }
    }
}
