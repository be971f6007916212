//! Machines of a test: network namespaces around a router.
//!
//! Each machine has a network of its own (10.77.N.0/30), and all its packets go through the router, where they can be held
//! back in either direction. Only iproute2 and util-linux are needed, and for loss nftables.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A router and some machines.
#[derive(Debug)]
pub struct Net {
    prefix: String,
    count: usize,
}

static MADE: AtomicU32 = AtomicU32::new(0);

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {said}", arguments.join(" ")))
}

fn ip(line: &str) -> Result<(), String> {
    run("ip", &line.split_whitespace().collect::<Vec<_>>())
}

impl Net {
    /// A router and so many machines; `None`, with a word on why, where that is not permitted.
    #[must_use]
    pub fn new(count: usize) -> Option<Self> {
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let net = Self { prefix: format!("mt{}-{made}", std::process::id()), count };
        match net.build() {
            Ok(()) => Some(net),
            Err(why) => {
                eprintln!("skipped: no network namespaces can be made here ({why})");
                None
            }
        }
    }

    fn router(&self) -> String {
        format!("{}-r", self.prefix)
    }

    /// The name of a machine's namespace.
    #[must_use]
    pub fn namespace(&self, machine: usize) -> String {
        format!("{}-{machine}", self.prefix)
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(machine: usize) -> String {
        format!("10.77.{machine}.2")
    }

    fn build(&self) -> Result<(), String> {
        let router = self.router();
        ip(&format!("netns add {router}"))?;
        self.inside(&router, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        // Above the main table, so that what is held back is looked up first.
        for machine in 0..self.count {
            let namespace = self.namespace(machine);
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!(
                "-n {router} link add v{machine} type veth peer name eth0 netns {namespace}"
            ))?;
            ip(&format!("-n {router} addr add 10.77.{machine}.1/30 dev v{machine}"))?;
            ip(&format!("-n {router} link set v{machine} up"))?;
            ip(&format!("-n {namespace} addr add {}/30 dev eth0", Self::address(machine)))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} route add default via 10.77.{machine}.1"))?;
        }
        Ok(())
    }

    fn inside(&self, namespace: &str, arguments: &[&str]) -> Result<(), String> {
        let net = format!("--net=/run/netns/{namespace}");
        run("nsenter", &[&[net.as_str(), "--"], arguments].concat())
    }

    /// Runs `command` on a machine.
    #[must_use]
    pub fn on(&self, machine: usize, command: &Command) -> Command {
        let mut there = Command::new("nsenter");
        there.arg(format!("--net=/run/netns/{}", self.namespace(machine))).arg("--");
        there.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there.stdin(Stdio::null());
        there
    }

    fn rule(&self, verb: &str, from: usize, to: usize) {
        let (from, to) = (Self::address(from), Self::address(to));
        let router = self.router();
        ip(&format!("-n {router} rule {verb} from {from} to {to} blackhole")).expect("a rule");
    }

    /// Packets from one machine do not reach another any more, without a word to anybody.
    pub fn silence(&self, from: usize, to: usize) {
        self.rule("add", from, to);
    }

    /// They do again.
    pub fn restore(&self, from: usize, to: usize) {
        self.rule("del", from, to);
    }

    /// No packets go between any of these and any of those, in either direction.
    pub fn part(&self, these: &[usize], those: &[usize]) {
        self.each(these, those, |from, to| self.silence(from, to));
    }

    /// Takes a [`Net::part`] back.
    pub fn join(&self, these: &[usize], those: &[usize]) {
        self.each(these, those, |from, to| self.restore(from, to));
    }

    fn each(&self, these: &[usize], those: &[usize], act: impl Fn(usize, usize)) {
        for this in these {
            for that in those {
                act(*this, *that);
                act(*that, *this);
            }
        }
    }

    /// So many of a hundred packets are lost on their way through the router; `false`, with a word, where that is not
    /// possible.
    #[must_use]
    pub fn lose(&self, percent: u32) -> bool {
        let router = self.router();
        let rule = format!(
            "add table inet lossy\n\
             add chain inet lossy f {{ type filter hook forward priority 0; }}\n\
             add rule inet lossy f numgen random mod 100 < {percent} drop\n"
        );
        match self.inside(&router, &["nft", &rule]) {
            Ok(()) => true,
            Err(why) => {
                eprintln!("skipped: no packets can be lost here ({why})");
                false
            }
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for machine in 0..self.count {
            // One that was never made cannot be removed.
            let _ = ip(&format!("netns del {}", self.namespace(machine)));
        }
        let _ = ip(&format!("netns del {}", self.router()));
    }
}
