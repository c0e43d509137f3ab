#!/usr/bin/env bash
# base-root.sh TARGET RELEASE PACKAGES_CACHE: the root of the base image, in the shape of the slim Debian image.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=hack/offline/debian-root.sh
. "$here/debian-root.sh"

debian_root "$1" "$2" "$3" ca-certificates
# Installations on top leave out what these left out.
cat >"$1/etc/dpkg/dpkg.cfg.d/slim" <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
SLIM
printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
