//! The files below `/etc/mpi`: who the hosts are, and how to run something on one of them.

use muster_model::{Part, PeerPart, RoleIndex, Template};

use super::WORKER;
use crate::injection::{Injection, peers};
use crate::kind::Job;
use crate::roles::{self, Replicas};

pub(crate) const HOSTFILE: &str = "/etc/mpi/hostfile";
pub(super) const DISCOVER: &str = "/etc/mpi/discover_hosts.sh";
/// The remote shell: host and command are its arguments. The name is upstream's of v1.
pub(crate) const RSH: &str = "/etc/mpi/kubexec.sh";

/// The hosts on which ranks may run, in their order.
pub(super) struct Hosts {
    pub(super) job: String,
    pub(super) worker: Option<RoleIndex>,
    /// What follows a replica's name: empty, or beginning with a dot.
    pub(super) domain: String,
    /// Whether the Launcher is the first host.
    pub(super) launcher: bool,
    /// Whether it is the first that [`DISCOVER`] prints.
    pub(super) launcher_is_discovered: bool,
}

impl Hosts {
    /// The Workers.
    pub(super) fn new(job: &Job<'_>, all: &[Replicas<'_>]) -> Self {
        Self {
            job: job.name.to_owned(),
            worker: roles::index_of(all, WORKER),
            domain: String::new(),
            launcher: false,
            launcher_is_discovered: false,
        }
    }

    /// Every host between two texts.
    fn list(&self, launcher: bool, (before, after): (&str, &str)) -> Vec<Part> {
        let Self { job, domain, .. } = self;
        let mut parts = Vec::new();
        if launcher {
            parts.push(Part::Text(format!("{before}{job}-launcher{domain}{after}")));
        }
        if let Some(worker) = self.worker {
            let each = [
                PeerPart::Text(format!("{before}{job}-worker-")),
                PeerPart::Index,
                PeerPart::Text(format!("{domain}{after}")),
            ];
            parts.push(peers(worker, &each, ""));
        }
        parts
    }

    /// The list of hosts, each followed by `after`; and the script that prints them for Horovod, each followed by
    /// `slots`.
    pub(super) fn put_into(&self, launcher: &mut Injection, (after, slots): (&str, &str)) {
        let hostfile = Template(self.list(self.launcher, ("", &format!("{after}\n"))));
        let mut script = vec![Part::Text("#!/bin/sh\n".to_owned())];
        let line = ("echo ", &*format!("{slots}\n"));
        script.extend(self.list(self.launcher_is_discovered, line));
        launcher.file(HOSTFILE, 0o444, hostfile).file(DISCOVER, 0o555, Template(script));
    }
}

/// The remote shell. `container` names the container that it enters; the main one where it is not given.
pub(crate) fn remote_shell(container: Option<&str>) -> Template {
    let container = match container {
        Some(name) => format!(" --container '{}'", name.replace('\'', r"'\''")),
        None => String::new(),
    };
    Template::text(format!(
        "#!/bin/sh\nexec \"${{MUSTER_BINARY:-muster}}\" rsh{container} \"$@\"\n"
    ))
}
