//! The words in which a test talks to the small agent of the testbed, and what both open runtimes with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::agent::{EnvironmentOptions, MappedImages};
use muster_agent::machine::CgroupOptions;
use muster_agent::runtime::{
    Config, ExecutionEnvironment, ImageError, Images, ShimCommand, Source,
};
use muster_agent_core::launch::NodeFacts;
use muster_environments::Gpu;
use muster_model::{Exit, Fence, GenerationContext, LaunchSpec, Millis, ReplicaId};
use serde::{Deserialize, Serialize};

/// How a runtime is to be opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) data: PathBuf,
    /// Where environments lie. `None`: every image is the machine's own.
    pub(crate) environments: Option<PathBuf>,
    pub(crate) shim: PathBuf,
    pub(crate) gpus: Vec<u32>,
    pub(crate) log_limit: u64,
    pub(crate) cgroups: bool,
    /// In milliseconds.
    pub(crate) stop_patience: u64,
}

impl Options {
    pub(crate) fn config(&self) -> Config {
        Config {
            data: self.data.clone(),
            shim: ShimCommand { program: self.shim.clone(), arguments: vec!["shim".into()] },
            node: NodeFacts {
                name: "node-a".into(),
                address: "127.0.0.1".into(),
                millicores: 2000,
                has_gpus: !self.gpus.is_empty(),
                path: std::env::var("PATH").ok(),
                portable: vec![("HOME".into(), "/tmp".into())],
                host: Vec::new(),
            },
            gpus: self.gpus.clone(),
            log_limit: self.log_limit,
            cgroups: CgroupOptions { disabled: !self.cgroups, parent: None },
            stop_patience: Duration::from_millis(self.stop_patience),
        }
    }
}

impl Options {
    /// What images stand for.
    pub(crate) fn images(&self) -> Arc<dyn Images> {
        let Some(root) = &self.environments else { return Arc::new(TestImages) };
        let options = EnvironmentOptions { root: root.clone(), map: None };
        Arc::new(MappedImages::open(&options, Gpu::None).expect("the folder is usable"))
    }
}

/// A call of the runtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Call {
    Prepare(Box<LaunchSpec>),
    Start(ReplicaId, Fence, GenerationContext),
    Stop(ReplicaId, Fence, Millis),
    Remove(ReplicaId, Fence),
}

/// How far a replica is, as the small agent tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    Preparing,
    Ready,
    Running,
    Exited(Exit),
}

/// What the small agent tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum News {
    Adopted(ReplicaId, Fence, Told),
    /// Everything that was found has been told.
    Open,
    Seen(ReplicaId, Fence, Told),
}

/// Every image is the machine's own environment; those with certain names are not.
#[derive(Debug, Default)]
pub(crate) struct TestImages;

impl Images for TestImages {
    fn environment_for(
        &self,
        image: &str,
        annotations: &BTreeMap<String, String>,
        progress: &mut dyn FnMut(String),
    ) -> Result<ExecutionEnvironment, ImageError> {
        progress(format!("looking for {image}"));
        if let Some(why) = image.strip_prefix("broken:") {
            return Err(ImageError {
                why: format!("no environment for image {image}: {why}"),
                permanent: false,
            });
        }
        let mut found = ExecutionEnvironment {
            description: "the machine's own".into(),
            ..ExecutionEnvironment::default()
        };
        if image.starts_with("unmapped") {
            found.warning = Some(format!("image {image} is not mapped"));
        }
        if let Some(path) = annotations.get("test/path-prefix") {
            let path_prefix = vec![path.into()];
            found.source = Source::Machine { path_prefix, variables: Vec::new() };
        }
        Ok(found)
    }
}
