//! `muster nodes`

mod change;
mod drain;

use std::process::ExitCode;

use muster_client::api;

use crate::args::{Format, Global, Nodes, NodesCommand};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{line, print_list, print_one};

pub(super) async fn run(global: &Global, args: &Nodes) -> Result<ExitCode, Failure> {
    // What is wrong with the command line is told before anybody is asked.
    match &args.command {
        Some(NodesCommand::Label(args)) => return change::label(global, args).await,
        Some(NodesCommand::Taint(args)) => return change::taint(global, args).await,
        _ => {}
    }
    let client = connect(global)?;
    match &args.command {
        Some(NodesCommand::Cordon(nodes)) => change::cordon(&client, (nodes, true)).await,
        Some(NodesCommand::Uncordon(nodes)) => change::cordon(&client, (nodes, false)).await,
        Some(NodesCommand::Drain(args)) => drain::run(&client, args).await,
        Some(NodesCommand::Remove { name }) => {
            client.remove_node(name).await?;
            line(format!("node/{name} removed"));
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            let request = api::ListRequest { kind: "nodes".into(), ..api::ListRequest::default() };
            let reply = client.list(request).await?;
            print_list(&reply.items, (args.output.output, false))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says what was done to nodes: sentences for people, the nodes as they are now for programs.
fn told(done: &[(api::Object, String)], format: Format) -> Result<(), Failure> {
    match (format, done) {
        (Format::Table | Format::Wide, _) => {
            for (node, what) in done {
                let name = node.r#ref.as_ref().map_or("", |reference| &reference.name);
                line(format!("node/{name} {what}"));
            }
            Ok(())
        }
        (_, [(only, _)]) => print_one(only, format),
        _ => {
            let nodes: Vec<api::Object> = done.iter().map(|(node, _)| node.clone()).collect();
            print_list(&nodes, (format, false))
        }
    }
}
