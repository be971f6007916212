//! One container of a pod template.

use std::collections::BTreeSet;

use muster_model::{ContainerSpec, PortSpec};

use super::{env, resources, volumes};
use crate::findings::Findings;
use crate::node::Node;
use crate::syntax::{DNS_LABEL, PORT_NAME, is_dns_label, is_port_name};

/// Reads a container of the pod `spec`, whose volumes have the names `known`.
pub(super) fn read(
    node: &Node<'_>,
    spec: &Node<'_>,
    known: &BTreeSet<&str>,
    to: &mut Findings,
) -> ContainerSpec {
    let name = node.field("name");
    match name.nonempty() {
        None if name.is_set() && name.text().is_none() => {}
        None => to.required(name.path(), "give the container a name"),
        Some(text) if !is_dns_label(text) => to.invalid(name.path(), text, DNS_LABEL),
        Some(_) => {}
    }
    let image = node.field("image");
    if image.nonempty().is_none() && (image.text().is_some() || !image.is_set()) {
        to.required(image.path(), "name an image; the process runtime maps it to an environment");
    }
    let amounts = resources::read(&node.field("resources"), to);
    env::refuse_env_from(&node.field("envFrom"), to);
    ContainerSpec {
        name: name.text().unwrap_or_default().to_owned(),
        image: image.text().unwrap_or_default().to_owned(),
        command: node.field("command").texts(),
        args: node.field("args").texts(),
        working_dir: node.field("workingDir").nonempty().map(str::to_owned),
        env: env::read(node, spec, to),
        requests: amounts.requests,
        limits: amounts.limits,
        mounts: volumes::read_mounts(&node.field("volumeMounts"), known, to),
        ports: ports(&node.field("ports"), to),
    }
}

fn ports(list: &Node<'_>, to: &mut Findings) -> Vec<PortSpec> {
    let mut names = BTreeSet::new();
    let mut ports = Vec::new();
    for port in list.items() {
        let name = port.field("name");
        if let Some(text) = name.nonempty() {
            if !is_port_name(text) {
                to.invalid(name.path(), text, PORT_NAME);
            }
            if !names.insert(text) {
                to.duplicate(name.path(), text, "port names are unique in a container");
            }
        }
        let protocol = port.field("protocol");
        let known = ["TCP", "UDP", "SCTP"];
        if let Some(text) = protocol.nonempty().filter(|text| !known.contains(text)) {
            to.not_supported(protocol.path(), text, &known);
        }
        let number = port.field("containerPort");
        match number.int() {
            Some(value @ 1..=65_535) => ports.push(PortSpec {
                name: name.text().unwrap_or_default().to_owned(),
                // The match arm is within u16.
                port: value as u16,
            }),
            Some(value) => to.invalid(number.path(), value, "a port is between 1 and 65535"),
            None if number.is_set() => {}
            None => to.required(number.path(), "name the port's number"),
        }
    }
    ports
}
