//! `muster debug bundle`: what somebody who is asked for help wants to see, without secrets.
//!
//! Environment values, arguments of commands and annotations may hold secrets and are left out of manifests; tokens and keys are
//! never read. What cannot be had is said in the place where it would be.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use muster_client::{Client, Error, api};
use serde_json::{Value, json};

use crate::args::{Debug, DebugCommand, Format, Global};
use crate::connect::{connect, data_dir};
use crate::exit::Failure;
use crate::output::{Spinner, line, print_value};

/// How much of a log's end is taken.
const LOG_BYTES: u64 = 4 << 20;
/// What stands for what was left out.
const LEFT_OUT: &str = "(left out)";

pub(super) async fn run(global: &Global, args: &Debug) -> Result<ExitCode, Failure> {
    let DebugCommand::Bundle { directory, output } = &args.command;
    // Nothing of somebody else's is overwritten or mixed up with this.
    fs::DirBuilder::new().mode(0o700).create(directory).map_err(|error| {
        Failure::refused(
            "M5009",
            format!("{}: {error}; name a directory that is not there yet", directory.display()),
        )
    })?;
    let mut bundle = Bundle { directory: directory.clone(), files: Vec::new() };
    let spinner = Spinner::start("collecting");
    bundle.put("version.json", Ok(version()))?;
    match connect(global) {
        Ok(client) => bundle.ask(&client, &spinner).await?,
        Err(error) => bundle.put("coordinator.json", Err(error.to_string()))?,
    }
    let data = data_dir(global)?;
    bundle.put("files.json", Ok(files(&data)))?;
    for log in ["daemon.log", "daemon.log.1"] {
        bundle.log(&data.join(log), log)?;
    }
    spinner.finish(&format!("{} files in {}", bundle.files.len(), directory.display()));
    match output.output {
        format @ (Format::Json | Format::Yaml) => {
            let files = json!({ "directory": directory, "files": bundle.files });
            print_value(&files, format)?;
        }
        _ => bundle.files.iter().for_each(line),
    }
    Ok(ExitCode::SUCCESS)
}

struct Bundle {
    directory: PathBuf,
    files: Vec<String>,
}

impl Bundle {
    fn put(&mut self, name: &str, content: Result<Value, String>) -> Result<(), Failure> {
        let content = content.unwrap_or_else(|why| json!({ "notAvailable": why }));
        let text = serde_json::to_vec_pretty(&content)
            .map_err(|error| Failure::usage(error.to_string()))?;
        self.write(name, &text)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        fs::write(self.directory.join(name), bytes)?;
        self.files.push(name.to_owned());
        Ok(())
    }

    /// The end of a log, if there is one.
    fn log(&mut self, path: &Path, name: &str) -> Result<(), Failure> {
        let Ok(mut file) = fs::File::open(path) else { return Ok(()) };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
        let mut end = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut end)?;
        self.write(name, &end)
    }

    async fn ask(&mut self, client: &Client, spinner: &Spinner) -> Result<(), Failure> {
        let said = |error: Error| error.to_string();
        let status = client.status().await.map_err(said);
        self.put("status.json", status.map(|status| of_status(&status)))?;
        let members = client.members().await.map_err(said);
        self.put("members.json", members.map(|members| of_members(&members)))?;
        for kind in ["nodes", "jobs", "pods", "events"] {
            spinner.tell(&format!("collecting {kind}"));
            let request = api::ListRequest { kind: kind.into(), ..api::ListRequest::default() };
            let list = client.list(request).await.map_err(said);
            self.put(&format!("{kind}.json"), list.map(|list| of_list(&list)))?;
        }
        Ok(())
    }
}

fn version() -> Value {
    let system = rustix::system::uname();
    json!({
        "muster": env!("CARGO_PKG_VERSION"),
        "kernel": system.release().to_string_lossy(),
        "machine": system.machine().to_string_lossy(),
        "cpus": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    })
}

fn of_status(status: &api::StatusReply) -> Value {
    json!({
        "version": status.version, "cluster": status.cluster, "member": status.member, "leader": status.leader,
        "term": status.term, "appliedIndex": status.applied, "digest": status.digest, "nodes": status.nodes,
        "sessions": status.sessions, "jobs": status.jobs, "pid": status.pid,
    })
}

fn of_members(reply: &api::ListMembersReply) -> Value {
    let items: Vec<Value> = reply
        .members
        .iter()
        .map(|one| {
            json!({
                "id": one.member, "role": one.role, "address": one.address, "version": one.version,
                "matchedIndex": one.matched, "active": one.active,
            })
        })
        .collect();
    json!({ "term": reply.term, "commitIndex": reply.commit, "answeredBy": reply.answered_by, "items": items })
}

fn of_list(list: &api::ListReply) -> Value {
    let items: Vec<Value> = list
        .items
        .iter()
        .map(|item| {
            let mut value = serde_json::from_slice(&item.json).unwrap_or(Value::Null);
            conceal(&mut value);
            value
        })
        .collect();
    json!({ "resourceVersion": list.resource_version, "items": items })
}

/// Takes out what may be secret, wherever it stands.
fn conceal(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(conceal),
        Value::Object(fields) => {
            // A variable: its name tells enough.
            if fields.contains_key("name") && fields.contains_key("value") {
                fields["value"] = LEFT_OUT.into();
            }
            for (name, field) in fields {
                match name.as_str() {
                    "args" | "command" | "annotations" | "data" | "stringData" => {
                        *field = LEFT_OUT.into();
                    }
                    _ => conceal(field),
                }
            }
        }
        _ => {}
    }
}

/// Names and sizes of what lies in the data directory: a log that grows, a snapshot that is missing.
fn files(data: &Path) -> Value {
    fn walk(folder: &Path, depth: usize, found: &mut Vec<Value>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                if depth < 4 {
                    walk(&entry.path(), depth + 1, found);
                }
            } else {
                found.push(json!({ "path": entry.path(), "bytes": metadata.len() }));
            }
        }
    }
    let mut found = Vec::new();
    walk(data, 0, &mut found);
    Value::Array(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_left_out_and_the_rest_stays() {
        let mut job = json!({
            "metadata": {"name": "a", "annotations": {"x": "hush"}},
            "spec": {"template": {"containers": [{
                "name": "pytorch", "image": "i", "command": ["sh", "-c", "curl -H hush"], "args": ["hush"],
                "env": [{"name": "TOKEN", "value": "hush"}, {"name": "POD", "valueFrom": {"fieldRef": {}}}],
            }]}},
        });
        conceal(&mut job);
        let text = job.to_string();
        assert!(!text.contains("hush"), "{text}");
        assert!(
            text.contains("TOKEN") && text.contains("pytorch") && text.contains("fieldRef"),
            "{text}"
        );
    }
}
