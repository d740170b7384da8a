#!/usr/bin/env python3
"""Compares the descriptors that two compilers make of sets of .proto files: `run.sh` says how it is called."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from google.protobuf import descriptor_pb2

# What is compiled at once: many files share their imports.
BATCH = 400


class Compilers:
    def __init__(self, ours, protoc, folder):
        self.ours, self.protoc, self.folder = ours, protoc, Path(folder)

    def run(self, command, out):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            return None, done.stderr.strip()
        made = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
        for file in made.file:
            file.ClearField("source_code_info")
        return {file.name: file.SerializeToString(deterministic=True) for file in made.file}, ""

    def both(self, includes, names):
        theirs, ours = self.folder / "theirs", self.folder / "ours"
        command = [self.protoc, "--include_imports", f"--descriptor_set_out={theirs}"]
        return (
            self.run(command + [f"-I{include}" for include in includes] + names, theirs),
            self.run([self.ours, str(ours), *includes, "--", *names], ours),
        )


def compare(compilers, includes, names, out):
    (theirs, why), (ours, why_ours) = compilers.both(includes, names)
    if theirs is not None and ours is not None:
        if list(theirs) != list(ours):
            out["differ"].append(f"{names}: other files or another order")
        out["same"].update(name for name in theirs if theirs[name] == ours.get(name))
        out["differ"] += [name for name in theirs if theirs[name] != ours.get(name)]
    elif len(names) > 1:
        middle = len(names) // 2
        compare(compilers, includes, names[:middle], out)
        compare(compilers, includes, names[middle:], out)
    elif theirs is None and ours is None:
        out["refused"].append(names[0])
    elif theirs is not None and "the edition `2026` is not known" in why_ours:
        out["later"].append(names[0])
    else:
        out["differ"].append(f"{names[0]}: protoc: {why or 'accepted'}; ours: {why_ours or 'accepted'}")


def main():
    ours, protoc, every, *sets = sys.argv[1:]
    failed, total = False, 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        compilers = Compilers(ours, protoc, folder)
        for one in sets:
            label, _, includes = one.partition("=")
            includes = includes.split(",")
            root = Path(includes[0])
            names = sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))
            # The folder of Python's packages holds other sets too.
            if label == "googleapis-common-protos":
                names = [name for name in names if name.startswith("google/")]
            if len(names) > 1000:
                names = names[:: int(every)]
            started = time.monotonic()
            out = {"same": set(), "differ": [], "refused": [], "later": []}
            # Files of these folders do not belong together: each is compiled alone.
            batch = 1 if label in ("broken", "odd corners", "repository") else BATCH
            for at in range(0, len(names), batch):
                compare(compilers, includes, names[at : at + batch], out)
            if label == "broken":
                out["differ"] += [f"{name}: both accept it" for name in sorted(out["same"] & set(names))]
                if len(out["refused"]) < 80:
                    out["differ"].append(f"only {len(out['refused'])} broken files")
            else:
                total += len(out["same"])
            for name in out["differ"]:
                print(f"DIFFERS: {label}: {name}")
            failed |= bool(out["differ"])
            counts = [len(names), len(out["same"]), len(out["refused"]), len(out["later"])]
            rows.append([label, *map(str, counts), f"{time.monotonic() - started:.1f}"])
    print("| set | files | the same descriptors, with imports | refused by both | edition 2026 | seconds |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if total < 1500:
        print(f"FAILED: only {total} files were compared")
        failed = True
    sys.exit(failed)


main()
