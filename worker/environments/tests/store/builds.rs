//! Builds with the real uv and the real pip.

use std::fs;

use muster_environments::{
    BuildContext, Cancel, EnvironmentStore, Error, Machine, Phase, PythonWish, Requirement,
};

use crate::support::{Site, python, spec, this_machine, uv};

#[test]
fn uv_builds_an_environment_once_and_finds_it_again() {
    let Some(site) = Site::new() else { return };
    let (built, told) = site.ensure_told("six==1.17.0, iniconfig");
    let built = built.expect("an environment");
    assert!(built.built_now);
    assert_eq!(python(&built.path, "import six; print(six.__version__)"), "1.17.0");
    assert_eq!(built.packages["six"], "1.17.0");
    assert!(built.packages.contains_key("pip"), "{:?}", built.packages);
    assert!(built.size > 1_000_000, "{}", built.size);
    assert_eq!(built.variables["VIRTUAL_ENV"], built.path.display().to_string());
    assert_eq!(built.variables["PYTHONNOUSERSITE"], "1");
    assert!(
        python(&built.path, "import sys; print(sys.version)").starts_with(&built.python_version)
    );
    let name = built.path.file_name().and_then(|n| n.to_str()).expect("a name");
    assert!(name.starts_with("iniconfig-py3"), "{name}");
    assert!(name.ends_with(built.key.short()), "{name}");

    // The phases come in order, and the size grows.
    let mut kinds: Vec<std::mem::Discriminant<Phase>> = Vec::new();
    for progress in &told {
        let kind = std::mem::discriminant(&progress.phase);
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    assert_eq!(kinds.first(), Some(&std::mem::discriminant(&Phase::Creating)));
    assert_eq!(kinds.last(), Some(&std::mem::discriminant(&Phase::Done)));
    assert!(told.iter().any(|p| matches!(p.phase, Phase::Checking { .. })), "{told:?}");
    assert!(told.last().is_some_and(|p| p.bytes_on_disk > 1_000_000), "{told:?}");

    let (again, told) = site.ensure_told("iniconfig, six == 1.17.0");
    let again = again.expect("the same environment");
    assert!(!again.built_now);
    assert_eq!(again.path, built.path);
    assert_eq!(told.len(), 1, "a hit says only that it is ready: {told:?}");
}

#[test]
fn the_bytecode_of_all_packages_is_there_before_the_first_start() {
    let Some(site) = Site::new() else { return };
    let built = site.ensure("six").expect("an environment");
    let cached = "import importlib.util as u, os; print(os.path.exists(u.cache_from_source(u.find_spec('six').origin)))";
    assert_eq!(python(&built.path, cached), "True");
}

#[test]
fn pip_builds_the_same_where_uv_is_off() {
    let Some(site) = Site::with(&[("MUSTER_UV", "off")]) else { return };
    let (built, told) = site.ensure_told("six==1.16.0");
    let built = built.expect("an environment");
    assert_eq!(python(&built.path, "import six; print(six.__version__)"), "1.16.0");
    assert!(told.iter().any(|p| matches!(p.phase, Phase::Installing { .. })), "{told:?}");
    assert!(!site.root().join(".tools").exists(), "nothing was fetched");
}

#[test]
fn uv_is_fetched_once_where_the_machine_has_none() {
    if uv().is_none() {
        return;
    }
    let mut variables = this_machine();
    let path = variables.remove(std::ffi::OsStr::new("PATH")).unwrap_or_default();
    let without_uv: Vec<_> =
        std::env::split_paths(&path).filter(|folder| !folder.join("uv").exists()).collect();
    variables.insert("PATH".into(), std::env::join_paths(without_uv).expect("a path"));
    let site = Site::on(Machine::from_variables(variables));
    let (built, told) = site.ensure_told("six");
    built.expect("an environment");
    let fetches = told.iter().filter(|p| p.phase == Phase::FetchingUv);
    assert!(fetches.count() > 0, "{told:?}");
    assert!(site.root().join(".tools/uv").is_file());
    assert!(!site.root().join(".tools/fetch").exists(), "only uv is kept");
    let (built, told) = site.ensure_told("iniconfig");
    built.expect("an environment");
    assert!(told.iter().all(|p| p.phase != Phase::FetchingUv), "{told:?}");
}

#[test]
fn a_plain_environment_needs_no_index_at_all() {
    // Nothing listens on the discard port.
    let nowhere = [("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("UV_HTTP_RETRIES", "0")];
    let mut variables = this_machine();
    variables.extend(nowhere.map(|(k, v)| (k.into(), v.into())));
    variables.insert("MUSTER_UV".into(), "off".into());
    let site = Site::on(Machine::from_variables(variables));
    let built = site.ensure("").expect("a plain environment");
    assert!(python(&built.path, "import pip; print(pip.__file__)").starts_with(&site_path(&built)));

    let Some(site) = Site::with(&nowhere) else { return };
    let built = site.ensure("").expect("uv fails, Python itself does it");
    assert!(python(&built.path, "import pip; print(pip.__file__)").starts_with(&site_path(&built)));
}

fn site_path(environment: &muster_environments::Environment) -> String {
    environment.path.join("lib").display().to_string()
}

#[test]
fn pips_own_configuration_reaches_uv() {
    let Some(site) = Site::new() else { return };
    let wheels = tempfile::tempdir().expect("a temporary folder");
    let maker = site.ensure("").expect("a Python");
    // A wheel is a zip with three files of metadata in it.
    let script = format!(
        "import zipfile\n\
         z = zipfile.ZipFile('{}/muster_mirrored-1.0-py3-none-any.whl', 'w')\n\
         d = 'muster_mirrored-1.0.dist-info/'\n\
         z.writestr('muster_mirrored.py', 'answer = 42')\n\
         z.writestr(d + 'METADATA', 'Metadata-Version: 2.1\\nName: muster-mirrored\\nVersion: 1.0\\n')\n\
         z.writestr(d + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
         z.writestr(d + 'RECORD', 'muster_mirrored.py,,\\n' + d + 'METADATA,,\\n' + d + 'WHEEL,,\\n' + d + 'RECORD,,\\n')\n\
         z.close()\n",
        wheels.path().display()
    );
    python(&maker.path, &script);
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join("pip");
    fs::create_dir(&folder).expect("a folder");
    let text =
        format!("[global]\nfind-links =\n    /nonexistent\n    {}\n", wheels.path().display());
    fs::write(folder.join("pip.conf"), text).expect("a file");
    let configured = [
        ("XDG_CONFIG_HOME", home.path().to_str().expect("text")),
        // Empty counts as not set: the file decides.
        ("PIP_FIND_LINKS", ""),
    ];
    let site = Site::with(&configured).expect("there was an index a moment ago");
    let built = site.ensure("muster-mirrored").expect("found by pip's configuration");
    assert_eq!(python(&built.path, "import muster_mirrored as m; print(m.answer)"), "42");
}

#[test]
fn versions_that_cannot_be_had_are_told_with_the_tools_own_words() {
    for variables in [&[][..], &[("MUSTER_UV", "off")]] {
        let Some(site) = Site::with(variables) else { return };
        let error = site.ensure("six==99").expect_err("no such version");
        let Error::Unsatisfiable { output, .. } = &error else {
            panic!("{error}");
        };
        assert!(output.0.iter().any(|line| line.contains("six==99")), "{error}");
        assert!(error.to_string().contains("muster.dev/packages"), "{error}");
        let left = fs::read_dir(site.root()).expect("the root").flatten();
        let left: Vec<_> =
            left.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn an_index_that_cannot_be_reached_is_told() {
    let nowhere = [("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("UV_HTTP_RETRIES", "0")];
    let Some(site) = Site::with(&nowhere) else { return };
    let error = site.ensure("muster-never-cached").expect_err("no index");
    assert!(matches!(error, Error::NoNetwork { .. }), "{error}");
    assert!(error.is_transient());
    assert!(error.to_string().contains("PIP_INDEX_URL"), "{error}");
}

#[test]
fn an_environment_whose_modules_do_not_import_is_no_environment() {
    let Some(site) = Site::new() else { return };
    let mut wanted = spec("six");
    wanted.check = vec!["six".into(), "six.nonexistent".into()];
    let error = site
        .store
        .ensure(&wanted, &BuildContext::default(), &mut |_| {})
        .expect_err("it does not import");
    assert!(matches!(error, Error::Check { .. }), "{error}");
    assert!(error.to_string().contains("import six.nonexistent failed"), "{error}");
    assert!(error.to_string().contains("ModuleNotFoundError"), "{error}");
    assert!(site.store.list().expect("a list").is_empty());
}

#[test]
fn a_missing_python_version_is_a_notice_and_not_an_error() {
    let Some(site) = Site::new() else { return };
    let mut wanted = spec("");
    wanted.python = PythonWish::parse("3.77");
    let mut told = Vec::new();
    for _ in 0..2 {
        let environment = site
            .store
            .ensure(&wanted, &BuildContext::default(), &mut |p| told.push(p.phase))
            .expect("the machine's Python");
        let notices = environment.notices;
        assert!(notices.iter().any(|n| n.contains("Python 3.77")), "{notices:?}");
    }
    let told: Vec<_> = told.iter().filter(|p| matches!(p, Phase::Notice(_))).collect();
    assert_eq!(told.len(), 1, "only the build tells it: {told:?}");
}

#[test]
fn a_cancelled_build_ends_soon_and_leaves_nothing() {
    let Some(site) = Site::new() else { return };
    let context = BuildContext { cancel: Cancel::default(), ..BuildContext::default() };
    let switch = context.cancel.clone();
    let result = site.store.ensure(&spec("six, attrs"), &context, &mut |progress| {
        if progress.phase == Phase::Resolving {
            switch.cancel();
        }
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(site.store.list().expect("a list").is_empty());
    site.ensure("six, attrs").expect("the next call is not cancelled");
}

#[test]
fn a_damaged_environment_is_built_again() {
    let Some(site) = Site::new() else { return };
    for damage in ["bin/python", "pyvenv.cfg", "complete.json"] {
        let built = site.ensure("six").expect("an environment");
        let file = built.path.join(damage);
        fs::remove_file(&file).expect("it was there");
        let again = site.ensure("six").expect("a new one");
        assert!(again.built_now, "{damage}");
        let told = again.notices.iter().any(|n| n.contains("damaged"));
        assert_eq!(told, damage != "complete.json", "{damage}");
        assert_eq!(python(&again.path, "import six; print(1)"), "1");
    }
}

#[test]
fn variables_of_the_spec_do_not_make_another_environment() {
    let Some(site) = Site::new() else { return };
    let first = site.ensure("six").expect("an environment");
    let mut wanted = spec("six");
    wanted.variables.insert("OMP_NUM_THREADS".into(), "4".into());
    let second = site
        .store
        .ensure(&wanted, &BuildContext::default(), &mut |_| {})
        .expect("the same environment");
    assert_eq!(second.path, first.path);
    assert_eq!(second.variables["OMP_NUM_THREADS"], "4");
}

#[test]
fn two_stores_with_other_roots_do_not_meet() {
    let Some(site) = Site::new() else { return };
    let other = Site::new().expect("there was an index a moment ago");
    let first = site.ensure("six").expect("an environment");
    let second = other.ensure("six").expect("an environment");
    assert_eq!(first.key, second.key);
    assert_ne!(first.path, second.path);
    assert!(second.built_now);
    let opened = EnvironmentStore::open(site.root()).expect("a store");
    assert_eq!(opened.list().expect("a list")[0].path, first.path);
    assert_eq!(
        opened.list().expect("a list")[0].requirements,
        [Requirement::parse("pip").expect("a package").to_string(), "six".to_owned()]
    );
}
