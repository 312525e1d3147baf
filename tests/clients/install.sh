#!/usr/bin/env bash
# install.sh 2|3: MLflow's client of that major version and what its models need, in a folder of the user's cache, once; prints its Python.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
wanted=$here/requirements-$1.txt
cache=${PURLIN_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/purlin}
folder=$cache/mlflow-$1-$(cksum < "$wanted" | cut -d ' ' -f 1)
if [ ! -e "$folder/installed" ]; then
  rm -rf "$folder"
  mkdir -p "$cache"
  python3 -m venv "$folder" >&2
  "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$wanted" >&2
  touch "$folder/installed"
fi
echo "$folder/bin/python"
