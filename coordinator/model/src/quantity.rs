//! Kubernetes quantities (`500m`, `1.5Gi`, `2e3`) as exact fixed-point numbers.
//!
//! Grammar and suffixes are those of `resource.Quantity` in `k8s.io/apimachinery`: a signed
//! decimal number followed by a binary suffix (`Ki` .. `Ei`), a decimal suffix (`n u m k M G T P E`)
//! or a decimal exponent (`e3`, `E3`). Values are held in nano-units (10^-9), which is the finest that
//! the upstream grammar can say; finer digits round up, as upstream does.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const NANO: i128 = 1_000_000_000;

/// An exact number of nano-units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    nanos: i128,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// There is no number at the start.
    #[error("has no number")]
    NoNumber,
    /// The letters behind the number are no suffix.
    #[error(
        "has the unknown suffix {0:?}; use one of Ki Mi Gi Ti Pi Ei, n u m k M G T P E, or an exponent such as e3"
    )]
    Suffix(String),
    /// The value does not fit.
    #[error("is out of range")]
    Range,
}

impl Quantity {
    /// The value in units (cores, bytes, devices), rounded up. `None` when negative or too large.
    #[must_use]
    pub fn units(self) -> Option<u64> {
        Self::scaled(self.nanos, NANO)
    }

    /// The value in thousandths of a unit (millicores), rounded up. `None` when negative or too
    /// large.
    #[must_use]
    pub fn millis(self) -> Option<u64> {
        Self::scaled(self.nanos, NANO / 1000)
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    fn scaled(nanos: i128, per: i128) -> Option<u64> {
        if nanos < 0 {
            return None;
        }
        u64::try_from(nanos.checked_add(per - 1)? / per).ok()
    }
}

/// The power of two or ten that a suffix stands for, in nano-units per digit.
fn multiplier(suffix: &str) -> Result<i128, QuantityError> {
    Ok(match suffix {
        "" => NANO,
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "k" => NANO * 1_000,
        "M" => NANO * 1_000_000,
        "G" => NANO * 1_000_000_000,
        "T" => NANO * 1_000_000_000_000,
        "P" => NANO * 1_000_000_000_000_000,
        "E" => NANO * 1_000_000_000_000_000_000,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        "Ti" => NANO << 40,
        "Pi" => NANO << 50,
        "Ei" => NANO << 60,
        other => match other.strip_prefix(['e', 'E']) {
            Some(digits) => exponent(digits).ok_or_else(|| QuantityError::Suffix(other.into()))?,
            None => return Err(QuantityError::Suffix(other.into())),
        },
    })
}

fn exponent(digits: &str) -> Option<i128> {
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let power: i32 = digits.parse().ok()?;
    match power {
        0..=18 => Some(NANO * 10i128.pow(power.unsigned_abs())),
        -9..=-1 => Some(NANO / 10i128.pow(power.unsigned_abs())),
        _ => None,
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::NoNumber);
        }
        let per_unit = multiplier(suffix)?;
        let mut nanos = digits(whole)?.checked_mul(per_unit).ok_or(QuantityError::Range)?;
        // Nine decimals are kept, so that the product below cannot overflow; the rest rounds up.
        let kept = fraction.get(..9).unwrap_or(fraction);
        let dropped = fraction[kept.len()..].bytes().any(|digit| digit != b'0');
        let scale = 10i128.pow(kept.len() as u32);
        let scaled = (digits(kept)? + i128::from(dropped)) * per_unit;
        nanos = nanos.checked_add((scaled + scale - 1) / scale).ok_or(QuantityError::Range)?;
        Ok(Self { nanos: if negative { -nanos } else { nanos } })
    }
}

fn digits(text: &str) -> Result<i128, QuantityError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse::<u64>().map(i128::from).map_err(|_| QuantityError::Range)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos % NANO == 0 {
            write!(f, "{}", self.nanos / NANO)
        } else if self.nanos % (NANO / 1000) == 0 {
            write!(f, "{}m", self.nanos / (NANO / 1000))
        } else {
            write!(f, "{}n", self.nanos)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> Option<u64> {
        text.parse::<Quantity>().expect(text).units()
    }

    #[test]
    fn every_suffix_has_its_weight() {
        for (text, expected) in [
            ("0", 0),
            ("12", 12),
            ("1k", 1000),
            ("1M", 1_000_000),
            ("2G", 2_000_000_000),
            ("1Ki", 1024),
            ("1.5Gi", 1_610_612_736),
            ("1Ei", 1 << 60),
            ("1e3", 1000),
            ("1E3", 1000),
            ("1E", 1_000_000_000_000_000_000),
            ("2e-1", 1),
            ("100m", 1),
            ("1001m", 2),
            (".5k", 500),
            ("3.", 3),
            ("+7", 7),
        ] {
            assert_eq!(units(text), Some(expected), "{text}");
        }
        assert_eq!("250m".parse::<Quantity>().unwrap().millis(), Some(250));
        assert_eq!("0.1".parse::<Quantity>().unwrap().millis(), Some(100));
        assert_eq!("1n".parse::<Quantity>().unwrap().millis(), Some(1));
    }

    #[test]
    fn what_is_no_quantity_says_why() {
        assert_eq!("1.5Gx".parse::<Quantity>(), Err(QuantityError::Suffix("Gx".into())));
        assert_eq!("".parse::<Quantity>(), Err(QuantityError::NoNumber));
        assert_eq!("Gi".parse::<Quantity>(), Err(QuantityError::NoNumber));
        assert_eq!("1.2.3".parse::<Quantity>(), Err(QuantityError::NoNumber));
        assert_eq!("1e99".parse::<Quantity>(), Err(QuantityError::Suffix("e99".into())));
        assert_eq!("99999999999999999999".parse::<Quantity>(), Err(QuantityError::Range));
        assert_eq!("1 Gi".parse::<Quantity>(), Err(QuantityError::Suffix(" Gi".into())));
    }

    #[test]
    fn negative_values_parse_and_are_no_amount() {
        let value: Quantity = "-1".parse().unwrap();
        assert!(value.is_negative());
        assert_eq!(value.units(), None);
    }

    proptest! {
        #[test]
        fn display_parses_back_to_the_same_value(whole in 0u64..1 << 40, milli in 0u64..1000) {
            let value: Quantity = format!("{whole}.{milli:03}").parse().unwrap();
            prop_assert_eq!(value.to_string().parse::<Quantity>().unwrap(), value);
            prop_assert_eq!(value.millis(), Some(whole * 1000 + milli));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
