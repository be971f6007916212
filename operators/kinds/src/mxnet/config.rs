//! `MX_CONFIG`, the cluster as a text: every replica with address and port, a label for each type, and which
//! replica is meant (`pkg/controller.v1/mxnet/mxnet.go` at v1.8.1).

use muster_model::{Part, PeerPart, RoleIndex, RoleName, Template, Variable};

use crate::injection::peers;
use crate::roles::{self, Replicas};

/// The annotation of a pod template whose value stands for its type in `labels`.
const LABEL: &str = "tuner-server-key";

/// One type with replicas.
struct Listed {
    /// Its name in lower case.
    name: String,
    role: RoleIndex,
    label: String,
}

/// All replicas.
pub(super) struct Cluster {
    /// By name.
    types: Vec<Listed>,
}

impl Cluster {
    pub(super) fn of(all: &[Replicas<'_>]) -> Self {
        let listed = all.iter().filter_map(|one| {
            Some(Listed {
                name: RoleName(one.role.to_owned()).lower(),
                role: roles::index_of(all, one.role)?,
                label: one.pod.annotations.get(LABEL).cloned().unwrap_or_default(),
            })
        });
        let mut types: Vec<Listed> = listed.collect();
        types.sort_by(|one, other| one.name.cmp(&other.name));
        Self { types }
    }

    /// The text for the replicas of a type, which is named in lower case.
    pub(super) fn config_of(&self, role: &str) -> Template {
        let mut parts = vec![text("{\"cluster\":{".to_owned())];
        for (place, listed) in self.types.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            parts.push(text(format!("{comma}\"{}\":[", listed.name)));
            parts.push(peers(listed.role, &address_and_port(), ","));
            parts.push(text("]".to_owned()));
        }
        let labels: Vec<String> = self
            .types
            .iter()
            .map(|listed| format!("\"{}\":{}", listed.name, serde_json::json!(listed.label)))
            .collect();
        parts.push(text(format!(
            "}},\"labels\":{{{}}},\"task\":{{\"type\":\"{role}\",\"index\":",
            labels.join(",")
        )));
        parts.push(Part::Hole(Variable::RoleIndex));
        parts.push(text("}}".to_owned()));
        Template(parts)
    }
}

fn address_and_port() -> [PeerPart; 5] {
    let text = |text: &str| PeerPart::Text(text.to_owned());
    [text("{\"url\":\""), PeerPart::Address, text("\",\"port\":"), PeerPart::Port, text("}")]
}

fn text(text: String) -> Part {
    Part::Text(text)
}
