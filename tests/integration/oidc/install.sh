#!/usr/bin/env bash
# Installs what package-lock.json says into a folder of the user's cache, once, and prints its node_modules.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PURLIN_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/purlin}
folder=$cache/oidc-provider-$(cksum < "$here/package-lock.json" | cut -d ' ' -f 1)
if [ ! -e "$folder/installed" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$here/package.json" "$here/package-lock.json" "$folder"
  npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  touch "$folder/installed"
fi
echo "$folder/node_modules"
