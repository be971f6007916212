//! Volumes of a pod and where its containers see them.

use std::collections::BTreeSet;

use muster_model::{HostPathKind, Volume, VolumeMount, VolumeSource};

use crate::findings::Findings;
use crate::node::Node;
use crate::schema::{core::VOLUME, quantity};
use crate::suggest::nearest;
use crate::syntax::{DNS_LABEL, is_dns_label};

/// Reads `volumes`.
pub(super) fn read(list: &Node<'_>, to: &mut Findings) -> Vec<Volume> {
    let mut names = BTreeSet::new();
    let mut volumes = Vec::new();
    for node in list.items() {
        let name = node.field("name");
        match name.nonempty() {
            None if name.is_set() && name.text().is_none() => {}
            None => to.required(name.path(), "give the volume a name"),
            Some(text) if !is_dns_label(text) => to.invalid(name.path(), text, DNS_LABEL),
            Some(text) if !names.insert(text) => {
                to.duplicate(name.path(), text, "volume names are unique in a pod");
            }
            Some(_) => {}
        }
        // A volume that is refused keeps its name, so that its mounts are no second error.
        volumes.push(Volume {
            name: name.text().unwrap_or_default().to_owned(),
            source: source(&node, to),
        });
    }
    volumes
}

const EMPTY: VolumeSource = VolumeSource::EmptyDir { memory: false, size_limit: None };

/// The source of a volume. One without a source is an emptyDir, by the defaults of `core/v1`.
fn source(volume: &Node<'_>, to: &mut Findings) -> VolumeSource {
    let known = |key: &str| key != "name" && VOLUME.has(key);
    let mut sources = volume.entries().filter(|(key, _)| known(key));
    let Some((kind, node)) = sources.next() else {
        return EMPTY;
    };
    for (_, second) in sources {
        to.forbidden(second.path(), format!("a volume has one source, and this one has {kind}"));
    }
    match kind {
        "emptyDir" => empty_dir(&node, to),
        "hostPath" => host_path(&node, to),
        "configMap" | "secret" if node.field("optional").flag() => {
            let subject = ("Volume", if kind == "secret" { "secret" } else { "configMap" });
            to.not_acted_on(node.path(), subject, "it is optional, so it stays empty");
            EMPTY
        }
        "configMap" | "secret" => {
            to.forbidden(
                node.path(),
                "not supported yet; put the files on the nodes and use a hostPath volume, or set optional: true",
            );
            EMPTY
        }
        // Refused by the schema.
        _ => EMPTY,
    }
}

fn empty_dir(node: &Node<'_>, to: &mut Findings) -> VolumeSource {
    let medium = node.field("medium");
    if let Some(text) = medium.nonempty().filter(|text| *text != "Memory") {
        to.not_supported(medium.path(), text, &["Memory"]);
    }
    let limit = node.field("sizeLimit");
    let size_limit = limit.value().and_then(|value| {
        let quantity = quantity(value).ok()?;
        if quantity.is_negative() {
            to.invalid(limit.path(), value.clone(), "must not be negative");
        }
        quantity.units()
    });
    VolumeSource::EmptyDir { memory: medium.text() == Some("Memory"), size_limit }
}

fn host_path(node: &Node<'_>, to: &mut Findings) -> VolumeSource {
    const KINDS: [&str; 7] = [
        "DirectoryOrCreate",
        "Directory",
        "FileOrCreate",
        "File",
        "Socket",
        "CharDevice",
        "BlockDevice",
    ];
    let path = node.field("path");
    match path.nonempty() {
        None => to.required(path.path(), "name the path on the node"),
        Some(text) if !text.starts_with('/') => {
            to.invalid(path.path(), text, "must be an absolute path");
        }
        Some(text) if has_parent(text) => to.invalid(path.path(), text, "must not contain '..'"),
        Some(_) => {}
    }
    let field = node.field("type");
    let kind = match field.text().unwrap_or_default() {
        "" => HostPathKind::Any,
        "DirectoryOrCreate" => HostPathKind::DirectoryOrCreate,
        "Directory" => HostPathKind::Directory,
        "FileOrCreate" => HostPathKind::FileOrCreate,
        "File" => HostPathKind::File,
        "Socket" | "CharDevice" | "BlockDevice" => {
            let subject = ("HostPathVolumeSource", "type");
            to.not_acted_on(field.path(), subject, "what is at the path is not checked");
            HostPathKind::Any
        }
        other => {
            to.not_supported(field.path(), other, &KINDS);
            HostPathKind::Any
        }
    };
    VolumeSource::HostPath { path: path.text().unwrap_or_default().to_owned(), kind }
}

fn has_parent(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// Reads `volumeMounts` of a container.
pub(super) fn read_mounts(
    list: &Node<'_>,
    known: &BTreeSet<&str>,
    to: &mut Findings,
) -> Vec<VolumeMount> {
    let mut paths = BTreeSet::new();
    let mut mounts = Vec::new();
    for node in list.items() {
        let name = node.field("name");
        check_volume_name(&name, known, to);
        let path = node.field("mountPath");
        match path.nonempty() {
            None => to.required(path.path(), "name the path in the container"),
            Some(text) if !text.starts_with('/') => {
                to.invalid(path.path(), text, "must be an absolute path");
            }
            Some(text) if !paths.insert(text.trim_end_matches('/')) => {
                to.duplicate(path.path(), text, "mount paths are unique in a container");
            }
            Some(_) => {}
        }
        let sub_path = node.field("subPath");
        if let Some(text) = sub_path.nonempty()
            && (text.starts_with('/') || has_parent(text))
        {
            let advice = "must be a relative path without '..'";
            to.invalid(sub_path.path(), text, advice);
        }
        mounts.push(VolumeMount {
            volume: name.text().unwrap_or_default().to_owned(),
            path: path.text().unwrap_or_default().to_owned(),
            sub_path: sub_path.text().unwrap_or_default().to_owned(),
            read_only: node.field("readOnly").flag(),
        });
    }
    mounts
}

fn check_volume_name(name: &Node<'_>, known: &BTreeSet<&str>, to: &mut Findings) {
    let Some(text) = name.nonempty() else {
        return to.required(name.path(), "name the volume");
    };
    if known.contains(text) {
        return;
    }
    let meant = match to.lists_no_more_errors() {
        true => None,
        false => nearest(text, known.iter().copied()),
    };
    let advice = match meant {
        Some(meant) => format!("the pod has no volume of that name; did you mean {meant}?"),
        None => "the pod has no volume of that name; add it to volumes".to_owned(),
    };
    to.invalid(name.path(), text, advice);
}
