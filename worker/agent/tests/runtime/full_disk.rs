//! A disk that is full when a replica ends: its end is not lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_model::ExitStatus;

use crate::lab::Lab;
use crate::replica::{replica, script};

struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where nothing can be mounted.
    fn mount(path: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(path)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_on_a_full_disk_ended_as_it_did() {
    let mut lab = Lab::new();
    let folder = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        eprintln!("skipped: a small file system cannot be mounted here (root is needed)");
        return;
    };
    lab.options.data = folder.path().join("data");
    let mut node = lab.open().await;
    let ballast = disk.0.join("ballast");
    let fill = format!(
        "echo before; dd if=/dev/zero of={} bs=64k 2> /dev/null; echo after; exit 3",
        ballast.display()
    );
    let spec = replica(&lab.job, script("main", &fill));
    assert_eq!(node.run(&spec).await, ExitStatus::Code(3));
    // An agent that starts now finds the shim, which still tries to write the end down.
    node.close().await;
    fs::remove_file(&ballast).expect("it is there");
    let node = lab.open().await;
    node.remove(&spec);
    node.finish(&lab).await;
}
