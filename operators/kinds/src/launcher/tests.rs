use super::*;

fn argv(words: &[&str]) -> Inspection {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    inspect(&words)
}

fn in_shell(script: &str) -> Option<Launcher> {
    argv(&["bash", "-c", script]).launcher
}

#[test]
fn launchers_are_seen_through_interpreters_and_wrappers() {
    use Launcher::{Accelerate, DeepSpeed, Torchrun};
    for (words, expected) in [
        (&["torchrun", "train.py"][..], Some(Torchrun)),
        (&["/opt/venv/bin/torchrun", "--nnodes=2", "train.py"], Some(Torchrun)),
        (&["python", "-m", "torch.distributed.run", "x.py"], Some(Torchrun)),
        (&["python3.11", "-um", "torch.distributed.launch", "x.py"], Some(Torchrun)),
        (&["/usr/bin/python3", "-u", "-W", "ignore", "-mtorch.distributed.run"], Some(Torchrun)),
        (&["python", "/x/torch/distributed/launch.py", "x.py"], Some(Torchrun)),
        (&["python", "/usr/local/bin/torchrun", "x.py"], Some(Torchrun)),
        (&["accelerate", "launch", "x.py"], Some(Accelerate)),
        (&["accelerate-launch", "x.py"], Some(Accelerate)),
        (&["python", "-m", "accelerate.commands.launch", "x.py"], Some(Accelerate)),
        (&["deepspeed", "--num_gpus=2", "x.py"], Some(DeepSpeed)),
        (&["env", "A=1", "B=2", "torchrun", "x.py"], Some(Torchrun)),
        (&["/usr/bin/env", "python", "-m", "torch.distributed.run"], Some(Torchrun)),
        (&["numactl", "--cpunodebind", "0", "nice", "-n", "5", "torchrun", "x.py"], Some(Torchrun)),
        (&["conda", "run", "-n", "env1", "python", "-m", "torch.distributed.run"], Some(Torchrun)),
        (&["sh", "-c", "torchrun x.py"], Some(Torchrun)),
        (&["bash", "-euxo", "pipefail", "-c", "torchrun x.py"], Some(Torchrun)),
        (&["/bin/bash", "-lc", "exec torchrun x.py"], Some(Torchrun)),
        (&["bash", "-c", "bash -c \"sh -c 'torchrun x.py'\""], Some(Torchrun)),
        // No launchers.
        (&[], None),
        (&["python", "train.py"], None),
        (&["python", "-m", "train"], None),
        (&["python", "train.py", "--launcher", "torchrun"], None),
        (&["python", "-c", "import torchrun"], None),
        (&["python", "train.py", "-m", "torch.distributed.run"], None),
        (&["accelerate", "config"], None),
        (&["sleep", "torchrun"], None),
        (&["bash", "torchrun.sh"], None),
        (&["bash", "run.sh", "-c", "torchrun"], None),
        (&["bash", "-c"], None),
        (&["bash"], None),
    ] {
        assert_eq!(argv(words).launcher, expected, "{words:?}");
    }
}

#[test]
fn launchers_are_seen_inside_of_scripts() {
    let found = Some(Launcher::Torchrun);
    for (script, expected) in [
        ("cd /work && torchrun x.py", found),
        ("cd /work; A=1 B='x y' torchrun x.py", found),
        ("set -e\n\npip install x\ntorchrun \\\n  --nnodes=2 x.py\n", found),
        ("if true; then torchrun x.py; fi", found),
        ("for i in 1 2; do torchrun x.py || exit 1; done", found),
        ("(torchrun x.py) 2>&1 | tee log", found),
        ("sleep 1 & torchrun x.py &> log", found),
        ("x > log 2>&1 && torchrun x.py", found),
        ("echo $((1<<2)); torchrun x.py", found),
        ("cat <<< text; torchrun x.py", found),
        ("cat <<EOF > f\nit's python, don't look\nEOF\ntorchrun f", found),
        ("cat <<-'A' <<\"B\"\nx\n\tA\n'\nB\ntorchrun f", found),
        ("# don't stop here\ntorchrun x.py", found),
        ("$PYTHON -m torch.distributed.run x.py", found),
        ("${PY:-python3} -m torch.distributed.launch x.py", found),
        ("eval \"torchrun x.py\"", found),
        ("out=$(torchrun x.py)", found),
        ("exec torchrun x.py", found),
        ("time numactl -N 0 torchrun x.py", found),
        // No launchers.
        ("python x.py", None),
        ("echo torchrun x.py", None),
        ("echo 'a; torchrun x.py'", None),
        ("# torchrun x.py\npython x.py", None),
        ("cat <<EOF\ntorchrun x.py\nEOF\npython x.py", None),
        ("./torchrun.sh", None),
        ("$LAUNCH x.py", None),
        ("", None),
        ("'", None),
        ("torchrun' x", None),
    ] {
        assert_eq!(in_shell(script), expected, "{script}");
    }
}

/// The shape that the training SDK (`kubeflow.training.utils.get_script_for_function`) sends.
#[test]
fn a_script_in_a_here_document_hides_nothing_behind_it() {
    let script = |entrypoint: &str| {
        format!(
            "program_path=$(mktemp -d)\nread -r -d '' SCRIPT << EOM\n\ndef train():\n    # it's \"mine\n    print('torchrun x')\n\ntrain()\n\nEOM\nprintf \"%s\" \"$SCRIPT\" > \"$program_path/ephemeral_script.py\"\n{entrypoint} \"$program_path/ephemeral_script.py\""
        )
    };
    assert_eq!(in_shell(&script("torchrun")), Some(Launcher::Torchrun));
    assert_eq!(in_shell(&script("python -u")), None);
}

#[test]
fn a_rendezvous_of_its_own_is_one_with_a_place_or_another_backend() {
    for (words, expected) in [
        (&["torchrun", "x.py"][..], false),
        (&["torchrun", "--rdzv_backend=c10d", "./echo.py"], false),
        (&["torchrun", "--rdzv-backend", "c10d", "x.py"], false),
        (&["torchrun", "--rdzv-id=7", "--nnodes=2", "x.py"], false),
        (&["torchrun", "--master-addr=$MASTER_ADDR", "x.py"], false),
        (&["torchrun", "x.py", "--standalone", "--rdzv-endpoint=a:1"], false),
        (&["torchrun", "--rdzv_backend=etcd-v2", "x.py"], true),
        (&["torchrun", "--rdzv-backend", "static", "x.py"], true),
        (&["torchrun", "--rdzv-endpoint", "a:1", "x.py"], true),
        (&["torchrun", "--rdzv_endpoint=a:1", "x.py"], true),
        (&["torchrun", "--rdzv-conf=timeout=9", "x.py"], true),
        (&["torchrun", "--standalone", "--nproc-per-node=2", "x.py"], true),
        (&["python", "-m", "torch.distributed.run", "--standalone", "x.py"], true),
        (&["sh", "-c", "cd x && torchrun --rdzv-endpoint=a:1 x.py"], true),
        (&["sh", "-c", "export PET_RDZV_ENDPOINT=a:1\ntorchrun x.py"], true),
        (&["sh", "-c", "PET_RDZV_BACKEND=c10d torchrun x.py"], false),
        (&["env", "PET_STANDALONE=1", "torchrun", "x.py"], true),
        (&["python", "x.py", "--rdzv-endpoint=a:1"], false),
    ] {
        assert_eq!(argv(words).own_rendezvous, expected, "{words:?}");
    }
    for (name, value, expected) in [
        ("PET_RDZV_ENDPOINT", Some("a:1"), true),
        ("PET_RDZV_ENDPOINT", None, true),
        ("PET_RDZV_ENDPOINT", Some(""), false),
        ("PET_RDZV_CONF", Some("timeout=9"), true),
        ("PET_RDZV_BACKEND", Some("c10d"), false),
        ("PET_RDZV_BACKEND", Some("etcd"), true),
        ("PET_RDZV_ID", Some("7"), false),
        ("PET_STANDALONE", Some("1"), true),
        ("PET_STANDALONE", Some("0"), false),
        ("PET_NNODES", Some("2"), false),
    ] {
        assert_eq!(chooses_rendezvous(name, value), expected, "{name}={value:?}");
    }
}

#[test]
fn hostile_commands_end_quickly() {
    assert_eq!(argv(&vec!["exec"; 200_000]).launcher, None);
    let nested = "sh -c ".repeat(100_000);
    assert_eq!(in_shell(&nested), None);
    assert_eq!(in_shell(&"<<a ".repeat(100_000)), None);
    assert_eq!(in_shell(&"((((".repeat(100_000)), None);
}
