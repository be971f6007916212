//! What a kind gives to the replicas of a role beside what the manifest says: variables, files, names.

use muster_model::{
    EnvTemplate, FileTemplate, Naming, Part, PeerPart, PeerSet, Peers, RoleIndex, Template,
    Variable,
};

use crate::findings::Findings;
use crate::node::Node;

/// What the replicas of one role are given.
#[derive(Debug, Clone)]
pub(crate) struct Injection {
    /// Variables of every container.
    pub(crate) env: Vec<EnvTemplate>,
    /// Variables of the main container only.
    pub(crate) main_env: Vec<EnvTemplate>,
    pub(crate) files: Vec<FileTemplate>,
    pub(crate) naming: Naming,
    /// How often an agent starts the main command in each replica.
    pub(crate) processes: u32,
}

impl Injection {
    /// Nothing, under the usual names.
    pub(crate) fn new() -> Self {
        Self {
            env: Vec::new(),
            main_env: Vec::new(),
            files: Vec::new(),
            naming: Naming::default(),
            processes: 1,
        }
    }

    /// A variable of every container, which wins over the manifest's.
    pub(crate) fn set(&mut self, name: &str, value: Template) -> &mut Self {
        self.env.push(variable(name, value, false));
        self
    }

    /// A variable of the main container, which wins over the manifest's.
    pub(crate) fn set_in_main(&mut self, name: &str, value: Template) -> &mut Self {
        self.main_env.push(variable(name, value, false));
        self
    }

    /// A variable of the main container, unless the manifest sets it.
    pub(crate) fn offer_in_main(&mut self, name: &str, value: Template) -> &mut Self {
        self.main_env.push(variable(name, value, true));
        self
    }

    /// A file of every container.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: Template) -> &mut Self {
        self.files.push(FileTemplate { path: path.to_owned(), mode, content });
        self
    }

    /// Warns of variables that the manifest sets to something else. `pod` is the pod spec, `main` the
    /// index of the main container.
    pub(crate) fn warn_of_overridden(&self, pod: &Node<'_>, main: usize, to: &mut Findings) {
        for (index, container) in pod.field("containers").items().enumerate() {
            let of_main = if index == main { self.main_env.as_slice() } else { &[] };
            for variable in container.field("env").items() {
                let name = variable.field("name");
                let mut ours = self.env.iter().chain(of_main).filter(|ours| !ours.user_wins);
                let Some(ours) = ours.find(|ours| Some(ours.name.as_str()) == name.text()) else {
                    continue;
                };
                let value = variable.field("value");
                let same = match ours.value.0.as_slice() {
                    [Part::Text(text)] => value.text() == Some(text),
                    _ => false,
                };
                if !same {
                    to.overridden(variable.path(), &ours.name);
                }
            }
        }
    }
}

fn variable(name: &str, value: Template, user_wins: bool) -> EnvTemplate {
    EnvTemplate { name: name.to_owned(), value, user_wins }
}

/// A value without holes.
pub(crate) fn text(value: impl ToString) -> Template {
    Template::text(value.to_string())
}

/// Where the replica finds a file of its role.
pub(crate) fn path_of(file: &str) -> Template {
    Template(vec![Part::Hole(Variable::FilesRoot), Part::Text(file.to_owned())])
}

/// `host:port` of a port that rank 0 can bind.
pub(crate) fn leader_endpoint() -> Template {
    Template(vec![
        Part::Hole(Variable::LeaderHost),
        Part::Text(":".to_owned()),
        Part::Hole(Variable::FreePort),
    ])
}

/// Every replica of a role, one `each` after the other.
pub(crate) fn peers(role: RoleIndex, each: &[PeerPart], separator: &str) -> Part {
    listed(PeerSet::Role(role), each, separator)
}

/// The replica itself.
pub(crate) fn itself(each: &[PeerPart]) -> Part {
    listed(PeerSet::Own, each, "")
}

fn listed(of: PeerSet, each: &[PeerPart], separator: &str) -> Part {
    Part::Peers(Peers { of, each: each.to_vec(), separator: separator.to_owned() })
}
