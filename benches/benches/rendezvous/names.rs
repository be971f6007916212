//! What the server's process asks for names: torch's server resolves the address of every client, so that a load says
//! more of the machine's name service than of the server. The process sees files of ours in a mount namespace of its
//! own: one that only look into `/etc/hosts`, or ones that ask a name service which never answers.

use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Where the name service listens, and is silent.
const ADDRESS: &str = "127.0.0.9";

/// How names resolve.
pub(crate) struct Names {
    directory: TempDir,
    _silent: Option<UdpSocket>,
}

impl Names {
    /// From `/etc/hosts` alone. Says why where this user may not.
    pub(crate) fn from_files() -> io::Result<Self> {
        Self::new(("hosts: files\n", None))
    }

    /// Slowly. Says why where this user may not.
    pub(crate) fn slow() -> io::Result<Self> {
        Self::new(("hosts: dns\n", Some(UdpSocket::bind((ADDRESS, 53))?)))
    }

    fn new((switch, silent): (&str, Option<UdpSocket>)) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text);
        write("resolv.conf", format!("nameserver {ADDRESS}\noptions timeout:5 attempts:2\n"))?;
        write("nsswitch.conf", switch.into())?;
        let names = Self { directory, _silent: silent };
        let tried = names.seen_by(&Command::new("true")).output()?;
        match tried.status.success() {
            true => Ok(names),
            false => Err(io::Error::other(String::from_utf8_lossy(&tried.stderr).into_owned())),
        }
    }

    /// The same command, in whose eyes names resolve so.
    pub(crate) fn seen_by(&self, command: &Command) -> Command {
        let file = |name: &str| -> PathBuf { self.directory.path().join(name) };
        let script = "mount --bind \"$0\" /etc/resolv.conf && mount --bind \"$1\" /etc/nsswitch.conf \
                      && shift && exec \"$@\"";
        let mut changed = Command::new("unshare");
        changed
            .args(["--mount", "sh", "-c", script])
            .arg(file("resolv.conf"))
            .arg(file("nsswitch.conf"))
            .arg(command.get_program())
            .args(command.get_args());
        changed
    }
}
