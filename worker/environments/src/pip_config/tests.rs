use super::*;

/// A machine with one pip.conf of the user and these variables.
fn machine(pip_conf: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join(".config/pip");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("pip.conf"), pip_conf).expect("a file");
    let mut all = vec![
        ("HOME".to_owned(), home.path().display().to_string()),
        // Not what this machine has in /etc/xdg.
        ("XDG_CONFIG_DIRS".to_owned(), "/nonexistent".to_owned()),
    ];
    all.extend(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    (home, Machine::from_variables(all))
}

fn for_uv(machine: &Machine) -> BTreeMap<String, String> {
    PipConfig::read(machine)
        .for_uv(machine)
        .into_iter()
        .map(|(k, v)| (k.into_string().expect("text"), v.into_string().expect("text")))
        .collect()
}

#[test]
fn a_mirror_in_pip_conf_reaches_uv() {
    let (_home, machine) = machine(
        "[global]\nindex-url = https://u:p@mirror.example.org/simple\nextra_index_url =\n    \
         https://a.example.org/simple\n    https://b.example.org/simple\ntrusted-host: mirror.example.org\n\
         timeout = 60\n[install]\nfind-links = /tmp https://c.example.org/\n    /nonexistent/wheels\n\
         pre = yes\n[list]\nindex-url = https://wrong.example.org\n",
        &[],
    );
    let uv = for_uv(&machine);
    for (name, value) in [
        ("UV_DEFAULT_INDEX", "https://u:p@mirror.example.org/simple"),
        ("UV_INDEX", "https://a.example.org/simple https://b.example.org/simple"),
        ("UV_INDEX_STRATEGY", "unsafe-best-match"),
        ("UV_FIND_LINKS", "/tmp,https://c.example.org/"),
        ("UV_INSECURE_HOST", "mirror.example.org"),
        ("UV_HTTP_TIMEOUT", "60"),
        ("UV_PRERELEASE", "allow"),
    ] {
        assert_eq!(uv.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(PipConfig::read(&machine).has_own_index());
}

#[test]
fn variables_of_pip_are_stronger_than_files_and_those_of_uv_are_the_strongest() {
    let conf = "[global]\nindex-url = https://file.example.org\ncert = /file.pem\n";
    let (_home, machine) = machine(
        conf,
        &[
            ("PIP_INDEX_URL", "https://variable.example.org"),
            ("PIP_CERT", "/variable.pem"),
            ("PIP_PROXY", "http://proxy.example.org:3128"),
            ("PIP_ONLY_BINARY", ":all:"),
            ("PIP_NO_BINARY", "a,b"),
            ("SSL_CERT_FILE", "/own.pem"),
        ],
    );
    let uv = for_uv(&machine);
    let get = |name: &str| uv.get(name).map(String::as_str);
    assert_eq!(get("UV_DEFAULT_INDEX"), Some("https://variable.example.org"));
    assert_eq!(get("SSL_CERT_FILE"), None, "the machine's own stays");
    assert_eq!(get("HTTPS_PROXY"), Some("http://proxy.example.org:3128"));
    assert_eq!(get("UV_NO_BUILD"), Some("1"));
    assert_eq!(get("UV_NO_BINARY_PACKAGE"), Some("a b"));
}

#[test]
fn what_is_configured_for_uv_itself_wins() {
    let (_home, machine) = machine(
        "[global]\nindex-url = https://pip.example.org\nextra-index-url = https://x.example.org\n",
        &[("UV_INDEX_URL", "https://uv.example.org")],
    );
    let uv = for_uv(&machine);
    for name in ["UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY"] {
        assert_eq!(uv.get(name), None, "{name}");
    }
}

#[test]
fn a_machine_without_index_uses_its_folders_only() {
    let (_home, machine) = machine("", &[("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "/tmp")]);
    let config = PipConfig::read(&machine);
    assert!(config.has_own_index());
    assert_eq!(config.arguments_for_uv(), ["--no-index"]);
    assert_eq!(for_uv(&machine)["UV_FIND_LINKS"], "/tmp");
}

#[test]
fn pip_config_file_can_turn_the_files_off() {
    let conf = "[global]\nindex-url = https://file.example.org\n";
    let (_home, machine) = machine(conf, &[("PIP_CONFIG_FILE", "/dev/null")]);
    assert_eq!(PipConfig::read(&machine), PipConfig::default());
}
