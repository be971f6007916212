//! Logs, as they are read.

use std::time::{Duration, Instant};

use muster_agent::runtime::{LogQuery, Stamp, Stream};
use muster_model::Timestamp;

use crate::lab::{Lab, key, read, text, until};
use crate::replica::{container, in_generation, replica, script};
use crate::traces::PATIENCE;

fn query(lab: &Lab) -> LogQuery {
    LogQuery::whole(lab.job.clone(), "worker-1")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_both_streams_arrives_in_order() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let program = r#"
import os, sys
os.write(1, b"one\ntwo \xff\xfe\x00 bytes\n")
os.write(1, b"\x1b[31mred\x1b[0m\r 10%\r 20%\n")
os.write(1, b"x" * 50000 + b"\n")
os.write(1, b"no newline at the end")
os.write(2, b"an error\n")
"#;
    let spec = replica(&lab.job, container("main", &["python3", "-c", program]));
    assert!(node.run(&spec).await.is_success());
    let entries = node.entries(&spec).await;
    let of = |stream: Stream| {
        let mut bytes = Vec::new();
        for entry in entries.iter().filter(|entry| entry.stream == stream) {
            bytes.extend_from_slice(&entry.text);
            if entry.whole {
                bytes.push(b'\n');
            }
        }
        bytes
    };
    let mut expected = b"one\ntwo \xff\xfe\x00 bytes\n\x1b[31mred\x1b[0m\r 10%\r 20%\n".to_vec();
    expected.extend(vec![b'x'; 50_000]);
    expected.extend(b"\nno newline at the end");
    assert!(of(Stream::Stdout) == expected);
    assert_eq!(of(Stream::Stderr), b"an error\n");
    let longest = entries.iter().map(|entry| entry.text.len()).max();
    assert_eq!(longest, Some(16 << 10));
    assert!(entries.is_sorted_by_key(|entry| entry.stamp));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_live_to_the_end_of_the_replica() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let gate = lab.path("gate");
    // Each line tells when it was written, in nanoseconds.
    let program = format!(
        "import os, time, sys
for _ in range(40):
    os.write(1, b'%d\\n' % time.time_ns())
    time.sleep(0.02)
os.write(1, b'unfinished')
while not os.path.exists({:?}): time.sleep(0.005)
os.write(1, b' line\\nlast')
",
        gate.to_str().unwrap()
    );
    let spec = replica(&lab.job, container("main", &["python3", "-c", &program]));
    node.runtime.prepare(spec.clone());
    node.ready(&spec).await;
    // Followed before there is anything to read.
    let mut stream = node.log(&LogQuery { follow: true, ..query(&lab) });
    node.runtime.start(spec.id, spec.fence, crate::replica::opening(&spec));
    let mut delays = Vec::new();
    let mut all = Vec::new();
    let mut opened = false;
    while let Some(chunk) = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        for entry in &chunk.entries {
            if let Ok(written) = String::from_utf8_lossy(&entry.text).parse::<u64>() {
                delays.push(now.saturating_sub(Duration::from_nanos(written)));
            }
        }
        all.extend(chunk.entries);
        // The line without an end is shown although it has none.
        if !opened && text(&all).ends_with("unfinished") {
            opened = true;
            std::fs::write(&gate, "").unwrap();
        }
    }
    assert!(opened);
    assert!(text(&all).ends_with("unfinished line\nlast"));
    assert_eq!(delays.len(), 40);
    delays.sort();
    eprintln!("written to followed: median {:?}, slowest {:?}", delays[20], delays[39]);
    assert!(delays[20] < Duration::from_millis(50), "{delays:?}");
    assert!(node.exit(&spec).await.status.is_success());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_and_what_is_newer_can_be_asked_for() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let spec = replica(&lab.job, script("main", "for i in 1 2 3 4; do echo $i; sleep 0.05; done"));
    assert!(node.run(&spec).await.is_success());
    let tail = |lines| LogQuery { tail: Some(lines), ..query(&lab) };
    for (lines, expected) in [(0, ""), (1, "4\n"), (3, "2\n3\n4\n"), (9, "1\n2\n3\n4\n")] {
        assert_eq!(text(&read(&mut node.log(&tail(lines))).await), expected);
    }
    let entries = node.entries(&spec).await;
    let Stamp(third) = entries[2].stamp;
    let since = Timestamp(third / 1_000_000);
    let newer = LogQuery { since: Some(since), ..query(&lab) };
    assert_eq!(text(&read(&mut node.log(&newer)).await), "3\n4\n");
    let both = LogQuery { since: Some(since), tail: Some(1), ..query(&lab) };
    assert_eq!(text(&read(&mut node.log(&both)).await), "4\n");
    // Following a log whose replica has ended ends at its end.
    let followed = LogQuery { follow: true, tail: Some(2), ..query(&lab) };
    assert_eq!(text(&read(&mut node.log(&followed)).await), "3\n4\n");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_passes_from_file_to_file() {
    let mut lab = Lab::new();
    lab.options.log_limit = 64 << 10;
    let mut node = lab.open().await;
    // About five files' worth, in bursts that a follower can keep up with.
    let program = "import sys, time
for i in range(4000):
    print(f'{i:06}', 'x' * 60, flush=i % 50 == 0)
    if i % 100 == 0: time.sleep(0.01)
";
    let spec = replica(&lab.job, container("main", &["python3", "-c", program]));
    node.runtime.prepare(spec.clone());
    node.ready(&spec).await;
    let mut stream = node.log(&LogQuery { follow: true, ..query(&lab) });
    node.runtime.start(spec.id, spec.fence, crate::replica::opening(&spec));
    let entries = read(&mut stream).await;
    let numbers: Vec<u32> = entries
        .iter()
        .filter(|entry| entry.whole)
        .map(|entry| String::from_utf8_lossy(&entry.text)[..6].parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..4000).collect::<Vec<_>>());
    // What is kept is two files.
    let folder = lab.options.data.join("logs").join(&lab.job.0);
    let kept: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    let last = node.output(&spec).await;
    assert!(last.lines().last().unwrap().starts_with("003999"));
    assert!(!last.contains("000000 "));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_bounded_in_memory_and_on_disk() {
    let mut lab = Lab::new();
    lab.options.log_limit = 8 << 20;
    let mut node = lab.open().await;
    let program = "import os
line = (b'y' * 99 + b'\\n') * 640
for _ in range(5000): os.write(1, line)
";
    let spec = replica(&lab.job, container("main", &["python3", "-c", program]));
    node.start(&spec).await;
    let shim = node.shim(&spec);
    let began = Instant::now();
    let mut most = 0;
    while node.told(key(&spec)).len() < 3 + 1 {
        let status = std::fs::read_to_string(format!("/proc/{shim}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = peak.unwrap_or(most).max(most);
        if status.is_empty() || began.elapsed() > PATIENCE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(node.exit(&spec).await.status.is_success());
    let (took, bytes) = (began.elapsed(), 5000 * 64_000_u64);
    eprintln!("{} MB in {took:?}; the shim's memory peaked at {most} KiB", bytes / 1_000_000);
    assert!(most < 32 << 10, "{most} KiB");
    let folder = lab.options.data.join("logs").join(&lab.job.0);
    let sizes = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().metadata().unwrap());
    let total: u64 = sizes.map(|file| file.len()).sum();
    assert!(total < 20 << 20, "{total} bytes are kept");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_followers_share_what_watches_for_them() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let gate = lab.path("gate");
    let text_of = format!("while [ ! -e {} ]; do sleep 0.01; done; echo done", gate.display());
    let spec = replica(&lab.job, script("main", &text_of));
    node.start(&spec).await;
    // More than the inotify instances that a user may have by default.
    let followed = LogQuery { follow: true, ..query(&lab) };
    let mut streams: Vec<_> = (0..300).map(|_| node.log(&followed)).collect();
    std::fs::write(&gate, "").unwrap();
    for stream in &mut streams {
        assert_eq!(text(&read(stream).await), "done\n");
    }
    drop(streams);
    // One that nobody reads holds nothing up.
    let next = in_generation(spec, 2);
    let idle = node.log(&followed);
    assert!(node.run(&next).await.is_success());
    until("the log", || !lab.path("none").exists()).await;
    drop(idle);
    node.finish(&lab).await;
}
