//! Times of the day.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A time of each day, from one minute up to another, which may be after midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    start: u16,
    end: u16,
}

impl Window {
    /// True if a minute of the day, from 0 to 1439, is in it.
    pub(super) const fn contains(self, minute: u16) -> bool {
        match self.start < self.end {
            true => self.start <= minute && minute < self.end,
            false => self.start <= minute || minute < self.end,
        }
    }
}

/// The minute of the day, where this program runs.
pub(super) fn local_minute() -> u16 {
    let now = jiff::Zoned::now();
    u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs())
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::malformed(format!("time of the day `{text}`"), "it is written as in 22:00-05:30");
        let (start, end) = text.split_once('-').ok_or_else(wrong)?;
        let window = Self { start: minute(start).ok_or_else(wrong)?, end: minute(end).ok_or_else(wrong)? };
        if window.start == window.end || window.start == DAY {
            return Err(wrong());
        }
        Ok(window)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end } = self;
        write!(out, "{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
    }
}

/// The minute of the day of a time; 24:00 is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    Some(hour * 60 + minute).filter(|time| minute < 60 && *time <= DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_go_over_midnight() {
        let is_in = |window: &str, time| window.parse::<Window>().unwrap().contains(minute(time).unwrap());
        for (window, time, wanted) in [
            ("02:00-05:00", "02:00", true),
            ("02:00-05:00", "04:59", true),
            ("02:00-05:00", "05:00", false),
            ("02:00-05:00", "01:59", false),
            ("22:00-4:30", "23:59", true),
            ("22:00-4:30", "00:00", true),
            ("22:00-4:30", "04:30", false),
            ("22:00-4:30", "21:59", false),
            ("00:00-24:00", "23:59", true),
            ("12:00-00:00", "12:00", true),
            ("12:00-00:00", "11:59", false),
        ] {
            assert_eq!(is_in(window, time), wanted, "{window} {time}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "02:00",
            "02:00-",
            "2-5",
            "02:60-05:00",
            "25:00-26:00",
            "02:00-02:00",
            "24:00-01:00",
            "+2:00-05:00",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
        assert_eq!("2:05-24:00".parse::<Window>().unwrap().to_string(), "02:05-24:00");
        assert!(local_minute() < DAY);
    }
}
