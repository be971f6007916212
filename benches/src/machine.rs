//! What the numbers were measured on.

use std::fs;
use std::process::Command;

/// One line about this machine.
#[must_use]
pub fn describe() -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = text("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = text("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    let gib = memory.unwrap_or(0_u64) >> 20;
    let kernel = text("/proc/sys/kernel/osrelease");
    let load = text("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {cores} cores, {gib} GiB, Linux {}, load {load}", kernel.trim())
}

/// The first line that a program tells about its version; `None` where it is not there.
#[must_use]
pub fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&said).lines().next()?.trim().to_owned())
}
