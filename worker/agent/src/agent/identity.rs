//! Which cluster this agent's data belongs to. An agent that is pointed at another cluster by mistake is
//! refused there, instead of having its running replicas cleared as unknown.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Stored {
    cluster: String,
}

/// The agent's memory of its cluster.
#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    stored: Stored,
}

impl Identity {
    /// Reads it; a missing or unreadable file means that the agent belongs to no cluster yet.
    pub(super) fn load(data: &Path) -> Self {
        let path = data.join("identity.json");
        let read = fs::read(&path).ok();
        let stored = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, stored }
    }

    /// The cluster's uid; empty when none is known.
    pub(super) fn cluster(&self) -> &str {
        &self.stored.cluster
    }

    /// Remembers the cluster.
    pub(super) fn set_cluster(&mut self, cluster: &str) -> io::Result<()> {
        if self.stored.cluster == cluster {
            return Ok(());
        }
        cluster.clone_into(&mut self.stored.cluster);
        let new = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(&self.stored)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut identity = Identity::load(folder.path());
        assert_eq!(identity.cluster(), "");
        identity.set_cluster("c-1").unwrap();
        assert_eq!(Identity::load(folder.path()).cluster(), "c-1");
    }
}
