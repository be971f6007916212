//! `TF_CONFIG`, the text from which TensorFlow's cluster resolver learns who and where it is.
//!
//! Its forms are those of `pkg/controller.v1/tensorflow/tensorflow.go`: the whole cluster, or, for dynamic workers, the
//! part of it that the replica needs. A job of one replica has none, and trains by itself.

use muster_model::{Part, PeerPart, RoleIndex, RoleName, Template, Variable};

use super::{PS, WORKER};
use crate::injection::{itself, peers};
use crate::roles::{self, Replicas};

/// The replicas that are listed.
pub(super) struct Cluster {
    /// Types in lower case, by name.
    types: Vec<(String, RoleIndex)>,
    total: u32,
    dynamic: bool,
}

impl Cluster {
    pub(super) fn of(all: &[Replicas<'_>], dynamic: bool) -> Self {
        let listed = all.iter().filter_map(|one| {
            let name = RoleName(one.role.to_owned()).lower();
            Some((name, roles::index_of(all, one.role)?))
        });
        let mut types: Vec<_> = listed.collect();
        types.sort();
        Self { types, total: roles::total(all), dynamic }
    }

    /// The text for the replicas of a type; `None` when it is not set.
    pub(super) fn config_of(&self, role: &str) -> Option<Template> {
        if self.total == 1 {
            return None;
        }
        let mut parts = vec![text("{\"cluster\":{")];
        match self.dynamic {
            true => self.sparse(role, &mut parts),
            false => self.whole(&mut parts),
        }
        let name = RoleName(role.to_owned()).lower();
        parts.push(text(&format!("}},\"task\":{{\"type\":\"{name}\",\"index\":")));
        parts.push(Part::Hole(Variable::RoleIndex));
        let end = if self.dynamic { "}}" } else { "},\"environment\":\"cloud\"}" };
        parts.push(text(end));
        Some(Template(parts))
    }

    fn whole(&self, parts: &mut Vec<Part>) {
        for (place, (name, role)) in self.types.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            parts.push(text(&format!("{comma}\"{name}\":[")));
            parts.push(peers(*role, &quoted_endpoint(), ","));
            parts.push(text("]"));
        }
    }

    /// A worker sees itself and all parameter servers, a parameter server sees itself, and the others see nobody.
    fn sparse(&self, role: &str, parts: &mut Vec<Part>) {
        parts.push(text("\"worker\":{"));
        if role == WORKER {
            let key = [text_of("\""), PeerPart::Index, text_of("\":")];
            parts.push(itself(&[&key[..], &quoted_endpoint()].concat()));
        }
        parts.push(text("},\"ps\":["));
        let servers = self.types.iter().find(|(name, _)| name.eq_ignore_ascii_case(PS));
        match (role, servers) {
            (WORKER, Some((_, servers))) => parts.push(peers(*servers, &quoted_endpoint(), ",")),
            (PS, _) => parts.push(itself(&quoted_endpoint())),
            _ => {}
        }
        parts.push(text("]"));
    }
}

fn quoted_endpoint() -> [PeerPart; 5] {
    [text_of("\""), PeerPart::Host, text_of(":"), PeerPart::Port, text_of("\"")]
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn text_of(text: &str) -> PeerPart {
    PeerPart::Text(text.to_owned())
}
