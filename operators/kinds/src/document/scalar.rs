//! What a plain YAML scalar means: the YAML 1.1 rules of `sigs.k8s.io/yaml` (`goyaml.v2/resolve.go`),
//! which every Kubernetes tool applies. `yes`, `on` and `y` are true, `no`, `off` and `n` false,
//! `0777` and `0o777` are octal, `1_000` is a thousand, `12:30` and dates are texts.

use serde_json::{Number, Value};

/// A scalar that has no counterpart in JSON, or not the type that its tag names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) String);

/// The meaning of a plain scalar without a tag.
pub(super) fn resolve(text: &str) -> Result<Value, Unfit> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => {
            return Err(Unfit(format!(
                "{text} has no counterpart in JSON; put it in quotes if it is meant as a text"
            )));
        }
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    })
}

/// The meaning of a scalar with a tag of the YAML core schema, such as `int` for `!!int`.
pub(super) fn resolve_tagged(tag: &str, text: &str) -> Result<Value, Unfit> {
    if matches!(tag, "str" | "timestamp" | "merge") {
        return Ok(text.into());
    }
    if tag == "binary" {
        return Err(Unfit(
            "!!binary has no counterpart in JSON; write the base64 text without the tag".into(),
        ));
    }
    let value = resolve(text)?;
    let fits = match tag {
        "null" => value.is_null(),
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        _ => return Ok(text.into()),
    };
    if fits { Ok(value) } else { Err(Unfit(format!("{text:?} is no value for the tag !!{tag}"))) }
}

/// A mapping key as the text that JSON wants.
pub(super) fn key(value: &Value) -> Result<String, Unfit> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(match number.as_f64() {
            Some(float) if number.is_f64() => show_float(float),
            _ => number.to_string(),
        }),
        Value::Null => {
            Err(Unfit("an empty key (null) has no counterpart in JSON; put it in quotes".into()))
        }
        Value::Array(_) | Value::Object(_) => {
            Err(Unfit("a key must be a text, found a list or an object".into()))
        }
    }
}

fn number(text: &str) -> Option<Number> {
    match text.as_bytes().first()? {
        b'.' => float(text),
        b'+' | b'-' | b'0'..=b'9' => {
            let plain = text.replace('_', "");
            integer(&plain).or_else(|| is_decimal(&plain).then(|| float(&plain))?)
        }
        _ => None,
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`: a sign, a base prefix, digits.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (base, digits) = match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` would accept a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        0i64.checked_sub_unsigned(magnitude).map(Number::from)
    } else {
        Some(magnitude.into())
    }
}

/// Whether a text is a decimal number, possibly with a fraction and an exponent.
fn is_decimal(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    mantissa_fits
        && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// A float as Go writes it into JSON, where `1.0` is `1`.
fn float(text: &str) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value: f64 = text.parse().ok()?;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Some(Number::from(value as i64));
    }
    // `None` when it is infinite: then it is a text, as for Go.
    Number::from_f64(value)
}

/// A float key as Go's `strconv.FormatFloat(x, 'g', -1, 32)` writes it.
fn show_float(value: f64) -> String {
    let narrow = value as f32;
    let text = format!("{narrow:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.parse::<i32>() {
        Ok(-4..6) => narrow.to_string(),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => text,
    }
}
