# ./dev boot [--full]: the packages in dist/ in Debian roots, and in a virtual machine made from one. As root, on Debian. What is in dist/ is built
# anew when a source is newer. --full: every bad input, both releases of Debian, all that takes a machine long to do.

boot_dist_is_new() {
  [ -e dist/SHA256SUMS ] || return 1
  [ -z "$(git ls-files -z --cached --others --exclude-standard -- . ':!tests' ':!docs' |
    xargs -0 sh -c 'find "$@" -maxdepth 0 -newer dist/SHA256SUMS' sh 2> /dev/null | head -n 1)" ]
}

# Whether roots can be made and entered here; says what it would take.
boot_possible() {
  # shellcheck disable=SC1091
  case "$(. /etc/os-release && echo "$ID${VERSION_ID:-}")" in
    debian12 | debian13) ;;
    *) echo "Roots of Debian 12 and 13 are made on Debian 12 and 13." >&2; return 1 ;;
  esac
  if [ "$(id -u)" != 0 ]; then echo "Roots are made and entered by root (sudo ./dev boot)." >&2; return 1; fi
  unshare --mount --net --pid --ipc --uts --fork mount --make-rprivate / 2> /dev/null && return
  echo "No root can be entered here: this container permits no namespaces with mounts." >&2
  return 1
}

# What needs no machine, with the packages that are in dist/.
boot_roots() { # boot_roots FULL
  need roots
  say "Packages in a Debian root: installed, upgraded, removed, purged"
  local tests=(tests/boot/test_root.py)
  [ "$1" = yes ] && tests+=(tests/boot/test_bad_input.py tests/boot/test_upgrade.py)
  PURLIN_FULL=$1 python3 -m pytest -q -x "${tests[@]}"
}

command_boot() {
  local full=no
  [ "${1:-}" = --full ] && full=yes && shift
  boot_possible || exit 1
  need roots machines
  if ! boot_dist_is_new; then
    # shellcheck disable=SC1091
    . tests/commands/package.sh
    command_package --quick
  fi
  say "Packages in a Debian root and in a virtual machine"
  PURLIN_FULL=$full python3 -m pytest -q -x tests/boot "$@"
}
