//! Finding the coordinator, and what to show there.
//!
//! | named by | what is shown |
//! |---|---|
//! | `--server https://...` | the user token of `--token-file`, or of the login for that server, or the operator's certificate in the data directory |
//! | `--server http://...` | the token of `--token-file` or in the data directory |
//! | `muster login` | the user token that it remembered |
//! | nothing | what runs on the data directory, with what lies there |

use std::io::Read;
use std::path::{Path, PathBuf};

use muster_client::{Client, Pass};
use muster_trust::{Identity, JoinToken, UserToken, exists, read_private};

use crate::args::Global;
use crate::daemon::{self, Endpoint};
use crate::exit::Failure;
use crate::login::Login;

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
    if let Some(client) = elsewhere(global)? {
        return Ok(client);
    }
    match Endpoint::of_running(&data_dir(global)?) {
        Some(endpoint) => here(global, &endpoint),
        None => Err(Failure::unreachable(
            "M5001",
            "no coordinator is named and none runs here; start one with `muster up`, name one with --server, or log \
             in with `muster login`",
        )),
    }
}

/// As [`connect`], but starts the embedded coordinator and agent where none runs.
pub(crate) fn connect_or_start(global: &Global) -> Result<Client, Failure> {
    if let Some(client) = elsewhere(global)? {
        return Ok(client);
    }
    let data = data_dir(global)?;
    let endpoint = match Endpoint::of_answering(&data) {
        Some(endpoint) => endpoint,
        None => daemon::start(global, &data)?,
    };
    here(global, &endpoint)
}

/// A client of the coordinator that a flag or the login names.
fn elsewhere(global: &Global) -> Result<Option<Client>, Failure> {
    if let Some(server) = &global.server {
        return client(server, pass(global, server)?).map(Some);
    }
    // Whoever names a data directory means what runs there.
    if global.data_dir.is_some() {
        return Ok(None);
    }
    let Some(login) = Login::load()? else { return Ok(None) };
    let pass = match &global.token_file {
        Some(path) => bearer(&login.server, path)?,
        None => user(&login.token)?,
    };
    client(&login.server, pass).map(Some)
}

/// A client of what runs on the data directory.
fn here(global: &Global, endpoint: &Endpoint) -> Result<Client, Failure> {
    let pass = match &global.token_file {
        Some(path) => bearer(&endpoint.grpc, path)?,
        None => own(&endpoint.grpc, &data_dir(global)?)?,
    };
    client(&endpoint.grpc, pass)
}

fn client(server: &str, pass: Pass) -> Result<Client, Failure> {
    Ok(Client::new(server, pass)?)
}

/// What is shown to a server that was named.
fn pass(global: &Global, server: &str) -> Result<Pass, Failure> {
    if let Some(path) = &global.token_file {
        return bearer(server, path);
    }
    if is_tls(server)
        && let Some(login) = Login::load()?
        && login.server == server
    {
        return user(&login.token);
    }
    own(server, &data_dir(global)?)
}

fn is_tls(server: &str) -> bool {
    server.starts_with("https://")
}

/// What lies in a data directory: the operator's certificate, or, in the clear, the owner's token.
fn own(server: &str, data: &Path) -> Result<Pass, Failure> {
    if !is_tls(server) {
        return bearer(server, &muster_coordinator::token_path(data));
    }
    let path = muster_coordinator::operator_path(data);
    if !exists(&path) {
        return Err(Failure::usage(format!(
            "{server} speaks TLS, and nothing here says who you are: log in with `muster login`, name a user token with \
             --token-file, or, on a member's own machine, its --data-dir"
        )));
    }
    let identity = Identity::load(&path).map_err(|error| refused(&error))?;
    identity.map(|identity| Pass::identity(&identity)).ok_or_else(|| refused(&"it is gone"))
}

fn refused(error: &dyn std::fmt::Display) -> Failure {
    Failure::unreachable("M1009", error.to_string())
}

/// The token of a file: a user's, or, in the clear, an owner's.
fn bearer(server: &str, path: &Path) -> Result<Pass, Failure> {
    let token = read_token(path)?;
    if UserToken::is_one(&token) {
        return if is_tls(server) {
            user(&token)
        } else {
            let token = UserToken::parse(&token).map_err(|error| refused(&error))?;
            plain(&token.shown())
        };
    }
    if JoinToken::is_one(&token) {
        return Err(Failure::usage(format!(
            "{} holds a token to join with and not a user's: it goes with --join-token-file to `muster agent` or \
             `muster coordinator`",
            path.display()
        )));
    }
    if is_tls(server) {
        return Err(Failure::usage(format!(
            "{} holds no user token, and {server} takes no other; `muster token create --user` on a member makes one",
            path.display()
        )));
    }
    plain(&token)
}

fn plain(token: &str) -> Result<Pass, Failure> {
    Pass::plain(token)
        .ok_or_else(|| refused(&"the token cannot be used: it has characters that no token has"))
}

/// A user's token, to the cluster that it pins.
pub(crate) fn user(token: &str) -> Result<Pass, Failure> {
    let token = UserToken::parse(token).map_err(|error| refused(&error))?;
    Pass::pinned(&token.shown(), token.ca).ok_or_else(|| refused(&"the token has odd characters"))
}

/// Reads a token file; `-` is standard input.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::unreachable(
            "M1009",
            format!(
                "the token {} cannot be read: {error}; an owner's lies in the coordinator's data directory, and \
                 `muster token create` makes others: name it with --token-file",
                path.display()
            ),
        )
    };
    let token = if path == Path::new("-") {
        let mut token = String::new();
        std::io::stdin()
            .take(1 << 16)
            .read_to_string(&mut token)
            .map_err(|error| failed(&error))?;
        token
    } else {
        read_private(path).map_err(|error| failed(&error))?
    };
    let token = token.trim();
    if token.is_empty() {
        return Err(failed(&"it is empty"));
    }
    Ok(token.to_owned())
}
