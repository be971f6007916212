//! Manifests of the tests.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::orphans::MARK;

/// A PyTorchJob.
#[derive(Debug, Clone)]
pub struct Job {
    value: Value,
}

fn replicas(count: u32, command: &[&str]) -> Value {
    json!({
        "replicas": count,
        "restartPolicy": "OnFailure",
        "template": {
            "spec": {
                "containers": [{"name": "pytorch", "image": "busybox", "command": command}],
            },
        },
    })
}

impl Job {
    /// A master and some workers that run a command of the machine.
    #[must_use]
    pub fn new(name: &str, workers: u32, command: &[&str]) -> Self {
        let mut specs = json!({"Master": replicas(1, command)});
        if workers > 0 {
            specs["Worker"] = replicas(workers, command);
        }
        let value = json!({
            "apiVersion": "kubeflow.org/v1",
            "kind": "PyTorchJob",
            "metadata": {"name": name},
            "spec": {"pytorchReplicaSpecs": specs},
        });
        Self { value }
    }

    /// The same in shell.
    #[must_use]
    pub fn shell(name: &str, workers: u32, script: &str) -> Self {
        Self::new(name, workers, &["sh", "-c", script])
    }

    /// Sets the value at a JSON pointer, making objects on the way.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.value;
        for part in pointer.trim_start_matches('/').split('/') {
            let part = part.replace("~1", "/");
            if place.is_null() {
                *place = json!({});
            }
            place = match place {
                Value::Array(items) => {
                    let index: usize = part.parse().expect("an index into a list");
                    &mut items[index]
                }
                object => &mut object[&part],
            };
        }
        *place = value;
        self
    }

    /// Does something to the pod template of every role.
    #[must_use]
    pub fn each_template(mut self, change: impl Fn(&mut Value)) -> Self {
        let specs = self.value["spec"]["pytorchReplicaSpecs"].as_object_mut();
        for (_, spec) in specs.expect("a job has roles") {
            change(&mut spec["template"]);
        }
        self
    }

    /// Gives every container an image.
    #[must_use]
    pub fn image(self, image: &str) -> Self {
        self.each_template(|template| template["spec"]["containers"][0]["image"] = image.into())
    }

    /// Gives every container a variable.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.each_template(|template| {
            let env = &mut template["spec"]["containers"][0]["env"];
            if env.is_null() {
                *env = json!([]);
            }
            env.as_array_mut()
                .expect("a list of variables")
                .push(json!({"name": name, "value": value}));
        })
    }

    /// Sets the restart policy of every role.
    #[must_use]
    pub fn restart_policy(mut self, policy: &str) -> Self {
        let specs = self.value["spec"]["pytorchReplicaSpecs"].as_object_mut();
        for (_, spec) in specs.expect("a job has roles") {
            spec["restartPolicy"] = policy.into();
        }
        self
    }

    /// A job of workers only.
    #[must_use]
    pub fn without_master(mut self) -> Self {
        let specs = self.value["spec"]["pytorchReplicaSpecs"].as_object_mut();
        specs.expect("a job has roles").remove("Master");
        self
    }

    /// Writes it to a file in a directory, with the mark by which a test finds its processes.
    #[must_use]
    pub fn write(self, data: &Path) -> PathBuf {
        let marked = self.env(MARK, &data.to_string_lossy());
        let name = marked.value["metadata"]["name"].as_str().unwrap_or("job").to_owned();
        let path = data.join(format!("{name}.json"));
        std::fs::write(&path, marked.value.to_string()).expect("the manifest can be written");
        path
    }
}

/// A script of this folder, by its absolute path.
#[must_use]
pub fn ddp_script(name: &str) -> String {
    format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}
