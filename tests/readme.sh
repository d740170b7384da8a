#!/usr/bin/env bash
# Follows the README: makes a crate beside the repository, with the README's blocks of code in the files that it names, and
# runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
place=$target/readme
rm -rf "$place"
mkdir -p "$place/polite/src" "$place/polite/proto"
ln -s "$PWD" "$place/grpc-proto"
cp examples/proto/helloworld.proto "$place/polite/proto/"
# The versions that all other tests use.
cp Cargo.lock "$place/polite/"

# block LANGUAGE NUMBER...: the blocks of a language, counted from 1, under "Write a service".
block() {
    sed -n '/^## Write a service/,/^## Without a runtime/p' README.md |
        awk -v fence="\`\`\`$1" -v wanted=" ${*:2} " '
            $0 == fence { within = index(wanted, " " ++count " ") > 0; next }
            /^```/ { within = 0 }
            within'
}
{
    printf '[package]\nname = "polite"\nversion = "0.1.0"\nedition = "2024"\n\n[workspace]\n\n'
    block toml 1
} >"$place/polite/Cargo.toml"
block rust,ignore 1 >"$place/polite/build.rs"
# A free port, in place of one that another program may have.
port=$((20000 + RANDOM % 10000))
block rust,ignore 2 3 4 | sed "s/50051/$port/" >"$place/polite/src/main.rs"

cargo build --quiet --manifest-path "$place/polite/Cargo.toml" --target-dir "$target"
said=$(timeout 60 "$target/debug/polite")
echo "the README's program says: $said"
[ "$said" = "Hello, world!" ]
