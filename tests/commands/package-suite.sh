# ./dev package --suite NAME: the packages of another release of Debian, or of this one out of a clean system, into dist/NAME/;
# tests/commands/package.sh calls this. They are built, and lintian looks at them, in a root of that release that holds what building takes and
# nothing else; it is made once, in ~/.cache/purlin/roots/NAME-build ($PURLIN_TEST_CACHE), and again after two weeks. As root.

suite_number() { # suite_number NAME: the number of a release for which we make packages
  case "$1" in
    bookworm) echo 12 ;;
    trixie) echo 13 ;;
    *)
      echo "--suite wants bookworm or trixie" >&2
      return 1 ;;
  esac
}

# One of its own for ccache, which stays as long as the root does.
suite_packages() { # suite_packages NAME
  local families
  families="debian debian$(suite_number "$1")"
  echo "$(packages build "$families")" "$(packages package "$families")" ccache | tr ' ' ','
}

suite_make() { # suite_make NAME FOLDER: is there afterwards, with today's list of packages
  local suite=$1 folder=$2 mirror=${PURLIN_DEBIAN_MIRROR:-http://deb.debian.org} wanted
  wanted="$mirror $(suite_packages "$suite")"
  if [ "$(cat "$folder.packages" 2> /dev/null)" = "$wanted" ] && [ -z "$(find "$folder.packages" -mtime +14)" ]; then return; fi
  say "Making a root of Debian $suite to build in"
  rm -rf "$folder" "$folder.packages"
  mkdir -p "${folder%/*}"
  mmdebstrap --quiet --mode=root --variant=minbase --dpkgopt=force-unsafe-io --include="${wanted#* }" "$suite" "$folder" \
    "deb $mirror/debian $suite main" "deb $mirror/debian $suite-updates main" "deb $mirror/debian-security $suite-security main"
  echo "$wanted" > "$folder.packages"
}

# In the root, where this tree and the folder for temporary files are where they are outside; no network, and no process that stays.
# shellcheck disable=SC2016
suite_run() { # suite_run ROOT COMMAND [ARGUMENT ...]
  local root=$1
  shift
  HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare --mount --net --pid --ipc --uts --fork --kill-child sh -c '
    set -e
    root=$1 && shift
    mount -t proc proc "$root/proc"
    for folder in "$1" "$2"; do
      mkdir -p "$root$folder"
      mount --bind "$folder" "$root$folder"
    done
    shift 2
    exec chroot "$root" sh -c "cd \"\$1\" && shift && exec \"\$@\"" sh "$PWD" "$@"
  ' sh "$root" "${TMPDIR:-/tmp}" "$ROOT_OF_SOURCES" "$@"
}

# Sets SUITE_ROOT, in which package.sh then works. Two at the same time would make the same root.
suite_enter() { # suite_enter NAME
  suite_number "$1" > /dev/null
  # shellcheck disable=SC1091
  . tests/commands/boot.sh
  boot_possible || exit 1
  need roots
  SUITE_ROOT=${PURLIN_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/purlin}/roots/$1-build
  ROOT_OF_SOURCES=$PWD
  mkdir -p "${SUITE_ROOT%/*}"
  exec 9> "$SUITE_ROOT.lock"
  flock 9
  suite_make "$1" "$SUITE_ROOT"
}
