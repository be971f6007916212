//! `$(NAME)` in environment values, commands and arguments.
//!
//! The rules are Kubernetes' (`third_party/forked/golang/expansion/expand.go`): `$(NAME)` stands for the
//! variable's value; `$$` stands for one `$`, so that `$$(NAME)` gives the text `$(NAME)`; a name that is
//! not known, a `$(` without `)` and a `$` before anything else stay as they are. A value that was
//! put in is not looked at again.

/// Replaces the references in `text`. `value_of` answers `None` for a name that is not known.
#[must_use]
pub fn expand<'v>(text: &str, value_of: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match after.as_bytes().first() {
            Some(b'$') => {
                out.push('$');
                &after[1..]
            }
            Some(b'(') => match after.find(')') {
                Some(end) => {
                    let name = &after[1..end];
                    match value_of(name) {
                        Some(value) => out.push_str(value),
                        None => {
                            out.push_str("$(");
                            out.push_str(name);
                            out.push(')');
                        }
                    }
                    &after[end + 1..]
                }
                None => {
                    out.push_str("$(");
                    &after[1..]
                }
            },
            _ => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line: the text, a `|`, what becomes of it.
    const CASES: &str = include_str!("testdata/expand.txt");

    fn known(name: &str) -> Option<&'static str> {
        match name {
            "A" => Some("alpha"),
            "B_2" => Some("beta"),
            "EMPTY" => Some(""),
            "NESTED" => Some("$(A)"),
            "DOLLAR" => Some("$"),
            "odd name" => Some("odd"),
            "ä" => Some("umlaut"),
            _ => None,
        }
    }

    #[test]
    fn the_table_of_expansions_holds() {
        let mut seen = 0;
        for line in CASES.lines().filter(|line| !line.starts_with('#')) {
            let (input, expected) = line.split_once('|').expect("every case has a bar");
            assert_eq!(expand(input, known), expected, "input {input:?}");
            seen += 1;
        }
        assert!(seen > 30, "only {seen} cases were read");
    }
}
