#!/usr/bin/env python3
"""Builds a virtual environment with one version of torch, or finds the one built before.

    torch_environment.py VERSION CACHE_FOLDER

Prints the environment's interpreter on the last line of stdout. Exit status 75 means that this machine cannot
build one now (no compiler, no network, no fitting interpreter): stderr then says in one sentence why, and the
tests that need it are skipped with that sentence.
"""

import fcntl
import pathlib
import shutil
import subprocess
import sys

CANNOT = 75
STAND_INS = pathlib.Path(__file__).with_name("cuda_stand_ins.py")
# What `import torch.distributed` pulls in; all of them pure but numpy.
PURE = ["typing-extensions", "sympy", "networkx", "jinja2", "filelock", "fsspec"]
INTERPRETERS = ["3.11", "3.12", "3.10"]


class Cannot(Exception):
    """Why the environment cannot be built here."""


def run(command, what):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Cannot(f"{what} failed: {' '.join(last) or done.returncode}")
    return done.stdout


def uv(cache):
    """uv on the PATH, or one of our own in the cache."""
    if found := shutil.which("uv"):
        return found
    own = cache / "uv"
    program = own / "bin" / "uv"
    if not program.exists():
        run([sys.executable, "-m", "venv", "--clear", str(own)], "making an environment for uv")
        run([str(own / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"], "pip install uv")
    return str(program)


def interpreter():
    """An interpreter that all tested versions have wheels for."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if running in INTERPRETERS:
        return sys.executable
    for version in INTERPRETERS:
        if found := shutil.which(f"python{version}"):
            return found
    raise Cannot(f"none of Python {', '.join(INTERPRETERS)} was found; this one is {running}")


def numpy_for(version):
    """torch before 2.4 was built against numpy 1."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return "numpy<2" if (major, minor) < (2, 4) else "numpy"


def build(version, cache, folder):
    for tool in ("gcc", "readelf"):
        if shutil.which(tool) is None:
            raise Cannot(f"{tool} was not found; install gcc and binutils")
    installer = uv(cache)
    scratch = folder.with_name(folder.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    run([installer, "venv", "--quiet", "--python", interpreter(), str(scratch)], "uv venv")
    python = str(scratch / "bin" / "python")
    install = [installer, "pip", "install", "--quiet", "--no-cache", "--python", python]
    run([*install, "--no-deps", f"torch=={version}"], f"installing torch {version}")
    run([*install, *PURE, numpy_for(version)], "installing the packages torch imports")
    (libraries,) = scratch.glob("lib/python3.*/site-packages/torch/lib")
    run([sys.executable, str(STAND_INS), str(libraries)], "building the stand-ins for the CUDA libraries")
    answer = run([python, "-c", "import torch.distributed as d; print(d.is_gloo_available())"], "import torch")
    if answer.split()[-1:] != ["True"]:
        raise Cannot(f"torch {version} has no gloo here")
    scratch.rename(folder)


def main():
    version, cache = sys.argv[1], pathlib.Path(sys.argv[2]).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"torch-{version}"
    with open(cache / f"torch-{version}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build(version, cache, folder)
    print(folder / "bin" / "python")


if __name__ == "__main__":
    try:
        main()
    except (Cannot, OSError) as problem:
        print(f"no environment with torch {sys.argv[1]}: {problem}", file=sys.stderr)
        sys.exit(CANNOT)
