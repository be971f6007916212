//! Who is let in, as what, and who is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use muster_tests::{Job, Outcome, Place, muster, until};

/// A coordinator with an agent in one process that speaks TLS.
struct Secure {
    place: Place,
}

impl Secure {
    fn up() -> Self {
        let mut place = Place::new();
        place.flags = vec!["--tls".into()];
        place.speak_tls();
        place.start(muster_tests::Role::Up);
        place.wait_until_ready();
        Self { place }
    }

    /// Makes a token and puts it into a file.
    fn token(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let made = self.place.muster(&[&["token", "create"], arguments].concat()).ok();
        private(&self.place.data().join(name), &made.stdout)
    }

    /// The name of the node in the same process.
    fn own_node(&self) -> String {
        let nodes = self.place.muster(&["nodes", "-o", "json"]).ok().json();
        nodes["items"][0]["metadata"]["name"].as_str().expect("a node").to_owned()
    }

    /// A command of a user.
    fn as_user(&self, token: &Path, arguments: &[&str]) -> Outcome {
        let mut command = muster();
        command.env("MUSTER_SERVER", self.place.server()).env("MUSTER_TOKEN_FILE", token);
        Outcome::of(command.args(arguments).output().expect("muster runs"))
    }

    /// Lets an agent try to join, and tells what it said before it gave up.
    fn agent_gives_up(&self, data: &Path, token: Option<&Path>) -> String {
        let mut command = muster();
        command.env("MUSTER_DATA_DIR", data).env("MUSTER_SERVER", self.place.server());
        command.args(["agent", "--node-name", "second", "--address", "127.0.0.1"]);
        command.args(["--run-as", "root"]);
        if let Some(token) = token {
            command.arg("--join-token-file").arg(token);
        }
        let outcome = Outcome::of(command.output().expect("muster runs"));
        assert_eq!(outcome.code, 4, "{outcome:#?}");
        outcome.stderr
    }
}

fn private(path: &Path, text: &str) -> PathBuf {
    fs::write(path, text).expect("room");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
    path.to_owned()
}

#[test]
fn tokens_that_are_forged_expired_used_up_or_for_another_role_let_nobody_in() {
    let secure = Secure::up();
    let folder = tempfile::tempdir().expect("a directory");
    let data = folder.path();
    let good = secure.token("good", &["--role", "agent"]);
    let text = fs::read_to_string(&good).expect("it is there");
    let says = |token: &Path, words: &str| {
        let said = secure.agent_gives_up(data, Some(token));
        assert!(said.contains("M1012") && said.contains(words), "{words}: {said}");
    };
    assert!(secure.agent_gives_up(data, None).contains("token create --role agent"));
    // The secret of another token, a letter too few, a letter changed, another cluster's fingerprint.
    let parts: Vec<&str> = text.trim().split('.').collect();
    let other =
        fs::read_to_string(secure.token("other", &["--role", "agent"])).expect("it is there");
    let others: Vec<&str> = other.trim().split('.').collect();
    let with = |index: usize, part: &str| {
        let mut parts = parts.clone();
        parts[index] = part;
        private(&data.join("forged"), &parts.join("."))
    };
    says(&with(2, others[2]), "not known here");
    says(&with(1, "aaaaaaaa"), "not known here");
    says(&with(2, &parts[2][1..]), "damaged");
    says(&with(3, &"0".repeat(64)), "another cluster");
    says(&private(&data.join("short"), &text[..40]), "cut short");
    says(&secure.token("member", &["--role", "member"]), "another role");
    says(&secure.token("ada", &["--user", "ada", "--grant", "admin"]), "mst1");
    let short = secure.token("expired", &["--role", "agent", "--ttl", "1s"]);
    let made = Instant::now();
    // Whoever asks before would join.
    until("its second is over", || (made.elapsed() > Duration::from_millis(1_100)).then_some(()));
    says(&short, "has expired");
    // None of this has used the good one up; the second machine does not get in with it.
    let mut first = muster();
    first.env("MUSTER_DATA_DIR", data.join("first")).env("MUSTER_SERVER", secure.place.server());
    first.args(["agent", "--node-name", "first", "--address", "127.0.0.1", "--run-as", "root"]);
    first.arg("--join-token-file");
    let mut first = first.arg(&good).stderr(Stdio::null()).spawn().expect("muster runs");
    until("the first agent is in", || {
        secure.place.muster(&["nodes"]).stdout.contains("first ").then_some(())
    });
    says(&good, "used as often as it may be");
    first.kill().expect("it is ours");
    first.wait().expect("it is our child");
}

#[test]
fn a_user_may_do_what_was_granted_and_nothing_else() {
    let secure = Secure::up();
    let data = secure.place.data();
    let ada =
        secure.token("ada", &["--user", "ada", "--grant", "viewer", "--grant", "editor:team"]);
    let job = Job::shell("mine", 0, "true").write(data);
    let file = job.to_string_lossy().into_owned();
    let may = |arguments: &[&str]| {
        let outcome = secure.as_user(&ada, arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:#?}");
    };
    let may_not = |arguments: &[&str]| {
        let outcome = secure.as_user(&ada, arguments);
        assert_eq!(outcome.code, 3, "{arguments:?}: {outcome:#?}");
        assert!(outcome.stderr.contains("M1014"), "{arguments:?}: {outcome:#?}");
    };
    may(&["get", "-A"]);
    may(&["nodes"]);
    may(&["-n", "team", "apply", "-f", &file]);
    may(&["-n", "team", "wait", "mine", "--for=condition=Succeeded"]);
    may(&["-n", "team", "logs", "mine"]);
    may(&["-n", "team", "delete", "mine"]);
    may(&["members"]);
    may_not(&["apply", "-f", &file]);
    may_not(&["run", &file]);
    may_not(&["delete", "mine"]);
    may_not(&["nodes", "cordon", "any"]);
    may_not(&["nodes", "remove", "any"]);
    may_not(&["token", "list"]);
    may_not(&["token", "create", "--user", "eve", "--grant", "admin"]);
    may_not(&["members", "transfer"]);
    may_not(&["backup", &data.join("stolen").to_string_lossy()]);
    assert!(!data.join("stolen").exists());
    let bob = secure.token("bob", &["--user", "bob", "--grant", "viewer:team"]);
    assert_eq!(secure.as_user(&bob, &["-n", "team", "get"]).code, 0);
    assert_eq!(secure.as_user(&bob, &["get"]).code, 3);
    assert_eq!(secure.as_user(&bob, &["get", "-A"]).code, 3);
    assert_eq!(secure.as_user(&bob, &["nodes"]).code, 3);
    // A token that was removed is worth nothing.
    secure.place.muster(&["token", "remove", "user-ada"]).ok();
    let gone = secure.as_user(&ada, &["get"]);
    assert!(gone.code == 3 && gone.stderr.contains("M1009"), "{gone:#?}");
}

#[test]
fn login_remembers_a_user_and_nothing_secret_is_open_to_others() {
    let secure = Secure::up();
    let data = secure.place.data();
    let ada = secure.token("ada", &["--user", "ada", "--grant", "viewer"]);
    let home = tempfile::tempdir().expect("a directory");
    let at_home = |arguments: &[&str]| {
        let mut command = muster();
        command.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").args(arguments);
        Outcome::of(command.output().expect("muster runs"))
    };
    let token = ada.to_string_lossy().into_owned();
    at_home(&["login", &secure.place.server(), "--token-file", &token]).ok();
    assert_eq!(at_home(&["whoami", "-o", "name"]).ok().stdout.trim(), "ada");
    assert_eq!(at_home(&["get"]).code, 0);
    let kept = home.path().join(".config/muster/login.json");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&kept), 0o600);
    at_home(&["logout"]).ok();
    assert!(!kept.exists());
    for secret in ["ca.key", "operator.pem", "ca.crt"] {
        assert_eq!(mode(&data.join("trust").join(secret)), 0o600, "{secret}");
    }
    assert_eq!(mode(data), 0o700);
    // Neither in logs nor on command lines.
    let text = fs::read_to_string(&ada).expect("it is there");
    let secret = text.split('.').nth(2).expect("a token has four parts");
    assert!(!secure.place.logs().contains(secret));
    for process in fs::read_dir("/proc").expect("it is there").flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(secret));
    }
}

#[test]
fn a_certificate_that_was_taken_back_is_worth_nothing_and_one_of_another_cluster_never_was() {
    let secure = Secure::up();
    let folder = tempfile::tempdir().expect("a directory");
    let log = folder.path().join("log");
    let start = |server: &str, token: Option<&Path>| {
        let mut command = muster();
        command.env("MUSTER_DATA_DIR", folder.path().join("agent")).env("MUSTER_SERVER", server);
        command.args(["agent", "--node-name", "second", "--address", "127.0.0.1"]);
        command.args(["--run-as", "root"]);
        if let Some(token) = token {
            command.arg("--join-token-file").arg(token);
        }
        command.stderr(fs::File::create(&log).expect("room")).spawn().expect("muster runs")
    };
    let said = |words: &str| {
        until(words, || fs::read_to_string(&log).unwrap_or_default().contains(words).then_some(()));
    };
    let token = secure.token("join", &["--role", "agent"]);
    let mut agent = start(&secure.place.server(), Some(&token));
    said("session with the coordinator opened");
    let logs = secure.place.logs();
    let subject = logs.split("subject=").nth(1).expect("its name is in the log");
    let subject = subject.split_whitespace().next().expect("its name").to_owned();
    assert!(subject.starts_with("agent/second/"), "{subject}");
    secure.place.muster(&["token", "revoke", &subject]).ok();
    said("was taken back");
    agent.kill().expect("it is ours");
    agent.wait().expect("it is our child");
    // Another cluster does not know it, and it does not believe the other cluster.
    let other = Secure::up();
    let mut agent = start(&other.place.server(), None);
    said("another cluster");
    agent.kill().expect("it is ours");
    agent.wait().expect("it is our child");
}

#[test]
fn ranks_run_as_the_user_that_root_names_and_not_as_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start an agent as somebody else");
        return;
    }
    let secure = Secure::up();
    let folder = tempfile::tempdir().expect("a directory");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let data = folder.path().join("agent");
    let token = secure.token("join", &["--role", "agent"]);
    let start = |as_whom: Option<&str>| {
        let mut command = muster();
        command.env("MUSTER_DATA_DIR", &data).env("MUSTER_SERVER", secure.place.server());
        command.args(["agent", "--node-name", "second", "--address", "127.0.0.1"]);
        command.arg("--join-token-file").arg(&token);
        command.args(as_whom.into_iter().flat_map(|user| ["--run-as", user]));
        command.stderr(fs::File::create(folder.path().join("log")).expect("room"));
        command.spawn().expect("muster runs")
    };
    let refused = start(None).wait().expect("it is our child");
    assert_eq!(refused.code(), Some(2));
    let said = fs::read_to_string(folder.path().join("log")).expect("it is there");
    assert!(said.contains("--run-as"), "{said}");
    let mut agent = start(Some("nobody"));
    secure.place.muster(&["nodes", "cordon", &secure.own_node()]).ok();
    let job = Job::shell("who", 0, "id -un; echo home $HOME; cat /etc/shadow || echo closed");
    let outcome = secure.place.muster(&["run", &job.write(folder.path()).to_string_lossy()]);
    agent.kill().expect("it is ours");
    agent.wait().expect("it is our child");
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for words in ["] nobody\n", "] closed\n"] {
        assert!(outcome.stdout.contains(words), "{words}: {outcome:#?}");
    }
    assert!(!outcome.stdout.contains("home /root"), "{outcome:#?}");
}
