//! Spans of time as kubectl shows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long ago a moment was, in milliseconds since 1970: `5s`, `3m12s`, `4h`, `12d`.
pub(crate) fn age(since_ms: u64) -> String {
    if since_ms == 0 {
        return "-".into();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed(now.saturating_sub(Duration::from_millis(since_ms)))
}

/// A span in at most two units.
pub(crate) fn elapsed(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{minutes}m{}s", seconds % 60),
        600..7200 => format!("{minutes}m"),
        7200..36_000 => format!("{hours}h{}m", minutes % 60),
        36_000..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_in_kubectl() {
        let shown: Vec<String> = [0, 119, 125, 599, 3000, 7300, 40_000, 200_000]
            .map(|seconds| elapsed(Duration::from_secs(seconds)))
            .into();
        assert_eq!(shown, ["0s", "119s", "2m5s", "9m59s", "50m", "2h1m", "11h", "2d"]);
        assert_eq!(age(0), "-");
    }
}
