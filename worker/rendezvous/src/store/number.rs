//! Numbers as text, the way upstream's server reads and writes them (`std::stoll` and `std::to_string`).

use std::io::Write;

/// The number at the beginning of a text: white space, a sign and digits, whatever follows. `None` if there are no
/// digits, or too many.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let start = text.iter().position(|byte| !is_space(*byte))?;
    let (negative, digits) = match &text[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    digits[..len].iter().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let number = number.checked_mul(10)?;
        if negative { number.checked_sub(digit) } else { number.checked_add(digit) }
    })
}

/// What C calls a space.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Room for the text of a number.
#[derive(Debug, Default)]
pub(crate) struct Text([u8; 20]);

impl Text {
    /// The number in decimal.
    pub(crate) fn of(&mut self, number: i64) -> &[u8] {
        let mut left = &mut self.0[..];
        write!(left, "{number}").expect("no number of 64 bits has more than 20 characters");
        let used = 20 - left.len();
        &self.0[..used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_upstream_reads_them() {
        for (text, number) in [
            (&b"0"[..], Some(0)),
            (b"41", Some(41)),
            (b"-7", Some(-7)),
            (b"+7", Some(7)),
            (b" \t\n\x0b 7", Some(7)),
            (b"12abc", Some(12)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"-9223372036854775809", None),
            (b"", None),
            (b"  ", None),
            (b"abc", None),
            (b"-", None),
            (b"- 1", None),
            (b"+-1", None),
        ] {
            assert_eq!(parse(text), number, "{:?}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(Text::default().of(number), number.to_string().as_bytes());
        }
    }
}
