#!/usr/bin/env bash
# install.sh 2|3: MLflow's client of that major version and what its models need, in a folder of the user's cache, once; prints its Python.
# Whoever comes while another installs the same waits for it. uv takes a third of pip's time; where it cannot be had, pip does.
set -euo pipefail
uv_version=0.13.9
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
wanted=$here/requirements-$1.txt
cache=${PURLIN_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/purlin}
folder=$cache/mlflow-$1-$(cksum < "$wanted" | cut -d ' ' -f 1)
uv=$cache/uv-$uv_version
mkdir -p "$cache"

once() { # once FOLDER FUNCTION: the function makes the folder, unless it is there
  (
    flock 9
    [ -e "$1/installed" ] || { rm -rf "$1" && "$2" >&2 && touch "$1/installed"; }
  ) 9> "$1.lock"
}

add_uv() {
  python3 -m venv "$uv" && "$uv/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version"
}

add_client() {
  if once "$uv" add_uv; then
    python3 -m venv --without-pip "$folder" &&
      UV_CACHE_DIR=$cache/uv-cache "$uv/bin/uv" pip install --quiet --python "$folder/bin/python" --no-deps --requirement "$wanted"
  else
    python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$wanted"
  fi
}

once "$folder" add_client
echo "$folder/bin/python"
