//! A Slurm of one machine: munged, slurmctld and several slurmd, in a directory and on ports of their own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use muster_benches::timed;
use muster_tests::until;
use tempfile::TempDir;

/// A running Slurm.
pub(crate) struct Slurm {
    directory: TempDir,
    daemons: Vec<Child>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

fn configuration(path: &Path, host: &str, nodes: usize) -> String {
    let base = path.display();
    let mut text = format!(
        "ClusterName=bench\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nAuthType=auth/munge\n\
         AuthInfo=socket={base}/munge.socket\nCredType=cred/munge\nStateSaveLocation={base}/state\n\
         SlurmdSpoolDir={base}/spool/%n\nSlurmctldPidFile={base}/ctld.pid\n\
         SlurmdPidFile={base}/%n.pid\nSlurmctldLogFile={base}/ctld.log\nSlurmdLogFile={base}/%n.log\n\
         SlurmctldPort={}\nProctrackType=proctrack/pgid\nTaskPlugin=task/none\nMpiDefault=none\n\
         SwitchType=switch/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n\
         SchedulerType=sched/backfill\nSchedulerParameters=sched_interval=1\nReturnToService=2\n\
         SlurmdParameters=config_overrides\nJobCompType=jobcomp/none\n\
         AccountingStorageType=accounting_storage/none\nMaxJobCount=20000\n",
        free_port()
    );
    for node in 1..=nodes {
        let port = free_port();
        text.push_str(&format!(
            "NodeName=n{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 \
             CoresPerSocket=64 RealMemory=20000 State=UNKNOWN\n"
        ));
    }
    text.push_str("PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n");
    text
}

impl Slurm {
    /// Starts it and waits until all nodes are idle.
    pub(crate) fn start(nodes: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().to_path_buf();
        // munged refuses a socket that others cannot reach and a key that they can read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).expect("it is ours");
        fs::create_dir_all(path.join("state")).expect("room for a directory");
        let key = path.join("munge.key");
        let random = fs::File::open("/dev/urandom").map(|file| {
            let mut bytes = vec![0; 1024];
            std::io::Read::read_exact(&mut &file, &mut bytes).map(|()| bytes)
        });
        fs::write(&key, random.and_then(|bytes| bytes).expect("random bytes")).expect("room");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("it is ours");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host has a name");
        let host = host.trim().split('.').next().unwrap_or_default().to_owned();
        fs::write(path.join("slurm.conf"), configuration(&path, &host, nodes)).expect("room");

        let mut slurm = Self { directory, daemons: Vec::new() };
        let mut munged = Command::new("munged");
        munged.args(["--foreground", "--force"]);
        for (flag, file) in [
            ("key-file", "munge.key"),
            ("socket", "munge.socket"),
            ("pid-file", "munge.pid"),
            ("log-file", "munge.log"),
            ("seed-file", "munge.seed"),
        ] {
            munged.arg(format!("--{flag}={}", path.join(file).display()));
        }
        slurm.spawn(munged);
        until("munged listens", || path.join("munge.socket").exists().then_some(()));
        let mut controller = slurm.command("slurmctld");
        controller.arg("-D");
        slurm.spawn(controller);
        for node in 1..=nodes {
            let name = format!("n{node}");
            fs::create_dir_all(path.join("spool").join(&name)).expect("room for a directory");
            let mut daemon = slurm.command("slurmd");
            daemon.args(["-D", "-N", &name]);
            slurm.spawn(daemon);
        }
        until("all nodes of Slurm are idle", || {
            let output = slurm.command("sinfo").args(["-h", "-N", "-o", "%T"]).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (text.lines().filter(|state| *state == "idle").count() == nodes).then_some(())
        });
        slurm
    }

    /// One of its programs.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.path("slurm.conf"));
        command
    }

    /// Whether no job waits or runs.
    pub(crate) fn queue_is_empty(&self) -> bool {
        let states = ["-h", "-t", "pending,running,completing", "-o", "%i"];
        timed(self.command("squeue").args(states)).1.stdout.is_empty()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn spawn(&mut self, mut command: Command) {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.daemons.push(child.expect("it was found a moment ago"));
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            // One that has ended by itself is as good.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
