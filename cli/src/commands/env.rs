//! `muster env`: the cached environments that images map to.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use muster_agent::agent::gpu_of;
use muster_agent::machine::{self, Overrides};
use muster_environments::{
    ANNOTATION_PACKAGES, BuildContext, EnvironmentStore, Gpu, ImageMap, PruneRule, Stored, Target,
    Wishes, human_size,
};
use serde_json::{Value, json};

use super::node_options::{environments_root, image_map};
use crate::args::{EnvCommand, Format, Global};
use crate::connect::data_dir;
use crate::exit::Failure;
use crate::output::{Rows, Spinner, elapsed, line, print_rows, print_value, say};

/// Seconds of a day.
const DAY: u64 = 86_400;

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::refused("M3002", error.to_string())
}

pub(super) fn run(global: &Global, command: EnvCommand) -> Result<ExitCode, Failure> {
    let data = data_dir(global)?;
    let store = EnvironmentStore::open(&environments_root(&data)).map_err(failed)?;
    match command {
        EnvCommand::List(output) => list(&store, output.output)?,
        EnvCommand::Prune { older_than, dry_run } => prune(&store, (older_than, dry_run))?,
        EnvCommand::Build { image, packages, images } => {
            let map = match image_map(&data, images.as_deref()) {
                Some(path) => ImageMap::load(&path).map_err(failed)?,
                None => ImageMap::builtin(),
            };
            // What an agent on this machine would build.
            let machine = machine::detect(store.root(), &Overrides::default());
            let gpu = gpu_of(&machine.map_err(failed)?);
            build(&store, &map, (&image, &packages, gpu))?;
        }
        EnvCommand::Remove { name } => {
            let removed = store.remove(&name).map_err(failed)?;
            line(format!("{} removed ({})", removed.name, human_size(removed.size)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &EnvironmentStore, format: Format) -> Result<(), Failure> {
    let environments = store.list().map_err(failed)?;
    match format {
        Format::Json | Format::Yaml => {
            let values: Vec<Value> = environments.iter().map(to_json).collect();
            print_value(&Value::Array(values), format)?;
        }
        Format::Name => environments.iter().for_each(|stored| line(&stored.name)),
        Format::Table | Format::Wide if environments.is_empty() => {
            say(format!("no environments in {}", store.root().display()));
        }
        Format::Table | Format::Wide => {
            let rows = environments.iter().map(|stored| {
                vec![
                    stored.name.clone(),
                    stored.python_version.clone(),
                    human_size(stored.size),
                    ago(stored.last_used),
                    if stored.in_use() { "yes" } else { "no" }.to_owned(),
                    stored.requirements.join(" "),
                ]
            });
            let header = vec!["NAME", "PYTHON", "SIZE", "LAST USED", "IN USE", "PACKAGES"];
            print_rows(&Rows { header, rows: rows.collect() });
        }
    }
    Ok(())
}

fn ago(time: std::time::SystemTime) -> String {
    time.elapsed().map_or_else(|_| "now".into(), elapsed)
}

fn to_json(stored: &Stored) -> Value {
    json!({
        "name": stored.name,
        "key": stored.key.to_string(),
        "path": stored.path,
        "python": stored.python_version,
        "size": stored.size,
        "requirements": stored.requirements,
        "packages": stored.packages,
        "inUse": stored.in_use(),
    })
}

fn prune(
    store: &EnvironmentStore,
    (older_than, dry_run): (Option<u64>, bool),
) -> Result<(), Failure> {
    let rule = match older_than {
        Some(days) => PruneRule::UnusedFor(Duration::from_secs(days.saturating_mul(DAY))),
        None => PruneRule::AllUnused,
    };
    let pruned = store.prune(rule, dry_run).map_err(failed)?;
    let would = if dry_run { "would be removed" } else { "removed" };
    for stored in &pruned.removed {
        line(format!("{} {would} ({})", stored.name, human_size(stored.size)));
    }
    for stored in &pruned.in_use {
        say(format!("{} is in use and stays", stored.name));
    }
    let total: u64 = pruned.removed.iter().map(|stored| stored.size).sum();
    say(format!("{} {would}, {}", pruned.removed.len(), human_size(total)));
    Ok(())
}

fn build(
    store: &EnvironmentStore,
    map: &ImageMap,
    (image, packages, gpu): (&str, &str, Gpu),
) -> Result<(), Failure> {
    let mut annotations = BTreeMap::new();
    if !packages.is_empty() {
        annotations.insert(ANNOTATION_PACKAGES.to_owned(), packages.to_owned());
    }
    let wishes = Wishes::from_annotations(&annotations).map_err(failed)?;
    let resolved = map.resolve(image, &wishes).map_err(failed)?;
    if let Some(warning) = &resolved.warning {
        say(format!("warning: {warning}"));
    }
    let Target::Environment(spec) = resolved.target else {
        line(format!("{image} runs in the machine's own environment ({})", resolved.origin));
        return Ok(());
    };
    let spinner = Spinner::start(&format!("environment of {image}"));
    let context = BuildContext { gpu, ..BuildContext::default() };
    let built = store
        .ensure(&spec, &context, &mut |progress| spinner.tell(&progress.phase.to_string()))
        .map_err(failed)?;
    spinner.finish(&format!("environment of {image} is ready ({})", human_size(built.size)));
    line(built.path.display().to_string());
    Ok(())
}
