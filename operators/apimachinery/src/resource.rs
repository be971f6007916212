//! What a resource is called and can do.

/// What can be done with a resource, as discovery and access rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// POST of a collection.
    Create,
    /// DELETE of an object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// GET of an object.
    Get,
    /// GET of a collection.
    List,
    /// PATCH of an object.
    Patch,
    /// PUT of an object.
    Update,
    /// GET of a collection, and then of what changes.
    Watch,
}

/// A part of an object with a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// `status`, `scale`, `log` and so on.
    pub name: &'static str,
    /// Group, version and kind of what is sent and answered, where those are not the resource's own.
    pub kind: Option<(&'static str, &'static str, &'static str)>,
    /// What can be done with it.
    pub verbs: &'static [Verb],
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceInfo {
    /// The API group; empty: the core group.
    pub group: &'static str,
    /// The version in it.
    pub version: &'static str,
    /// The name in paths.
    pub plural: &'static str,
    /// The name of one, in lower case.
    pub singular: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// What people type instead.
    pub short_names: &'static [&'static str],
    /// Groups of resources that it belongs to: `all` is what `kubectl get all` shows.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'static [Verb],
    /// Its parts.
    pub subresources: &'static [Subresource],
    /// Whether clients have its type compiled in, so that they send strategic merge patches and protobuf.
    pub is_builtin: bool,
}

impl Verb {
    /// All, in the order of their names.
    pub const ALL: &'static [Self] = &[
        Self::Create,
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Update,
        Self::Watch,
    ];
    /// Those that change nothing.
    pub const READ: &'static [Self] = &[Self::Get, Self::List, Self::Watch];

    /// Its name, as in discovery and in access rules.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

impl ResourceInfo {
    /// `group/version`, or the version alone for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The name in messages: `pytorchjobs.kubeflow.org`, or the plural alone for the core group.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The kind in messages about what is invalid: `PyTorchJob.kubeflow.org`.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// The kind of a list of them.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// A part of it.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|part| part.name == name)
    }
}
