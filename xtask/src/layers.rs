//! The house's layers: an import may only point down, and the pure crates depend on pure things only.
//!
//! A crate names its layer at the start of its description (`L1: ...`). A few are put together from parts of their own
//! layer; a part knows no other part and none of those. Dev-dependencies are free: a test
//! may build upon anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Findings;

/// What crates of L0 and L1 may depend on besides each other. `raft` and what belongs to it only
/// behind muster-consensus, wire types only in muster-proto.
const PURE: [&str; 8] = [
    "bytes",
    "rmp-serde",
    "serde",
    "serde-saphyr",
    "serde_json",
    "thiserror",
    "xxhash-rust",
    "slog",
];

/// The crates that are put together from others of their own layer: the daemons and the client of L2, and the one that
/// drives brain and consensus in L1.
const ASSEMBLED: [(&str, u8); 4] = [
    ("muster-coordinator", 2),
    ("muster-agent", 2),
    ("muster-client", 2),
    ("muster-coordinator-core", 1),
];

/// Exceptions, with the one crate that may have them.
const ONLY_IN: [(&str, &str); 6] = [
    ("raft", "muster-consensus"),
    ("protobuf", "muster-consensus"),
    ("prost", "muster-proto"),
    ("tonic", "muster-proto"),
    ("tonic-prost", "muster-proto"),
    ("sled", "muster-store"),
];

pub(crate) fn check(root: &Path) -> Findings {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output();
    let metadata: Value = match output {
        Ok(output) if output.status.success() => {
            serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
        }
        other => return vec![format!("cargo metadata failed: {other:?}")],
    };
    check_metadata(&metadata)
}

fn check_metadata(metadata: &Value) -> Findings {
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let mut findings = Vec::new();
    let mut layers: BTreeMap<&str, u8> = BTreeMap::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        match layer(package) {
            Some(layer) => {
                layers.insert(name, layer);
            }
            None if name == "xtask" => {}
            None => findings.push(format!("{name}: its description does not name its layer")),
        }
    }
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(own) = layers.get(name).copied() else { continue };
        let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
        for dependency in dependencies.iter().filter(|d| d["kind"].is_null()) {
            let other = dependency["name"].as_str().unwrap_or_default();
            match layers.get(other) {
                Some(below) if *below < own => {}
                Some(below)
                    if *below == own && is_assembled(name, own) && !is_assembled(other, own) => {}
                Some(below) => findings.push(format!(
                    "{name} (L{own}) depends on {other} (L{below}): an import may only point down"
                )),
                None => findings.extend(foreign((name, own), other)),
            }
        }
    }
    findings
}

fn is_assembled(name: &str, layer: u8) -> bool {
    ASSEMBLED.contains(&(name, layer))
}

fn layer(package: &Value) -> Option<u8> {
    let description = package["description"].as_str()?;
    let digit = description.strip_prefix('L')?.split_once(':')?.0;
    digit.parse().ok()
}

fn foreign((name, layer): (&str, u8), dependency: &str) -> Option<String> {
    if let Some((_, home)) = ONLY_IN.iter().find(|(only, _)| *only == dependency) {
        let upper = matches!(dependency, "tonic" | "prost" | "tonic-prost") && layer >= 2;
        return (name != *home && !upper)
            .then(|| format!("{name} depends on {dependency}, which only {home} may"));
    }
    (layer <= 1 && !PURE.contains(&dependency)).then(|| {
        format!(
            "{name} (L{layer}) depends on {dependency}, which is not on the list of pure crates"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, description: &str, dependencies: &[&str]) -> Value {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|d| json!({"name": d, "kind": null})).collect();
        json!({"name": name, "description": description, "dependencies": dependencies})
    }

    fn findings(packages: &[Value]) -> usize {
        check_metadata(&json!({"packages": packages})).len()
    }

    #[test]
    fn imports_point_down_and_pure_crates_stay_pure() {
        let model = package("model", "L0: words", &["serde"]);
        let good = package("state", "L1: brain", &["model", "serde"]);
        assert_eq!(findings(&[model.clone(), good]), 0);
        assert_eq!(findings(&[model, package("state", "L1: brain", &["tokio"])]), 1);
        assert_eq!(findings(&[package("a", "L1: a", &["b"]), package("b", "L1: b", &[])]), 1);
        assert_eq!(findings(&[package("a", "L0: a", &["b"]), package("b", "L2: b", &[])]), 1);
        assert_eq!(findings(&[package("a", "no layer", &[])]), 1);
        assert_eq!(findings(&[package("server", "L2: s", &["sled"])]), 1);
        let part = package("part", "L2: p", &[]);
        assert_eq!(findings(&[part.clone(), package("muster-agent", "L2: a", &["part"])]), 0);
        assert_eq!(findings(&[part, package("other-part", "L2: o", &["part"])]), 1);
    }
}
