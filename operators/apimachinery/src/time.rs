//! Times and ages as Kubernetes writes them.

/// A time of RFC 3339 in UTC or with an offset, in Unix seconds; fractions are dropped. `None` when it is none, or lies
/// before 1970.
#[must_use]
pub fn parse_time(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let clock = time.get(..8)?;
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let rest = time.get(8..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match zone {
        "Z" | "z" => 0,
        other => {
            let (hours, minutes) = other.get(1..)?.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            match other.as_bytes().first()? {
                b'+' => minutes * 60,
                b'-' => -minutes * 60,
                _ => return None,
            }
        }
    };
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
    let fits =
        fits && (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    if !fits || !(1970..=9999).contains(&year) {
        return None;
    }
    // Days since 1970-01-01 in the Gregorian calendar; the year begins in March, so that the leap day is its last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second - offset).ok()
}

/// An age in seconds as `k8s.io/apimachinery/pkg/util/duration.HumanDuration` writes it: two units while it is young.
pub(crate) fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |first: u64, unit: &str, rest: u64, small: &str| match rest {
        0 => format!("{first}{unit}"),
        rest => format!("{first}{unit}{rest}{small}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 2920 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_fractions_and_offsets() {
        for text in
            ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.123456Z", "2023-11-14T23:43:20+01:30"]
        {
            assert_eq!(parse_time(text), Some(1_700_000_000), "{text}");
        }
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_time("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        for wrong in [
            "",
            "x",
            "2023-11-14",
            "2023-13-14T22:13:20Z",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:2éZ",
        ] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages_have_two_units_while_they_are_young() {
        let cases = [
            (5, "5s"),
            (119, "119s"),
            (120, "2m"),
            (123, "2m3s"),
            (700, "11m"),
            (14_700, "4h5m"),
            (30_000, "8h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (800 * 86_400, "2y70d"),
            (3000 * 86_400, "8y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(age(seconds), expected, "{seconds}");
        }
    }
}
