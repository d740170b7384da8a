#!/usr/bin/env bash
# Links grpc-proto and grpc-arena into a static library that has no standard library, and makes a call with it from C.
# Shows that no runtime is among their dependencies.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/no-std
CARGO_TARGET_DIR=$target cargo build -q --locked --manifest-path tests/no-std/Cargo.toml
library=$target/debug/libno_std.a

symbols=$target/symbols.txt
# The tool reports members without symbols as errors; they are fine.
nm -C "$library" >"$symbols" 2>"$symbols.errors" || { cat "$symbols.errors" && exit 1; }
if ! grep -q ' T one_call$' "$symbols"; then
    echo "FAILED: its symbols cannot be read"
    exit 1
fi
if grep -E ' [tTwW] .*\bstd::(rt|io|thread|sync|time|net|panicking)::' "$symbols" | head -n 5 | grep .; then
    echo "FAILED: the standard library is in it"
    exit 1
fi

cat >"$target/main.c" <<'END'
#include <stdio.h>
int one_call(void);
/* The precompiled alloc names it, but nothing unwinds here. */
void rust_eh_personality(void) {}
int main(void) { int n = one_call(); printf("%d bytes came back\n", n); return n != 5; }
END
cc -o "$target/main" "$target/main.c" "$library"
timeout 10 "$target/main"

for crate in grpc-proto grpc-arena; do
    tree=$(cargo tree --locked -p "$crate" -e normal --prefix none --no-dedupe | sed 's/ .*//' | sort -u)
    echo "$crate needs:" $tree
    if echo "$tree" | grep -E '^(tokio|monoio|mio|async-.*|smol|futures.*|libc|socket2|io-uring|rustls)$'; then
        echo "FAILED: a runtime is among the dependencies of $crate"
        exit 1
    fi
done
