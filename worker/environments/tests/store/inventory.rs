//! Lists, prunes and removals.

use std::fs::File;
use std::process::Command;
use std::time::{Duration, SystemTime};

use muster_environments::{Environment, Error, PruneRule, Pruned, Stored, Users};

use crate::support::Site;

/// Makes an environment look as if it had been let go of a while ago.
fn last_used(site: &Site, environment: Environment, ago: Duration) {
    let state = site.root().join(".state").join(environment.key.short());
    // Letting go of it counts as use.
    drop(environment);
    let file =
        File::options().write(true).open(state.join("last-used")).expect("a record of its use");
    file.set_modified(SystemTime::now() - ago).expect("a time");
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_list_tells_what_is_there_and_who_uses_it() {
    let Some(site) = Site::new() else { return };
    let first = site.ensure("six==1.17.0").expect("an environment");
    let key = first.key.clone();
    drop(first);
    let second = site.ensure("iniconfig").expect("an environment");
    let list = site.store.list().expect("a list");
    assert_eq!(list.len(), 2);
    assert_eq!(list[0].key, second.key, "the last used one first");
    assert!(list[0].held && list[0].in_use());
    let six = &list[1];
    assert_eq!(six.key, key);
    assert!(!six.in_use());
    assert_eq!(six.requirements, ["pip", "six==1.17.0"]);
    assert_eq!(six.packages, 2);
    assert!(six.size > 1_000_000);
    let age = SystemTime::now().duration_since(six.created).expect("the past");
    assert!(age < Duration::from_secs(600), "{age:?}");
    assert!(six.last_used >= six.created);
}

#[test]
fn a_prune_spares_what_is_held_or_used_by_a_live_process() {
    let Some(site) = Site::new() else { return };
    let held = site.ensure("six").expect("an environment");
    let used = site.ensure("iniconfig").expect("an environment");
    let mut user = Command::new("sleep").arg("600").spawn().expect("sleep");
    let noted = used.users().note(user.id()).expect("a record");
    let (held_path, used_path) = (held.path.clone(), used.path.clone());
    drop(used);

    let pruned = site.store.prune(PruneRule::AllUnused, false).expect("a prune");
    assert!(pruned.removed.is_empty(), "{pruned:?}");
    assert_eq!(pruned.in_use.len(), 2);
    assert!(held_path.exists() && used_path.exists());
    let error = site.store.remove("iniconfig").err();
    assert!(matches!(error, Some(Error::Unknown { .. })), "not a name: {error:?}");
    let name = used_path.file_name().and_then(|n| n.to_str()).expect("a name");
    let error = site.store.remove(name).expect_err("in use");
    assert!(error.to_string().contains(&format!("by process {}", user.id())), "{error}");

    // A clone holds as well as the first one.
    let clone = held.clone();
    drop(held);
    let pruned = site.store.prune(PruneRule::AllUnused, false).expect("a prune");
    assert!(pruned.removed.is_empty(), "{pruned:?}");
    drop(clone);
    user.kill().expect("our child");
    user.wait().expect("our child");
    // The record of a dead process counts for nothing, taken back or not.
    std::mem::forget(noted);
    let dry = site.store.prune(PruneRule::AllUnused, true).expect("a dry run");
    assert_eq!(dry.removed.len(), 2);
    assert!(held_path.exists() && used_path.exists(), "a dry run removes nothing");
    let pruned = site.store.prune(PruneRule::AllUnused, false).expect("a prune");
    assert_eq!(pruned.removed.len(), 2);
    assert!(!held_path.exists() && !used_path.exists());
    assert!(site.store.list().expect("a list").is_empty());
}

#[test]
fn a_process_that_is_not_alive_is_no_user() {
    let Some(site) = Site::new() else { return };
    let environment = site.ensure("six").expect("an environment");
    let mut gone = Command::new("true").spawn().expect("true");
    gone.wait().expect("our child");
    let noted = environment.users().note(gone.id()).expect("nothing to note");
    drop(environment);
    assert!(site.store.list().expect("a list")[0].users.is_empty());
    drop(noted);
}

#[test]
fn a_note_is_taken_back_with_its_guard_and_refused_once_the_environment_is_gone() {
    let Some(site) = Site::new() else { return };
    let environment = site.ensure("six").expect("an environment");
    let this = std::process::id();
    // As a shim does it, which reads the words that the agent wrote down.
    let words = serde_json::to_string(&environment.users()).expect("plain data");
    drop(environment);
    let users: Users = serde_json::from_str(&words).expect("the same data");
    let noted = users.note(this).expect("a record");
    let pruned = site.store.prune(PruneRule::AllUnused, false).expect("a prune");
    assert_eq!((pruned.removed.len(), pruned.in_use.len()), (0, 1));
    assert_eq!(pruned.in_use[0].users.iter().map(|user| user.pid()).collect::<Vec<_>>(), [this]);
    drop(noted);
    let pruned = site.store.prune(PruneRule::AllUnused, false).expect("a prune");
    assert_eq!((pruned.removed.len(), pruned.in_use.len()), (1, 0));
    let late = users.note(this).expect_err("it is gone");
    assert!(matches!(late, Error::Gone { .. }), "{late}");
    assert!(late.is_transient(), "the next start builds it again");
}

#[test]
fn a_prune_goes_by_age_or_by_number() {
    let Some(site) = Site::new() else { return };
    for (packages, days) in [("six", 30), ("iniconfig", 8), ("packaging", 1)] {
        let environment = site.ensure(packages).expect("an environment");
        last_used(&site, environment, DAY * days);
    }
    let names = |pruned: &Pruned| -> Vec<String> {
        let known_by = |s: &Stored| s.name.split('-').next().unwrap_or_default().to_owned();
        pruned.removed.iter().map(known_by).collect()
    };
    let old = site.store.prune(PruneRule::UnusedFor(DAY * 7), true).expect("a dry run");
    assert_eq!(names(&old), ["iniconfig", "six"]);
    let more = site.store.prune(PruneRule::Keep(2), true).expect("a dry run");
    assert_eq!(names(&more), ["six"]);
    let pruned = site.store.prune(PruneRule::UnusedFor(DAY * 20), false).expect("a prune");
    assert_eq!(names(&pruned), ["six"]);
    assert_eq!(site.store.list().expect("a list").len(), 2);
}

#[test]
fn an_environment_is_removed_by_name_key_or_beginning_of_its_key() {
    let Some(site) = Site::new() else { return };
    for by in ["name", "key", "short", "beginning"] {
        let environment = site.ensure("six").expect("an environment");
        let (path, key) = (environment.path.clone(), environment.key.clone());
        drop(environment);
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        let given = match by {
            "name" => name,
            "key" => key.as_str(),
            "short" => key.short(),
            _ => &key.as_str()[..5],
        };
        let removed = site.store.remove(given).expect(by);
        assert_eq!(removed.path, path);
        assert!(!path.exists());
    }
    for unknown in ["", "six", "0123456789ab"] {
        let error = site.store.remove(unknown).expect_err("nothing there");
        assert!(matches!(error, Error::Unknown { .. }), "{error}");
    }
}
