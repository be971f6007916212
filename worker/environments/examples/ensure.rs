//! Builds the environment of an image by hand and tells what happens:
//! `cargo run -p muster-environments --example ensure -- pytorch/pytorch [PACKAGES]`.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use muster_environments::{
    ANNOTATION_PACKAGES, BuildContext, EnvironmentStore, ImageMap, Machine, Target, Wishes,
    human_size,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments.next().ok_or("say which image")?;
    let annotations: BTreeMap<String, String> = arguments
        .next()
        .map(|packages| (ANNOTATION_PACKAGES.to_owned(), packages))
        .into_iter()
        .collect();
    let wishes = Wishes::from_annotations(&annotations)?;
    let resolution = ImageMap::builtin().resolve(&image, &wishes)?;
    println!("{}", resolution.origin);
    if let Some(warning) = resolution.warning {
        println!("warning: {warning}");
    }
    let Target::Environment(spec) = resolution.target else {
        println!("no environment: {:?}", resolution.target);
        return Ok(());
    };
    let machine = Machine::from_process();
    let root = EnvironmentStore::default_root(&machine).ok_or("there is no home folder")?;
    let store = EnvironmentStore::open_on(&root, machine)?;
    let mut told = String::new();
    let environment = store.ensure(&spec, &BuildContext::default(), &mut |progress| {
        let text = progress.phase.to_string();
        if text != told {
            let seconds = progress.elapsed.as_secs_f32();
            println!("{seconds:7.2} s  {:>8}  {text}", human_size(progress.bytes_on_disk));
            told = text;
        }
    })?;
    println!(
        "{}\nPython {}, {} packages, {}, {}",
        environment.path.display(),
        environment.python_version,
        environment.packages.len(),
        human_size(environment.size),
        if environment.built_now { "built now" } else { "was there" },
    );
    for notice in &environment.notices {
        println!("notice: {notice}");
    }
    Ok(())
}
