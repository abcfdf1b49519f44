//! How long something took, in the two or three figures that people read: `45s`, `3m20s`, `5h`, `2d4h`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time since then, `<unknown>` where there is no then.
pub fn since(then: &Value, now: Timestamp) -> String {
    moment(then).map_or_else(|| "<unknown>".to_owned(), |then| text(now.duration_since(then)))
}

/// The time that a value holds.
pub fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A duration as people read it.
pub fn text(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    // A clock may be a little behind another.
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two((seconds, MINUTE, "m"), (1, 60, "s")),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two((seconds, HOUR, "h"), (MINUTE, 60, "m")),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two((seconds, DAY, "d"), (HOUR, 24, "h")),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two((seconds, YEAR, "y"), (DAY, 365, "d")),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// In two units, of which the smaller one is left out where there is none of it.
fn two((seconds, unit, name): (i64, i64, &str), (small, most, small_name): (i64, i64, &str)) -> String {
    match seconds / small % most {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{small_name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_the_coarser() {
        let rows = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (10 * MINUTE + 5, "10m"),
            (179 * MINUTE, "179m"),
            (3 * HOUR, "3h"),
            (7 * HOUR + 20 * MINUTE, "7h20m"),
            (47 * HOUR, "47h"),
            (2 * DAY + 4 * HOUR, "2d4h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + 3 * DAY, "2y3d"),
            (9 * YEAR + DAY, "9y"),
        ];
        for (seconds, shown) in rows {
            assert_eq!(text(SignedDuration::from_secs(seconds)), shown, "{seconds} s");
        }
    }
}
