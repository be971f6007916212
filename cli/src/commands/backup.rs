//! `muster backup` and `muster restore`

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use muster_coordinator::Restored;
use serde_json::json;

use crate::args::{Backup, Format, Global, Restore};
use crate::connect::{connect, data_dir};
use crate::exit::Failure;
use crate::output::{Spinner, line, print_value, say};

/// Writes the coordinator's state into a file, which is there whole or not at all.
pub(super) async fn backup(global: &Global, args: &Backup) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let aside = args.file.with_extension("new");
    let spinner = Spinner::start("taking a backup");
    let written = write(&client, &aside).await;
    let total = match written {
        Ok(total) => total,
        Err(failure) => {
            let _ = std::fs::remove_file(&aside);
            return Err(failure);
        }
    };
    std::fs::rename(&aside, &args.file)?;
    spinner.finish(&format!("{} holds the state, {total} bytes", args.file.display()));
    Ok(ExitCode::SUCCESS)
}

async fn write(client: &muster_client::Client, path: &Path) -> Result<u64, Failure> {
    let named =
        |error: std::io::Error| Failure::refused("M4004", format!("{}: {error}", path.display()));
    let mut stream = client.backup().await?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(named)?;
    let mut total = 0;
    while let Some(piece) = stream.next().await? {
        file.write_all(&piece.data).map_err(named)?;
        total += piece.data.len() as u64;
        if piece.total == Some(total) {
            file.sync_all().map_err(named)?;
            return Ok(total);
        }
    }
    Err(Failure::unreachable("M5001", "the coordinator went away before the backup was complete"))
}

/// Makes a data directory from a backup.
pub(super) fn restore(global: &Global, args: &Restore) -> Result<ExitCode, Failure> {
    let data = data_dir(global)?;
    let restored = muster_coordinator::restore(&args.file, &data)
        .map_err(|error| Failure::refused("M4004", error.to_string()))?;
    let Restored { cluster, index, taken_ms, counts: (jobs, nodes) } = restored;
    if matches!(args.output.output, Format::Json | Format::Yaml) {
        let value = json!({
            "cluster": cluster, "appliedIndex": index, "takenMs": taken_ms, "jobs": jobs,
            "nodes": nodes, "dataDir": data.display().to_string(),
        });
        print_value(&value, args.output.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    line(format!("restored {jobs} jobs and {nodes} nodes into {}", data.display()));
    say("start it with `muster coordinator` or `muster up`; further members join it as new ones");
    say(
        "make sure that no member of the old cluster runs any more: the agents could not tell them apart",
    );
    Ok(ExitCode::SUCCESS)
}
