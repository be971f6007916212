//! Jobs as they are named on the command line: NAME or KIND/NAME.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_optional() {
        assert_eq!(Target::parse("a"), Target { kind: String::new(), name: "a".into() });
        let full = Target { kind: "pytorchjob".into(), name: "a".into() };
        assert_eq!(Target::parse("pytorchjob/a"), full);
    }
}
