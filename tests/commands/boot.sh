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
  case "$(. /etc/os-release && echo "$ID${VERSION_ID:-} $(uname -m)")" in
    "debian12 x86_64" | "debian13 x86_64") ;;
    *) echo "Roots of Debian 12 and 13 are made on these, on x86-64." >&2; return 1 ;;
  esac
  if [ "$(id -u)" != 0 ]; then echo "Roots are made and entered by root (sudo ./dev boot)." >&2; return 1; fi
  unshare --mount --net --pid --ipc --uts --fork mount --make-rprivate / 2> /dev/null && return
  echo "No root can be entered here: this container permits no namespaces with mounts." >&2
  return 1
}

# What CI does of it, with the packages that are in dist/: a life in a root, and a machine that starts once.
boot_smoke() { # boot_smoke FULL
  need roots machines
  say "Packages in a Debian root: installed, upgraded, removed, purged; and in a virtual machine that boots"
  local tests=(tests/boot/test_root.py tests/boot/test_machine.py::test_the_service_is_up_after_a_boot)
  [ "$1" = yes ] && tests+=(tests/boot/test_bad_input.py tests/boot/test_upgrade.py)
  PURLIN_FULL=$1 python3 -m pytest -q -x "${tests[@]}"
}

# The packages of the release that this machine does not run.
boot_other_release() {
  local other=trixie
  # shellcheck disable=SC1091
  [ "$(. /etc/os-release && echo "$VERSION_ID")" = 13 ] && other=bookworm
  # shellcheck disable=SC1091
  . tests/commands/package.sh
  command_package --suite "$other" --quick
  say "Packages of Debian $other in a root and in a virtual machine"
  PURLIN_DIST=$PWD/dist/$other python3 -m pytest -q -x tests/boot/test_root.py tests/boot/test_machine.py
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
  if [ "$full" = yes ] && [ $# = 0 ]; then boot_other_release; fi
}
