//! How long something takes. The middle of several tries says it: on a machine with other work to do a single one does not.

use std::time::Duration;

/// Several tries, the shortest first.
#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Tries it five times.
    pub fn of_five(one: impl FnMut(usize) -> Duration) -> Times {
        let mut times: Vec<Duration> = (0..5).map(one).collect();
        times.sort();
        Times(times)
    }

    /// The try in the middle took at most this many milliseconds, and the longest at most that many. For the test to
    /// print.
    #[must_use]
    pub fn within(&self, what: &str, middle: u64, longest: u64) -> String {
        let [_, _, third, _, last] = self.0[..] else { panic!("{:?}", self.0) };
        assert!(third <= Duration::from_millis(middle), "{what}: more than {middle} ms in the middle of {:?}", self.0);
        assert!(last <= Duration::from_millis(longest), "{what}: more than {longest} ms once in {:?}", self.0);
        format!("{what}: {:?}", self.0)
    }
}

#[test]
fn one_slow_try_is_forgiven_and_three_are_not() {
    let tried = |slow: usize| Times::of_five(|number| Duration::from_millis(if number < slow { 300 } else { 10 }));
    assert_eq!(tried(2).within("two", 200, 300), "two: [10ms, 10ms, 10ms, 300ms, 300ms]");
    assert!(std::panic::catch_unwind(|| tried(3).within("three", 200, 1_000)).is_err());
    assert!(std::panic::catch_unwind(|| tried(1).within("one", 200, 299)).is_err());
}
