#!/usr/bin/env python3
"""Lets a CUDA build of torch be imported without the CUDA libraries. A test-time trick, never shipped to users.

    cuda_stand_ins.py TORCH_LIB_DIR

A torch wheel from the package index weighs half a gigabyte, and its CUDA libraries three more. The conformance
tests need the store and gloo, both on the CPU, so they install the wheel alone and fill the holes: for every
library that torch's own libraries name and nobody provides, a small one is compiled that defines just the
symbols torch wants of it. Each function answers 100, which is cudaErrorNoDevice.

Where a symbol goes:
- one with a version goes into the library whose version it is, as the linker looks there and nowhere else;
- one without may stand in any library of the lookup scope; it is put into one that the asking library names.
What the C and C++ libraries define is theirs, Python's own symbols come from the interpreter, and weak ones may
stay undefined.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

VENDOR = re.compile(r"lib(cu|nv|nccl)[A-Za-z0-9_]*\.so")
# The driver's library comes with the driver, and torch opens it only when it looks for devices.
NEVER = {"libcuda.so.1"}

Symbol = collections.namedtuple("Symbol", "name is_data")


class Library:
    """What the dynamic section of one file says."""

    def __init__(self, path):
        dynamic = readelf("-d", path)
        self.needed = re.findall(r"\(NEEDED\).*\[(.+?)\]", dynamic)
        self.version_owner = self._version_owners(path)
        self.defined = set()
        self.wanted = []  # (Symbol, version or None)
        for line in readelf("--dyn-syms", path).splitlines():
            fields = line.split()
            if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
                continue
            kind, binding, section = fields[3], fields[4], fields[6]
            name, _, version = fields[7].partition("@")
            if section != "UND":
                self.defined.add(name)
            elif binding != "WEAK" and name:
                symbol = Symbol(name, kind == "OBJECT")
                self.wanted.append((symbol, version.lstrip("@") or None))

    @staticmethod
    def _version_owners(path):
        """Version name -> the library that must define it."""
        owners = {}
        library = None
        for line in readelf("-V", path).splitlines():
            if found := re.search(r"File: (\S+)", line):
                library = found.group(1)
            elif (found := re.search(r"Name: (\S+)\s+Flags:", line)) and library:
                owners[found.group(1)] = library
        return owners


def readelf(option, path):
    command = ["readelf", option, "--wide", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def of_the_system(names):
    """What the machine's own libraries of these names define."""
    defined = set()
    for name in names:
        command = ["gcc", f"-print-file-name={name}"]
        path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        if path.startswith("/"):
            defined |= Library(path).defined
    return defined


def plan(libraries, present):
    """Missing library -> version or None -> symbols."""
    missing = {
        name
        for library in libraries
        for name in library.needed
        if VENDOR.match(name) and name not in NEVER and name not in present
    }
    needed = set().union(*(library.needed for library in libraries))
    defined = set().union(*(library.defined for library in libraries))
    defined |= of_the_system(needed - missing - present)
    stand_ins = {name: collections.defaultdict(set) for name in missing}
    for library in libraries:
        near = [name for name in library.needed if name in missing]
        for symbol, version in library.wanted:
            if version is not None:
                owner = library.version_owner.get(version)
                if owner in missing:
                    stand_ins[owner][version].add(symbol)
            elif near and symbol.name not in defined and not symbol.name.startswith(("Py", "_Py")):
                stand_ins[near[0]][None].add(symbol)
    return stand_ins


def build(folder, soname, symbols_by_version):
    code = []
    versions = []
    for version, symbols in symbols_by_version.items():
        for symbol in sorted(symbols):
            code.append(
                f"char {symbol.name}[4096];" if symbol.is_data else f"int {symbol.name}(void) {{ return 100; }}"
            )
        if version is not None:
            names = " ".join(f"{symbol.name};" for symbol in sorted(symbols))
            versions.append(f"{version} {{ global: {names} }};")
    with tempfile.TemporaryDirectory() as scratch:
        source = pathlib.Path(scratch, "stand_in.c")
        source.write_text("\n".join(code) + "\n")
        command = ["gcc", "-shared", "-fPIC", "-nostdlib", "-w", "-fno-builtin", f"-Wl,-soname,{soname}"]
        if versions:
            script = pathlib.Path(scratch, "versions")
            script.write_text("\n".join(versions) + "\n")
            command.append(f"-Wl,--version-script={script}")
        subprocess.run([*command, "-o", str(folder / soname), str(source)], check=True)


def main():
    folder = pathlib.Path(sys.argv[1])
    files = [path for path in folder.glob("*.so*") if path.is_file()]
    libraries = [Library(path) for path in files]
    present = {path.name for path in files}
    for soname, symbols in sorted(plan(libraries, present).items()):
        build(folder, soname, symbols)
        print(soname, sum(len(group) for group in symbols.values()), "symbols")


if __name__ == "__main__":
    main()
