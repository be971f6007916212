//! The syntax of names that Kubernetes defines (`k8s.io/apimachinery/pkg/util/validation`).

use muster_model::is_dns1123_subdomain;

/// What [`is_label_key`] wants.
pub(crate) const LABEL_KEY: &str = "a key has up to 63 letters, digits, '-', '_' or '.', starts and ends with a letter or digit, and may follow a DNS name and '/'";

/// What [`is_label_value`] wants.
pub(crate) const LABEL_VALUE: &str = "a label has up to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or digit";

/// What [`is_dns_label`] wants.
pub(crate) const DNS_LABEL: &str =
    "use up to 63 lower-case letters, digits or '-', with a letter or digit at both ends";

/// What [`is_port_name`] wants.
pub(crate) const PORT_NAME: &str =
    "use up to 15 lower-case letters, digits or single '-' within, at least one of them a letter";

/// Whether a text can be a label or annotation key, or the name of a resource.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_label_name(text),
        Some((prefix, name)) => is_dns1123_subdomain(prefix) && is_label_name(name),
    }
}

/// Whether a text can be the value of a label.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

fn is_label_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether a text is a DNS-1123 label: the name of a container or volume.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_dns1123_subdomain(text)
}

/// Whether a text can name a port (an IANA service name).
pub(crate) fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_label(text)
        && !text.contains("--")
        && text.bytes().any(|b| b.is_ascii_lowercase())
}

/// Whether a text can name an environment variable: printable ASCII without `=`.
pub(crate) fn is_env_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        let long = "a".repeat(64);
        for (check, good, bad) in [
            (
                is_label_key as fn(&str) -> bool,
                &["a", "A_b.c-1", "example.com/gpu", &long[..63]][..],
                &["", "-a", "a-", "a/b/c", "/a", "a/", "Ex.com/a", "a b", &long][..],
            ),
            (is_label_value, &["", "1", "v1.2_3"], &["-", "a b", "ä", &long]),
            (is_dns_label, &["a", "1-a"], &["", "a.b", "A", "a-", &long]),
            (is_port_name, &["http", "p2p-0"], &["", "80", "a--b", "-a", "pytorchjob-port0"]),
            (is_env_name, &["A", "a.b-c", "1"], &["", "A=B", "ä", "A\n"]),
        ] {
            for text in good {
                assert!(check(text), "{text}");
            }
            for text in bad {
                assert!(!check(text), "{text}");
            }
        }
    }
}
