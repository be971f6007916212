//! The machine's pip configuration, for uv.
//!
//! Clusters point pip at their mirror with `PIP_INDEX_URL` or `/etc/pip.conf`; uv reads neither. What
//! pip would use is read here as pip reads it (pip.pypa.io, "Configuration": system files, then the
//! user's, then `PIP_CONFIG_FILE`, then the variables, the later one winning) and handed to uv in its
//! own variables, which unlike options are not seen by everyone in the list of processes: index
//! addresses hold passwords. What is configured for uv itself wins.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::{Machine, Variables};

/// The options of pip that say where packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PipConfig {
    options: BTreeMap<String, String>,
}

/// Options of pip that matter here; in files they stand in `[global]` or, stronger, `[install]`.
const OPTIONS: [&str; 14] = [
    "index-url",
    "extra-index-url",
    "no-index",
    "find-links",
    "cert",
    "client-cert",
    "trusted-host",
    "timeout",
    "default-timeout",
    "proxy",
    "constraint",
    "pre",
    "only-binary",
    "no-binary",
];

impl PipConfig {
    /// Reads the files and variables that pip would read.
    pub(crate) fn read(machine: &Machine) -> Self {
        let mut options = BTreeMap::new();
        for file in files(machine) {
            // Most of them are not there.
            if let Ok(text) = fs::read_to_string(&file) {
                options.extend(read_ini(&text));
            }
        }
        for option in OPTIONS {
            let variable = format!("PIP_{}", option.to_uppercase().replace('-', "_"));
            if let Some(value) = machine.text(&variable) {
                options.insert(option.to_owned(), value.to_owned());
            }
        }
        Self { options }
    }

    /// Whether packages come from somewhere else than the public index, so that PyTorch's own index
    /// is none of our business.
    pub(crate) fn has_own_index(&self) -> bool {
        self.options.contains_key("index-url") || self.flag("no-index")
    }

    /// The same in uv's variables, besides those that the machine sets for uv itself.
    pub(crate) fn for_uv(&self, machine: &Machine) -> Variables {
        let mut variables = Variables::new();
        let mut set = |name: &str, value: String| {
            if machine.get(name).is_none() && !value.is_empty() {
                variables.insert(OsString::from(name), value.into());
            }
        };
        let uv_has_index =
            ["UV_DEFAULT_INDEX", "UV_INDEX_URL"].iter().any(|name| machine.get(name).is_some());
        if !uv_has_index {
            set("UV_DEFAULT_INDEX", self.one("index-url"));
            let extra = self.many("extra-index-url");
            if !extra.is_empty() {
                // pip takes the best version of all indexes; uv would stop at the first that has
                // the package.
                set("UV_INDEX_STRATEGY", "unsafe-best-match".to_owned());
            }
            set("UV_INDEX", extra.join(" "));
        }
        // pip passes over a folder that is not there; uv fails.
        let links = self.many("find-links");
        let links: Vec<String> = links.into_iter().filter(|link| reachable(link)).collect();
        set("UV_FIND_LINKS", links.join(","));
        set("SSL_CERT_FILE", self.one("cert"));
        set("SSL_CLIENT_CERT", self.one("client-cert"));
        set("UV_INSECURE_HOST", self.many("trusted-host").join(" "));
        let timeout = [self.one("timeout"), self.one("default-timeout")];
        let timeout = timeout.into_iter().find(|t| !t.is_empty());
        set("UV_HTTP_TIMEOUT", timeout.filter(|t| t.parse::<u32>().is_ok()).unwrap_or_default());
        for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
            if machine.get(&name.to_lowercase()).is_none() {
                set(name, self.one("proxy"));
            }
        }
        set("UV_CONSTRAINT", self.many("constraint").join(" "));
        if self.flag("pre") {
            set("UV_PRERELEASE", "allow".to_owned());
        }
        for (option, all, some) in [
            ("only-binary", "UV_NO_BUILD", "UV_NO_BUILD_PACKAGE"),
            ("no-binary", "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE"),
        ] {
            let packages = self.many(option).join(" ").replace(',', " ");
            match packages.as_str() {
                ":none:" => {}
                ":all:" => set(all, "1".to_owned()),
                _ => set(some, packages),
            }
        }
        variables
    }

    /// Options for uv that have no variable.
    pub(crate) fn arguments_for_uv(&self) -> Vec<OsString> {
        if self.flag("no-index") { vec!["--no-index".into()] } else { Vec::new() }
    }

    fn one(&self, option: &str) -> String {
        self.options.get(option).cloned().unwrap_or_default()
    }

    fn many(&self, option: &str) -> Vec<String> {
        let value = self.options.get(option).map_or("", String::as_str);
        value.split_whitespace().map(str::to_owned).collect()
    }

    fn flag(&self, option: &str) -> bool {
        let value = self.one(option).to_lowercase();
        matches!(value.as_str(), "1" | "true" | "yes" | "on")
    }
}

/// Whether a place to find packages in is an address, or a folder or page that is there.
fn reachable(link: &str) -> bool {
    let path = link.strip_prefix("file://").unwrap_or(link);
    path.contains("://") || Path::new(path).exists()
}

/// The files of pip, the weakest first.
fn files(machine: &Machine) -> Vec<PathBuf> {
    let chosen = machine.get("PIP_CONFIG_FILE");
    if chosen == Some(OsStr::new("/dev/null")) {
        return Vec::new();
    }
    let mut files = Vec::new();
    let system = machine.get("XDG_CONFIG_DIRS").unwrap_or(OsStr::new("/etc/xdg"));
    // The first folder of the list is the strongest.
    let folders: Vec<PathBuf> = std::env::split_paths(system).collect();
    files.extend(folders.iter().rev().map(|folder| folder.join("pip/pip.conf")));
    files.push(PathBuf::from("/etc/pip.conf"));
    if let Some(home) = machine.home() {
        files.push(home.join(".pip/pip.conf"));
    }
    if let Some(folder) = machine.folder("XDG_CONFIG_HOME", ".config") {
        files.push(folder.join("pip/pip.conf"));
    }
    files.extend(chosen.map(PathBuf::from));
    files
}

/// The options of an INI file as Python's configparser reads it: `name = value` or `name: value`, and
/// indented lines that go on.
fn read_ini(text: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = String::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t'])
            && let Some(name) = &last
        {
            let value = sections.entry(section.clone()).or_default().entry(name.clone());
            let value = value.or_default();
            value.push(' ');
            value.push_str(trimmed);
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            section = name.to_owned();
            last = None;
        } else if let Some((name, value)) = trimmed.split_once(['=', ':']) {
            let name = name.trim().to_lowercase().replace('_', "-");
            let options = sections.entry(section.clone()).or_default();
            options.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    let mut options = sections.remove("global").unwrap_or_default();
    options.extend(sections.remove("install").unwrap_or_default());
    options.retain(|name, _| OPTIONS.contains(&name.as_str()));
    options
}

#[cfg(test)]
mod tests;
