//! Jobs as they are named on the command line: NAME, KIND/NAME, or, as with kubectl, KIND NAME...

/// A job's kind (empty: any) and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Target {
    /// Reads NAME or KIND/NAME.
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((kind, name)) => Self { kind: kind.into(), name: name.into() },
            None => Self { kind: String::new(), name: text.into() },
        }
    }
}

/// Kinds of jobs as far as they are known here, in the singular. `job` means any.
const KINDS: [&str; 9] = [
    "job",
    "jaxjob",
    "mpijob",
    "mxjob",
    "paddlejob",
    "pytorchjob",
    "tfjob",
    "trainjob",
    "xgboostjob",
];

/// Whether a word is one of the [`KINDS`]: in any case, in the plural, with its group.
fn is_kind(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let kind = word.split_once('.').map_or(word.as_str(), |(kind, _)| kind);
    KINDS.contains(&kind.strip_suffix('s').unwrap_or(kind))
}

impl Target {
    /// Reads NAME..., KIND/NAME... or KIND NAME...
    pub(crate) fn parse_all(words: &[String]) -> Vec<Self> {
        let kind = match words {
            [first, _, ..] if is_kind(first) => Some(first),
            _ => None,
        };
        let names = &words[usize::from(kind.is_some())..];
        let kind =
            kind.map_or(
                "",
                |kind| if kind.to_ascii_lowercase().starts_with("job") { "" } else { kind },
            );
        let named = |word: &String| {
            let target = Self::parse(word);
            if target.kind.is_empty() { Self { kind: kind.to_owned(), ..target } } else { target }
        };
        names.iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_optional() {
        assert_eq!(Target::parse("a"), Target { kind: String::new(), name: "a".into() });
        let full = Target { kind: "pytorchjob".into(), name: "a".into() };
        assert_eq!(Target::parse("pytorchjob/a"), full);
    }

    #[test]
    fn the_kind_may_stand_in_front_of_names() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let targets = Target::parse_all(&words);
            targets.iter().map(|t| format!("{}/{}", t.kind, t.name)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(parse(&["a", "b"]), "/a /b");
        assert_eq!(parse(&["pytorchjob", "a", "b"]), "pytorchjob/a pytorchjob/b");
        assert_eq!(parse(&["jobs", "a"]), "/a");
        assert_eq!(parse(&["PyTorchJob", "other/a"]), "other/a");
        assert_eq!(
            parse(&["tfjobs.kubeflow.org", "a", "b"]),
            "tfjobs.kubeflow.org/a tfjobs.kubeflow.org/b"
        );
        assert_eq!(parse(&["tfjobx", "a"]), "/tfjobx /a");
        // A job may have such a name.
        assert_eq!(parse(&["pytorchjob"]), "/pytorchjob");
    }
}
