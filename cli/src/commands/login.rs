//! `muster login`, `logout` and `whoami`

use std::process::ExitCode;

use muster_client::Client;
use serde_json::json;

use super::token::grant;
use crate::args::{Format, Global, Login as Args};
use crate::connect::{connect, read_token, user};
use crate::exit::Failure;
use crate::login::Login;
use crate::output::{line, print_value, say};

/// Nothing is remembered of a token that the coordinator does not take.
pub(super) async fn login(global: &Global, args: &Args) -> Result<ExitCode, Failure> {
    let Some(file) = &global.token_file else {
        return Err(Failure::usage(
            "name the file with your user token with --token-file; - is standard input",
        ));
    };
    let token = read_token(file)?;
    let client = Client::new(&args.url, user(&token)?)?;
    let me = client.who_am_i().await?;
    let path = Login { server: args.url.clone(), token }.store()?;
    let grants: Vec<String> = me.grants.iter().map(grant).collect();
    line(format!("logged in to {} as {} ({})", args.url, me.who, grants.join(", ")));
    say(format!("remembered in {}", path.display()));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn logout() -> Result<ExitCode, Failure> {
    line(if Login::forget()? { "logged out" } else { "you were not logged in" });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn who_am_i(global: &Global, format: Format) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let me = client.who_am_i().await?;
    let grants: Vec<String> = me.grants.iter().map(grant).collect();
    match format {
        Format::Json | Format::Yaml => print_value(
            &json!({ "who": me.who, "grants": grants, "server": client.address() }),
            format,
        )?,
        Format::Name => line(&me.who),
        Format::Table | Format::Wide => {
            line(format!("{} ({}) at {}", me.who, grants.join(", "), client.address()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
