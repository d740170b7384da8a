#!/usr/bin/env python3
"""Plants small faults (mutants) at random places of all crates and reports which test finds each.

    tests/mutants.py                      10 mutants a crate, a new seed each time
    tests/mutants.py --per-crate 60 --crates grpc-proto,grpc-arena --seed 7
    tests/mutants.py --ci                 few mutants, the crates' own tests alone: fails below 70 % of those that compile

A mutant meets the tests of its own crate, then those of the workspace, then 2000 seeds of the simulator, until one of
them fails. The list of mutants comes from cargo-mutants, which this script installs into the target folder if need be.
The work tree stays as it is: mutants are planted in a copy of what git tracks.
"""
import argparse, json, os, random, shutil, signal, subprocess, sys, time

CRATES = ["grpc-proto", "grpc-arena", "grpc-build", "grpc-service", "grpc-monoio", "grpc-sim"]
# Code that tests are made of, or that only prints.
LEFT_OUT = ["grpc-sim/src/bin/", "grpc-sim/src/cli.rs", "grpc-sim/src/show.rs", "/tests.rs", "/generated/", "/wkt/"]
CARGO_MUTANTS = "27"
SEEDS = 2000

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
target = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target")))
tools = os.path.join(target, "mutants-tools")
tree = os.path.join(target, "mutants", "tree")


def run(command, timeout=None, cwd=root, log=None):
    """Exit code, or None after `timeout` seconds; a command that is late is ended with all its children."""
    environment = dict(os.environ, CARGO_TARGET_DIR=os.path.join(target, "mutants", "target"), PROPTEST_CASES="64")
    with open(log or os.devnull, "w") as output:
        child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                 env=environment, start_new_session=True)
        try:
            return child.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return None


def cargo_mutants():
    """The program that lists mutants."""
    own = os.path.join(tools, "bin", "cargo-mutants")
    found = shutil.which("cargo-mutants") or (own if os.path.exists(own) else None)
    if not found:
        subprocess.run(["cargo", "install", "cargo-mutants", "--version", CARGO_MUTANTS, "--locked", "--debug", "--quiet",
                        "--root", tools], check=True)
        found = own
    return found


def mutants_of(program, crate):
    listed = subprocess.run([program, "mutants", "--list", "--json", "--diff", "-p", crate], cwd=root, check=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [m for m in json.loads(listed.stdout) if not any(part in m["file"] for part in LEFT_OUT)]


def lay_tree():
    """A copy of the files that git tracks, whose build products stay for the next run."""
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, stdout=subprocess.PIPE).stdout
    packed = tree + ".tar"
    subprocess.run(["tar", "-cf", packed, "--null", "-T", "-"], cwd=root, input=names, check=True)
    subprocess.run(["tar", "-xf", packed, "-C", tree], check=True)
    os.remove(packed)


def patch(diff, reverse=False):
    command = ["patch", "--quiet", "-p0", "--no-backup-if-mismatch"] + (["-R"] if reverse else [])
    subprocess.run(command, cwd=tree, input=diff.encode(), check=True, stdout=subprocess.DEVNULL)
    file = diff.split("\n", 1)[0].removeprefix("--- ")
    os.utime(os.path.join(tree, file))


class Stage:
    """A way to find a mutant: a build, then a run that may take at most `limit` seconds."""

    def __init__(self, name, build, execute):
        self.name, self.build, self.execute, self.limit = name, build, execute, None

    def outcome(self, log):
        if self.build and run(self.build, 1800, tree, log) != 0:
            return "unviable"
        began = time.monotonic()
        code = run(self.execute, self.limit or 3600, tree, log)
        if self.limit is None:
            if code != 0:
                sys.exit(f"without a mutant {self.name} fails: see {log}")
            self.limit = max(60, 5 * (time.monotonic() - began))
        return "passed" if code == 0 else "timeout" if code is None else "failed"


def stages_of(crate, only_own):
    own = ["cargo", "test", "--profile", "mutants", "--locked", "--lib", "--tests", "-p", crate]
    yield Stage(crate, own + ["--no-run"], own)
    if only_own:
        return
    everything = ["cargo", "test", "--profile", "mutants", "--locked", "--lib", "--tests", "--workspace"]
    yield Stage("workspace", everything + ["--no-run"], everything)
    simulator = ["cargo", "run", "--profile", "mutants", "--locked", "-p", "grpc-sim", "--", "campaign", "--seeds",
                 str(SEEDS), "--jobs", "1"]
    yield Stage("simulator", None, simulator)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crates", default=",".join(CRATES))
    parser.add_argument("--per-crate", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only-own", action="store_true", help="the tests of the mutant's own crate alone")
    parser.add_argument("--files", default="", help="only mutants whose path contains this")
    parser.add_argument("--at-least", type=float, default=0, help="fail if the own crates find less than this percentage")
    parser.add_argument("--ci", action="store_true", help="--per-crate 4 --only-own --seed 1 --at-least 70, proto, arena and build")
    options = parser.parse_args()
    if options.ci:
        options.per_crate, options.only_own, options.seed, options.at_least = 4, True, options.seed or 1, 70
        options.crates = "grpc-proto,grpc-arena,grpc-build"
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)

    program = cargo_mutants()
    lay_tree()
    log = os.path.join(target, "mutants", "log.txt")
    workspace = {}
    rows, survivors = [], []
    for crate in options.crates.split(","):
        drawn = [m for m in mutants_of(program, crate) if options.files in m["file"]]
        random.Random(f"{seed} {crate}").shuffle(drawn)
        # The stages beyond the crate's own are the same for each crate: their time limits are measured once.
        stages = [workspace.setdefault(s.name, s) for s in stages_of(crate, options.only_own)]
        for stage in stages:
            if stage.limit is None and stage.outcome(log) == "unviable":
                sys.exit(f"without a mutant {stage.name} does not build: see {log}")
        found, viable = {}, 0
        for mutant in drawn:
            if viable == options.per_crate:
                break
            patch(mutant["diff"])
            finder = "nothing"
            for stage in stages:
                outcome = stage.outcome(log)
                if outcome != "passed":
                    finder = "unviable" if outcome == "unviable" else stage.name + (" (timeout)" if outcome == "timeout" else "")
                    break
            patch(mutant["diff"], reverse=True)
            if finder != "unviable":
                viable += 1
                found[finder] = found.get(finder, 0) + 1
                if not finder.startswith(crate):
                    survivors.append((finder, mutant["name"]))
            print(f"{finder:22} {mutant['name']}", flush=True)
        rows.append((crate, viable, found))

    print("\ncrate, viable mutants, found by")
    own_found = own_viable = 0
    for crate, viable, found in rows:
        own = sum(count for finder, count in found.items() if finder.startswith(crate))
        own_found, own_viable = own_found + own, own_viable + viable
        others = ", ".join(f"{finder} {count}" for finder, count in sorted(found.items()) if not finder.startswith(crate))
        print(f"{crate}, {viable}, itself {own}{', ' + others if others else ''}")
    for finder, name in survivors:
        print(f"not found by its own crate but by {finder}: {name}")
    share = 100 * own_found / max(1, own_viable)
    print(f"{own_found} of {own_viable} found by their own crates ({share:.1f} %), seed {seed}")
    if not own_viable or share < options.at_least:
        sys.exit("FAILED: too few mutants were found")


main()
