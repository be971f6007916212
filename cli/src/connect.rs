//! Finding the coordinator: the one that is named, or the embedded one of the data directory.

use std::path::{Path, PathBuf};

use muster_client::Client;

use crate::args::Global;
use crate::daemon::{self, Endpoint};
use crate::exit::Failure;

/// The data directory.
pub(crate) fn data_dir(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(directory) = &global.data_dir {
        return Ok(std::path::absolute(directory)?);
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(data) = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|d| d.is_absolute()) {
        return Ok(data.join("muster"));
    }
    let home = variable("HOME").map(PathBuf::from);
    home.map(|home| home.join(".local/share/muster")).ok_or_else(|| {
        Failure::usage("there is no home directory to keep data in; name one with --data-dir")
    })
}

/// A client of the coordinator that is named or runs; an embedded one is not started.
pub(crate) fn connect(global: &Global) -> Result<Client, Failure> {
    match &global.server {
        Some(server) => named(global, server),
        None => match Endpoint::of_running(&data_dir(global)?) {
            Some(endpoint) => embedded(global, &endpoint),
            None => Err(Failure::unreachable(
                "M5001",
                "no coordinator is named and none runs here; start one with `muster up`, or name \
                 one with --server",
            )),
        },
    }
}

/// As [`connect`], but starts the embedded coordinator and agent where none runs.
pub(crate) fn connect_or_start(global: &Global) -> Result<Client, Failure> {
    if let Some(server) = &global.server {
        return named(global, server);
    }
    let data = data_dir(global)?;
    let endpoint = match Endpoint::of_answering(&data) {
        Some(endpoint) => endpoint,
        None => daemon::start(global, &data)?,
    };
    embedded(global, &endpoint)
}

fn named(global: &Global, server: &str) -> Result<Client, Failure> {
    let path = match &global.token_file {
        Some(path) => path.clone(),
        None => muster_coordinator::token_path(&data_dir(global)?),
    };
    client(server, &path)
}

fn embedded(global: &Global, endpoint: &Endpoint) -> Result<Client, Failure> {
    let token = muster_coordinator::token_path(&data_dir(global)?);
    client(&endpoint.grpc, &token)
}

fn client(server: &str, token_file: &Path) -> Result<Client, Failure> {
    Ok(Client::new(server, &read_token(token_file)?)?)
}

/// Reads a token file.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let token = std::fs::read_to_string(path).map_err(|error| {
        Failure::unreachable(
            "M1009",
            format!(
                "the token {} cannot be read: {error}; it lies in the coordinator's data \
                 directory: name it with --token-file",
                path.display()
            ),
        )
    })?;
    Ok(token.trim().to_owned())
}
