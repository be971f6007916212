use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use super::*;

fn told(lines: &str) -> Vec<String> {
    let mut output = InstallerOutput::default();
    lines.lines().filter_map(|line| output.line(line)).map(|phase| phase.to_string()).collect()
}

#[test]
fn the_lines_of_uv_are_progress() {
    let lines = "Using Python 3.11.2 environment at: v1
Resolved 3 packages in 179ms
Downloading numpy (16.0MiB)
Downloading torch (500.5MiB)
 Downloaded numpy
 Downloaded torch
Prepared 3 packages in 160ms
Installed 3 packages in 14ms
Bytecode compiled 488 files in 714ms
 + numpy==2.4.6";
    assert_eq!(
        told(lines),
        [
            "installing 3 packages",
            "downloading numpy (16 MB), 0 B of 16 MB done",
            "downloading torch (524 MB), 0 B of 541 MB done",
            "downloading numpy (16 MB), 16 MB of 541 MB done",
            "downloading torch (524 MB), 541 MB of 541 MB done",
            "installing 3 packages",
            "compiling",
        ]
    );
}

#[test]
fn the_lines_of_pip_are_progress() {
    let lines = "Looking in links: /opt/wheels
Collecting numpy
  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (62 kB)
  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.9 MB)
Collecting six
  Downloading https://files.example.org/packages/six-1.17.0-py2.py3-none-any.whl (11 kB)
Installing collected packages: six, numpy
Successfully installed numpy-2.4.6 six-1.17.0";
    assert_eq!(
        told(lines),
        [
            "resolving",
            "downloading numpy (16 MB), 0 B of 16 MB done",
            "resolving",
            "downloading six (11 kB), 16 MB of 16 MB done",
            "installing 2 packages",
        ]
    );
}

#[test]
fn sizes_are_read_in_both_spellings() {
    for (text, bytes) in [
        ("541.2MiB", Some(567_489_331)),
        ("541.2 MB", Some(541_200_000)),
        ("11 kB", Some(11_000)),
        ("1.25 GB", Some(1_200_000_000)),
        ("12 bytes", Some(12)),
        ("from x", None),
        ("", None),
        ("3 parsecs", None),
    ] {
        assert_eq!(size_in_bytes(text), bytes, "{text}");
    }
}

#[test]
fn causes_of_failure_are_told_apart() {
    let cause = |lines: &str| {
        let failure = Failure {
            step: "installing the packages",
            ended: Ended {
                status: ExitStatus::from_raw(1 << 8),
                timed_out: false,
                output: Output(lines.lines().map(str::to_owned).collect()),
            },
            requirements: &[Requirement::parse("six==99").expect("a requirement")],
            python: PythonMinor::OLDEST,
            root: Path::new("/"),
        };
        failure.into_error()
    };
    assert!(matches!(
        cause("error: Failed to fetch: http://x/\n  cause: dns error"),
        Error::NoNetwork { .. }
    ));
    assert!(matches!(
        cause(
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n\
             ERROR: No matching distribution found for iniconfig"
        ),
        Error::NoNetwork { .. }
    ));
    assert!(matches!(
        cause("error: Failed to write\n  cause: No space left on device (os error 28)"),
        Error::NoSpace { .. }
    ));
    let unsatisfiable = cause("error: No solution found when resolving dependencies");
    assert!(matches!(unsatisfiable, Error::Unsatisfiable { .. }));
    assert!(unsatisfiable.to_string().contains("six==99"), "{unsatisfiable}");
    assert!(!unsatisfiable.is_transient());
    let other = cause("Segmentation fault");
    assert!(matches!(other, Error::Tool { .. }));
    assert!(other.to_string().contains("exit status 1"), "{other}");
    let long = cause(&"x".repeat(10_000)).to_string();
    assert!(long.len() < 1_000, "long lines are cut");
}
