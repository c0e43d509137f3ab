# Cargo's target folders in the cache, which every checkout shares. Sourced, not run.
# shellcheck shell=bash

# cargo_folder FOLDER PROFILE: makes FOLDER the target folder. Cargo tells checkouts apart by the age of their files alone, so what
# another checkout built of this workspace would pass for ours: it is removed, and what it built of dependencies is kept.
cargo_folder() {
  local packages
  export CARGO_TARGET_DIR=$1
  if [ "$(cat "$1/checkout" 2>/dev/null)" != "$PWD" ]; then
    mkdir -p "$1"
    mapfile -t packages < <(cargo metadata --no-deps --format-version 1 --locked | jq -r '.packages[] | "-p", .name')
    cargo clean --quiet --locked --profile "$2" "${packages[@]}"
    printf '%s' "$PWD" >"$1/checkout"
  fi
}

# cargo_drivers: the release builds of everything that drives the cluster from this machine. Always together: cargo chooses the features of
# dependencies by what is built at once, and would build them anew for each choice.
cargo_drivers() {
  cargo build --quiet --locked --release -p tidegate-bench -p tidegate-verify -p tidegate-wallet --bins
}
