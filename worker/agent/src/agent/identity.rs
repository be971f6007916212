//! Who this agent is, and which cluster its data belongs to.
//!
//! The agent's id is drawn when its data directory is made. It tells the agent from another machine that runs under the
//! same node name. An agent that is pointed at another cluster by mistake is refused there, instead of having its
//! running replicas cleared as unknown.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use muster_agent_core::Promise;
use muster_model::Millis;
use serde::{Deserialize, Serialize};

/// Bytes of an id.
const ID_BYTES: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Stored {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    agreed: Agreed,
    /// The port at which it last answered other agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    witness_port: Option<u16>,
}

/// What an agent and its cluster have agreed on. An agent that starts again while it is cut off must still know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Agreed {
    /// Whether anything was agreed on.
    #[serde(default)]
    known: bool,
    /// See [`Promise::Stops`], in milliseconds; `None` is [`Promise::Nothing`].
    #[serde(default)]
    cut_off: Option<u64>,
    /// HOST:PORT of the members that it would ask for a leader.
    #[serde(default)]
    members: Vec<String>,
}

/// The agent's memory of itself and its cluster.
#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    stored: Stored,
}

impl Identity {
    /// Reads it; an agent that has none yet gets an id and belongs to no cluster.
    ///
    /// # Errors
    /// When it cannot be read or written. A file that is damaged is an error, too: a new id would lock the node out
    /// of its own name.
    pub(super) fn load(data: &Path) -> io::Result<Self> {
        let path = data.join("identity.json");
        let stored = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(error),
        };
        let mut identity = Self { path, stored };
        if identity.stored.agent.is_empty() {
            identity.stored.agent = draw()?;
            identity.store()?;
        }
        Ok(identity)
    }

    /// The cluster's uid as the file says now; empty when none is known.
    pub(super) fn cluster_in(data: &Path) -> String {
        let read = fs::read(data.join("identity.json")).ok();
        let stored: Option<Stored> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        stored.unwrap_or_default().cluster
    }

    /// The agent's id.
    pub(super) fn agent(&self) -> &str {
        &self.stored.agent
    }

    /// Remembers the cluster.
    pub(super) fn set_cluster(&mut self, cluster: &str) -> io::Result<()> {
        if self.stored.cluster == cluster {
            return Ok(());
        }
        cluster.clone_into(&mut self.stored.cluster);
        self.store()
    }

    /// What was agreed on: the promise, and the members.
    pub(super) fn agreed(&self) -> (Promise, Vec<String>) {
        let Agreed { known, cut_off, members } = self.stored.agreed.clone();
        let promise = match (known, cut_off) {
            (false, _) => Promise::Unknown,
            (true, None) => Promise::Nothing,
            (true, Some(after)) => Promise::Stops(Millis(after)),
        };
        (promise, members)
    }

    /// Remembers a promise.
    pub(super) fn promise(&mut self, promise: Promise) -> io::Result<()> {
        let (known, cut_off) = match promise {
            Promise::Unknown => (false, None),
            Promise::Nothing => (true, None),
            Promise::Stops(after) => (true, Some(after.0)),
        };
        let members = self.stored.agreed.members.clone();
        self.agree(Agreed { known, cut_off, members })
    }

    /// Remembers where the members are.
    pub(super) fn members_are(&mut self, members: Vec<String>) -> io::Result<()> {
        self.agree(Agreed { members, ..self.stored.agreed.clone() })
    }

    fn agree(&mut self, agreed: Agreed) -> io::Result<()> {
        if self.stored.agreed == agreed {
            return Ok(());
        }
        self.stored.agreed = agreed;
        self.store()
    }

    /// The port at which it last answered other agents.
    pub(super) fn witness_port(&self) -> Option<u16> {
        self.stored.witness_port
    }

    /// Remembers that port.
    pub(super) fn set_witness_port(&mut self, port: u16) -> io::Result<()> {
        if self.stored.witness_port == Some(port) {
            return Ok(());
        }
        self.stored.witness_port = Some(port);
        self.store()
    }

    fn store(&self) -> io::Result<()> {
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

fn damaged(path: &Path, error: &serde_json::Error) -> io::Error {
    let message = format!(
        "{} is damaged ({error}); move it away and free the node's name with `muster nodes remove`",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A random id in hexadecimal digits.
fn draw() -> io::Result<String> {
    let mut bytes = [0; ID_BYTES];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_and_the_agents_own_id_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut identity = Identity::load(folder.path()).unwrap();
        assert_eq!(Identity::cluster_in(folder.path()), "");
        assert_eq!(identity.agent().len(), 2 * ID_BYTES);
        identity.set_cluster("c-1").unwrap();
        assert_eq!(Identity::cluster_in(folder.path()), "c-1");
        assert_eq!(Identity::load(folder.path()).unwrap().agent(), identity.agent());
    }

    #[test]
    fn what_was_agreed_on_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut identity = Identity::load(folder.path()).unwrap();
        assert_eq!(identity.agreed(), (Promise::Unknown, Vec::new()));
        identity.promise(Promise::Stops(Millis(60_000))).unwrap();
        identity.members_are(vec!["a:1".into()]).unwrap();
        identity.set_witness_port(7).unwrap();
        let again = Identity::load(folder.path()).unwrap();
        let expected = (Promise::Stops(Millis(60_000)), vec!["a:1".to_owned()]);
        assert_eq!((again.agreed(), again.witness_port()), (expected, Some(7)));
        identity.promise(Promise::Nothing).unwrap();
        assert_eq!(Identity::load(folder.path()).unwrap().agreed().0, Promise::Nothing);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("identity.json"), "{\"clus").unwrap();
        let error = Identity::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("muster nodes remove"), "{error}");
    }
}
