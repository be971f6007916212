//! What the machine offers: cores, memory, disk and GPUs, with the labels that describe them.
//!
//! Cores and memory are those that the agent itself may use: its CPU affinity, and the quotas and limits
//! of the control groups that it is in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use muster_model::Resources;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use thiserror::Error;

use super::cgroup;
use super::gpu::{self, Gpu};
use super::overrides::Overrides;

/// Why the machine cannot be described.
#[derive(Debug, Error)]
pub enum Error {
    /// A file that every Linux has cannot be read.
    #[error("cannot read {path}: {source}; is /proc mounted?")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The data directory's file system does not answer.
    #[error("cannot ask how large the file system of {path} is: {source}")]
    FileSystem {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the machine offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Amounts by resource.
    pub capacity: Resources,
    /// What describes it; the names are those of Kubernetes and of NVIDIA's feature discovery.
    pub labels: BTreeMap<String, String>,
    /// Changes with every start of the machine.
    pub boot_id: String,
    /// The GPUs that were found, whatever the overrides say.
    pub gpus: Vec<Gpu>,
    /// The version of the NVIDIA driver, such as `550.54.15`, if there is one that says it.
    pub driver: Option<String>,
}

impl Machine {
    /// Its cores, in thousandths.
    #[must_use]
    pub fn millicores(&self) -> u64 {
        self.capacity.get(&muster_model::ResourceName::cpu())
    }

    /// The indices of the GPUs that may be given away: as many as the capacity says. Where it says more
    /// than were found, the indices beyond them stand for nothing real.
    #[must_use]
    pub fn gpu_indices(&self) -> Vec<u32> {
        let count = self.capacity.get(&muster_model::ResourceName::nvidia_gpu());
        let found = self.gpus.iter().map(|gpu| gpu.index);
        let next = self.gpus.iter().map(|gpu| gpu.index + 1).max().unwrap_or(0);
        found.chain(next..).take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
    }
}

/// Looks at the machine. `data` is a directory on the file system whose size is offered as
/// `ephemeral-storage`.
///
/// # Errors
/// When `/proc` or the file system cannot be read.
pub fn detect(data: &Path, overrides: &Overrides) -> Result<Machine, Error> {
    let gpu::Found { gpus, driver } = gpu::find();
    let count = u64::try_from(gpus.len()).unwrap_or(u64::MAX);
    let detected = Resources::new()
        .with("cpu", millicores())
        .with("memory", memory()?)
        .with("ephemeral-storage", storage(data)?)
        .with("nvidia.com/gpu", count);
    Ok(Machine {
        capacity: overrides.apply(detected),
        labels: labels(&gpus),
        boot_id: read("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
        gpus,
        driver,
    })
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })
}

fn millicores() -> u64 {
    let allowed = sched_getaffinity(Pid::from_raw(0)).map_or(1, |set| {
        (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count()
    });
    let allowed = u64::try_from(allowed).unwrap_or(1).max(1) * 1000;
    cgroup::own_cpu_quota().map_or(allowed, |quota| allowed.min(quota))
}

fn memory() -> Result<u64, Error> {
    let path = "/proc/meminfo";
    let text = read(path)?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let total = kib.ok_or_else(|| Error::Read {
        path: path.into(),
        source: io::Error::new(io::ErrorKind::InvalidData, "it has no MemTotal"),
    })? * 1024;
    Ok(cgroup::own_memory_limit().map_or(total, |limit| total.min(limit)))
}

fn storage(data: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(data)
        .map_err(|errno| Error::FileSystem { path: data.to_owned(), source: errno.into() })?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
}

fn labels(gpus: &[Gpu]) -> BTreeMap<String, String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut labels = BTreeMap::from([
        ("kubernetes.io/arch".to_owned(), architecture.to_owned()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
    ]);
    if let Ok(name) = fs::read_to_string("/proc/sys/kernel/hostname") {
        labels.insert("kubernetes.io/hostname".into(), label_value(name.trim()));
    }
    if let Some(first) = gpus.first() {
        labels.insert("nvidia.com/gpu.product".into(), label_value(&first.model));
        labels.insert("nvidia.com/gpu.count".into(), gpus.len().to_string());
        let mebibytes = first.memory >> 20;
        labels.insert("nvidia.com/gpu.memory".into(), mebibytes.to_string());
    }
    labels
}

/// A text as the value of a label: at most 63 letters, digits, `-`, `_` and `.`, beginning and ending
/// with a letter or digit.
fn label_value(text: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
        _ => '-',
    };
    let value: String = text.chars().map(plain).take(63).collect();
    value.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_memory_disk_and_a_boot() {
        let machine = detect(&std::env::temp_dir(), &Overrides::default()).unwrap();
        for name in ["cpu", "memory", "ephemeral-storage"] {
            assert!(machine.capacity.get(&name.into()) > 0, "{name}");
        }
        assert!(machine.millicores() <= 1000 * 4096);
        assert_eq!(machine.boot_id.len(), 36);
        assert_eq!(machine.labels["kubernetes.io/os"], "linux");
        if machine.gpus.is_empty() {
            eprintln!("skipped: what a GPU says of itself (this machine has none)");
            assert_eq!(machine.capacity.get(&"nvidia.com/gpu".into()), 0);
            assert!(!machine.labels.contains_key("nvidia.com/gpu.product"));
        } else {
            assert!(!machine.labels["nvidia.com/gpu.product"].is_empty());
            assert!(machine.driver.is_some_and(|version| version.contains('.')));
        }
    }

    #[test]
    fn overrides_make_and_hide_gpus() {
        let overrides = "nvidia.com/gpu=4,example.com/dongle=2".parse().unwrap();
        let mut machine = detect(&std::env::temp_dir(), &overrides).unwrap();
        assert_eq!(machine.gpu_indices(), [0, 1, 2, 3]);
        assert_eq!(machine.capacity.get(&"example.com/dongle".into()), 2);
        machine.gpus = [2, 5]
            .map(|index| Gpu { index, model: "X".into(), uuid: String::new(), memory: 0 })
            .to_vec();
        assert_eq!(machine.gpu_indices(), [2, 5, 6, 7]);
        machine.capacity.set("nvidia.com/gpu".into(), 1);
        assert_eq!(machine.gpu_indices(), [2]);
    }

    #[test]
    fn labels_are_valid_whatever_the_model_is_called() {
        assert_eq!(label_value("NVIDIA A100-SXM4-80GB (rev. 2)"), "NVIDIA-A100-SXM4-80GB--rev.-2");
        assert_eq!(label_value(&"x".repeat(80)).len(), 63);
        assert_eq!(label_value("--"), "");
    }
}
