# debian_root TARGET RELEASE PACKAGES_CACHE [PACKAGE...]: a minimal Debian root from the mirror that this host uses. Sourced.
# shellcheck shell=bash

debian_root() {
  local target=$1 release=$2 downloads=$3 included mirror
  shift 3
  included=$(IFS=, && echo "$*")
  # The host may have other vendors' sources too: only one that says it is Debian's, of this release.
  # shellcheck disable=SC2016 # apt fills these in
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' |
    awk -v release="$release" '$2 == release && $3 == "Debian" { print $1; exit }')
  mkdir -p "$downloads" "$(dirname "$target")"
  debootstrap --variant=minbase --cache-dir="$downloads" ${included:+--include="$included"} "$release" "$target" \
    "${mirror:-https://deb.debian.org/debian}"
  if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    rm -f "$target/etc/apt/sources.list"
    cp /etc/apt/sources.list.d/debian.sources "$target/etc/apt/sources.list.d/"
  fi
  rm -rf "$target"/var/cache/apt/archives/*.deb "$target"/var/lib/apt/lists/* "$target"/var/log/* \
    "$target"/usr/share/doc/* "$target"/usr/share/man/* "$target"/usr/share/info/* "$target"/usr/share/locale/*
  : >"$target/etc/hostname"
  rm -f "$target/etc/resolv.conf"
}
