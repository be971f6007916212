//! `muster token`

use std::process::ExitCode;
use std::time::Duration;

use muster_client::api;
use serde_json::{Value, json};

use crate::args::{Format, Global, Token, TokenCommand, TokenCreate};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{Rows, line, print_rows, print_value, say};

/// How long a join token counts when nothing is said.
const JOIN_TTL: Duration = Duration::from_secs(3600);

pub(super) async fn run(global: &Global, args: &Token) -> Result<ExitCode, Failure> {
    match &args.command {
        TokenCommand::Create(create) => make(global, create).await?,
        TokenCommand::List(output) => {
            show(&connect(global)?.list_tokens().await?, output.output)?;
        }
        TokenCommand::Remove { ids } => {
            let client = connect(global)?;
            for id in ids {
                client.remove_token(id).await?;
                line(format!("token/{id} removed"));
            }
        }
        TokenCommand::Revoke { subject } => {
            connect(global)?.revoke(subject).await?;
            line(format!("the certificates of {subject} are taken back"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn make(global: &Global, create: &TokenCreate) -> Result<(), Failure> {
    use api::create_token_request::Purpose;
    let seconds = |ttl: Duration| ttl.as_secs();
    let (purpose, ttl_s) = match (&create.user, &create.role) {
        (Some(name), _) => {
            let grants = create.grant.iter().map(|text| {
                let (role, namespace) = text.split_once(':').unwrap_or((text, ""));
                api::Grant { role: role.to_owned(), namespace: namespace.to_owned() }
            });
            let user = api::UserPurpose { name: name.clone(), grants: grants.collect() };
            (Purpose::User(user), create.ttl.map_or(0, seconds))
        }
        (None, role) => {
            let role = role.clone().unwrap_or_default();
            let join = api::JoinPurpose { role, uses: create.uses };
            (Purpose::Join(join), seconds(create.ttl.unwrap_or(JOIN_TTL)))
        }
    };
    let client = connect(global)?;
    let request = api::CreateTokenRequest { ttl_s, purpose: Some(purpose) };
    let made = client.create_token(request).await?;
    match create.output.output {
        format @ (Format::Json | Format::Yaml) => {
            print_value(&json!({ "id": made.id, "token": made.token }), format)
        }
        Format::Name => {
            line(format!("token/{}", made.id));
            Ok(())
        }
        Format::Table | Format::Wide => {
            line(&made.token);
            say(match (&create.user, create.role.as_deref()) {
                (Some(_), _) => {
                    let server = client.address();
                    format!(
                        "this is shown only now; the user puts it into a file with mode 600 and runs\n  muster --token-file \
                         FILE login {server}"
                    )
                }
                (None, Some("member")) => {
                    let server = client.address();
                    let server = server.rsplit('/').next().unwrap_or_default();
                    format!(
                        "this is shown only now, and lets a machine hold the cluster's key; put it into a file with mode 600 \
                         there and run\n  muster coordinator --listen ADDR --join {server} --join-token-file FILE"
                    )
                }
                _ => format!(
                    "this is shown only now; put it into a file with mode 600 on the new node and run\n  muster --server {} \
                     agent --join-token-file FILE",
                    client.address()
                ),
            });
            Ok(())
        }
    }
}

fn show(tokens: &[api::TokenInfo], format: Format) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => {
            let items: Vec<Value> = tokens.iter().map(to_json).collect();
            print_value(&json!({ "items": items }), format)
        }
        Format::Name => {
            tokens.iter().for_each(|token| line(format!("token/{}", token.id)));
            Ok(())
        }
        Format::Table | Format::Wide => {
            let rows = tokens.iter().map(|token| {
                let (what, used) = if token.purpose == "join" {
                    (token.role.clone(), format!("{} of {}", token.used, token.uses))
                } else {
                    (token.grants.iter().map(grant).collect::<Vec<_>>().join(", "), "-".into())
                };
                let expires = token.expires.map_or_else(|| "never".into(), timestamp);
                vec![
                    token.id.clone(),
                    token.purpose.clone(),
                    what,
                    used,
                    timestamp(token.created),
                    expires,
                ]
            });
            let header = vec!["ID", "PURPOSE", "ROLE", "USED", "CREATED", "EXPIRES"];
            print_rows(&Rows { header, rows: rows.collect() });
            Ok(())
        }
    }
}

/// Unix milliseconds in RFC 3339.
fn timestamp(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    let seconds = jiff::Timestamp::from_second(millis / 1000);
    seconds.map_or_else(|_| "-".into(), |at| at.to_string())
}

/// A grant as it is written on the command line.
pub(super) fn grant(grant: &api::Grant) -> String {
    match &*grant.namespace {
        "" => grant.role.clone(),
        namespace => format!("{}:{namespace}", grant.role),
    }
}

fn to_json(token: &api::TokenInfo) -> Value {
    json!({
        "id": token.id,
        "purpose": token.purpose,
        "role": token.role,
        "uses": token.uses,
        "used": token.used,
        "grants": token.grants.iter().map(grant).collect::<Vec<_>>(),
        "created": timestamp(token.created),
        "expires": token.expires.map(timestamp),
    })
}
