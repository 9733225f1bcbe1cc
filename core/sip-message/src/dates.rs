//! Date, Timestamp and Retry-After (RFC 3261 §20.17, §20.38, §20.33).

use core::time::Duration;

use crate::error::{Flaw, ParseError};
use crate::grammar::{number, trim};
use crate::message::Message;
use crate::name::Name;
use crate::name_addr::seconds;
use crate::params::Params;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March here, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Reads `Sat, 13 Nov 2010 23:29:00 GMT` as seconds since 1970. Only GMT is allowed (RFC 3261 §20.17).
fn read_date(text: &str) -> Result<i64, ParseError> {
    let read = || {
        let (day_name, rest) = text.split_once(',')?;
        let mut words = rest.split_ascii_whitespace();
        let (day, month, year, time, zone) =
            (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        let day = number::<i64>(day).filter(|day| (1..=31).contains(day))?;
        let month = MONTHS.iter().position(|known| known.eq_ignore_ascii_case(month))? as i64 + 1;
        let year = number::<i64>(year).filter(|_| year.len() == 4)?;
        let mut clock = time.split(':').map(|part| (part.len() == 2).then(|| number::<i64>(part))?);
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let known_day = DAYS.iter().any(|known| known.eq_ignore_ascii_case(trim(day_name)));
        let good = known_day && zone == "GMT" && words.next().is_none() && clock.next().is_none();
        let good = good && hour < 24 && minute < 60 && second <= 60;
        good.then(|| days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
    };
    read().ok_or_else(|| ParseError::value(Flaw::Syntax))
}

/// Writes seconds since 1970 as a Date value (RFC 3261 §20.17): `Sat, 13 Nov 2010 23:29:00 GMT`.
pub fn date_text(seconds: u64) -> String {
    let (days, rest) = (i64::try_from(seconds / 86_400).unwrap_or(0), seconds % 86_400);
    // The inverse of `days_from_civil`, with the same years that start in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let name = |names: &[&'static str], place: i64| {
        usize::try_from(place).ok().and_then(|place| names.get(place).copied()).unwrap_or("")
    };
    // 1970-01-01 was a Thursday.
    let (weekday, month_name) = (name(&DAYS, (days + 3).rem_euclid(7)), name(&MONTHS, month - 1));
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {month_name} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Timestamp: the sender's own seconds, and the delay that the answering side added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp<'a> {
    /// The sender's number, to be sent back as it is.
    pub value: &'a str,
    /// The time between receipt of the request and sending of the response.
    pub delay: Option<Duration>,
}

fn decimal(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos = match fraction.len() {
        0 => 0,
        1..=9 => number::<u32>(fraction)? * 10u32.pow(9 - fraction.len() as u32),
        _ => return None,
    };
    let whole = if whole.is_empty() && !fraction.is_empty() { 0 } else { number::<u64>(whole)? };
    Some(Duration::new(whole, nanos))
}

impl<'a> Timestamp<'a> {
    /// Reads `54.2 0.01`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let mut words = text.split_ascii_whitespace();
        let value = words.next().filter(|value| decimal(value).is_some());
        let value = value.ok_or_else(|| ParseError::value(Flaw::Number))?;
        let delay = match words.next() {
            Some(word) => Some(decimal(word).ok_or_else(|| ParseError::value(Flaw::Number))?),
            None => None,
        };
        Ok(Timestamp { value, delay })
    }
}

/// When a refused request may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryAfter<'a> {
    /// Seconds from now.
    pub seconds: u32,
    /// How long the callee can be reached from then on, in seconds.
    pub duration: Option<u32>,
    /// A remark in parentheses, without them.
    pub comment: &'a str,
}

impl<'a> RetryAfter<'a> {
    /// Reads `120 (I'm in a meeting);duration=3600`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let bad = || ParseError::value(Flaw::Syntax);
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let seconds_read = seconds(&text[..digits]).ok_or_else(bad)?;
        let rest = trim(&text[digits..]);
        let (comment, rest) = match rest.strip_prefix('(') {
            Some(inner) => {
                let end = comment_end(inner).ok_or_else(bad)?;
                (&inner[..end], &inner[end + 1..])
            }
            None => ("", rest),
        };
        let params = Params::parse(rest)?;
        Ok(RetryAfter { seconds: seconds_read, duration: params.get("duration").and_then(seconds), comment })
    }
}

/// The place of the parenthesis that closes one already open; they nest (RFC 3261 §25.1).
fn comment_end(text: &str) -> Option<usize> {
    let mut depth = 1usize;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

impl Message {
    /// Date, in seconds since the start of 1970 (RFC 3261 §20.17).
    pub fn date(&self) -> Result<Option<i64>, ParseError> {
        self.optional(Name::Date, read_date)
    }

    /// Timestamp (RFC 3261 §20.38).
    pub fn timestamp(&self) -> Result<Option<Timestamp<'_>>, ParseError> {
        self.optional(Name::Timestamp, Timestamp::parse)
    }

    /// Retry-After (RFC 3261 §20.33).
    pub fn retry_after(&self) -> Result<Option<RetryAfter<'_>>, ParseError> {
        self.optional(Name::RetryAfter, RetryAfter::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(date_text(1_289_690_940), "Sat, 13 Nov 2010 23:29:00 GMT");
        for seconds in [0, 951_782_399, 951_782_400, 951_868_800, 1_709_251_199, 1_789_000_000, 4_102_444_800]
        {
            assert_eq!(read_date(&date_text(seconds)).unwrap(), i64::try_from(seconds).unwrap());
        }
    }

    #[test]
    fn dates() {
        assert_eq!(read_date("Sat, 13 Nov 2010 23:29:00 GMT").ok(), Some(1_289_690_940));
        assert_eq!(read_date("Thu, 01 Jan 1970 00:00:00 GMT").ok(), Some(0));
        assert_eq!(read_date("Tue, 29 Feb 2028 12:00:00 GMT").ok(), Some(1_835_438_400));
        for bad in
            ["", "Fri, 01 Jan 2010 16:00:00 EST", "Fri 01 Jan 2010 16:00:00 GMT", "Fri, 1 Jan 10 1:0:0 GMT"]
        {
            assert!(read_date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn retry_after_with_nested_comment() {
        let read = RetryAfter::parse(r"18000 (in (a\) long) meeting) ;duration=3600").unwrap();
        assert_eq!(
            (read.seconds, read.duration, read.comment),
            (18_000, Some(3600), r"in (a\) long) meeting")
        );
        assert_eq!(RetryAfter::parse("99999999999999999999").map(|read| read.seconds), Ok(u32::MAX));
        for bad in ["", "x", "5 (", "-1"] {
            assert!(RetryAfter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn timestamps() {
        let read = Timestamp::parse("54.21 0.5").unwrap();
        assert_eq!((read.value, read.delay), ("54.21", Some(Duration::from_millis(500))));
        assert!(Timestamp::parse("x").is_err() && Timestamp::parse("1 y").is_err());
    }
}
