//! A name service that never answers: the server's process sees a `resolv.conf` that names a socket of ours, in a mount
//! namespace of its own.

use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Where the name service listens, and is silent.
const ADDRESS: &str = "127.0.0.9";

/// A name service that never answers, and files that point to it.
pub(crate) struct Resolver {
    directory: TempDir,
    _silent: UdpSocket,
}

impl Resolver {
    /// Starts it. Says why where this user may not.
    pub(crate) fn start() -> io::Result<Self> {
        let silent = UdpSocket::bind((ADDRESS, 53))?;
        let directory = tempfile::tempdir()?;
        let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text);
        write("resolv.conf", format!("nameserver {ADDRESS}\noptions timeout:5 attempts:2\n"))?;
        write("nsswitch.conf", "hosts: dns\n".into())?;
        let resolver = Self { directory, _silent: silent };
        let tried = resolver.with_slow_names(&Command::new("true")).output()?;
        match tried.status.success() {
            true => Ok(resolver),
            false => Err(io::Error::other(String::from_utf8_lossy(&tried.stderr).into_owned())),
        }
    }

    /// The same command, in whose eyes names resolve slowly.
    pub(crate) fn with_slow_names(&self, command: &Command) -> Command {
        let file = |name: &str| -> PathBuf { self.directory.path().join(name) };
        let script = "mount --bind \"$0\" /etc/resolv.conf && mount --bind \"$1\" /etc/nsswitch.conf \
                      && shift && exec \"$@\"";
        let mut slow = Command::new("unshare");
        slow.args(["--mount", "sh", "-c", script])
            .arg(file("resolv.conf"))
            .arg(file("nsswitch.conf"))
            .arg(command.get_program())
            .args(command.get_args());
        slow
    }
}
