//! The syntax of names that Kubernetes defines (`k8s.io/apimachinery/pkg/util/validation`).

use muster_model::is_dns1123_subdomain;
pub(crate) use muster_model::{LABEL_KEY, LABEL_VALUE, is_label_key, is_label_value};

/// What [`is_dns_label`] wants.
pub(crate) const DNS_LABEL: &str =
    "use up to 63 lower-case letters, digits or '-', with a letter or digit at both ends";

/// What [`is_port_name`] wants.
pub(crate) const PORT_NAME: &str =
    "use up to 15 lower-case letters, digits or single '-' within, at least one of them a letter";

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
                is_dns_label as fn(&str) -> bool,
                &["a", "1-a"][..],
                &["", "a.b", "A", "a-", &long][..],
            ),
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
