//! `muster members`

use std::process::ExitCode;

use muster_client::api;
use serde_json::{Value, json};

use crate::args::{Format, Global, Members, MembersCommand};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{Rows, line, print_rows, print_value};

pub(super) async fn run(global: &Global, args: &Members) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    match &args.command {
        Some(MembersCommand::Remove { id }) => {
            client.remove_member(*id).await?;
            line(format!("member/{id} is leaving; `muster members` shows when it is gone"));
        }
        Some(MembersCommand::Transfer { id }) => {
            client.transfer_leader(id.unwrap_or(0)).await?;
            line("the leadership is being handed over; `muster members` shows who leads");
        }
        None => show(&client.members().await?, args.output.output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(reply: &api::ListMembersReply, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => {
            let items: Vec<Value> = reply.members.iter().map(to_json).collect();
            let value = json!({ "term": reply.term, "commitIndex": reply.commit, "items": items });
            print_value(&value, format)
        }
        Format::Name => {
            reply.members.iter().for_each(|one| line(format!("member/{}", one.member)));
            Ok(())
        }
        Format::Table | Format::Wide => {
            let rows = reply.members.iter().map(|one| {
                let lag = one.matched.map(|matched| reply.commit.saturating_sub(matched));
                let seen = match one.active {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "-",
                };
                vec![
                    one.member.to_string(),
                    one.role.clone(),
                    one.address.clone(),
                    seen.into(),
                    lag.map_or_else(|| "-".into(), |lag| lag.to_string()),
                    one.version.clone(),
                ]
            });
            let header = vec!["ID", "ROLE", "ADDRESS", "HEARD", "BEHIND", "VERSION"];
            print_rows(&Rows { header, rows: rows.collect() });
            Ok(())
        }
    }
}

fn to_json(one: &api::MemberInfo) -> Value {
    json!({
        "id": one.member,
        "role": one.role,
        "address": one.address,
        "version": one.version,
        "matchedIndex": one.matched,
        "active": one.active,
    })
}
