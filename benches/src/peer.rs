//! A peer that is measured beside Muster.

use crate::samples::is_measurement;

/// Whether a peer takes part, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// It does, in this version.
    Present(String),
    /// It does not.
    Absent(String),
}

impl Peer {
    /// A peer takes part in measurements only, and only when its version can be told.
    #[must_use]
    pub fn find(name: &str, version: impl FnOnce() -> Option<String>) -> Self {
        let peer = match is_measurement() {
            false => Self::Absent(format!("{name} takes part in measurements only (cargo bench)")),
            true => version()
                .map_or_else(|| Self::Absent(format!("{name} is not installed")), Self::Present),
        };
        match &peer {
            Self::Present(version) => println!("beside: {version}"),
            Self::Absent(why) => eprintln!("skipped: {why}"),
        }
        peer
    }

    /// Whether it takes part.
    #[must_use]
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Present(_))
    }
}
