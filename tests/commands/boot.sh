# ./dev boot [--full]: the packages in dist/ in Debian roots, and in a virtual machine made from one. As root, on Debian. What is in dist/ is built
# anew when a source is newer. --full: every bad input, both releases of Debian, all that takes a machine long to do.

boot_dist_is_new() {
  [ -e dist/SHA256SUMS ] || return 1
  [ -z "$(git ls-files -z --cached --others --exclude-standard -- . ':!tests' ':!docs' |
    xargs -0 sh -c 'find "$@" -maxdepth 0 -newer dist/SHA256SUMS' sh 2> /dev/null | head -n 1)" ]
}

# Whether roots can be made and entered here; says what it would take.
boot_possible() {
  case " $(family) " in
    *debian*) ;;
    *) echo "Debian roots are made on Debian." >&2; return 1 ;;
  esac
  if [ "$(id -u)" != 0 ]; then echo "Roots are made and entered by root (sudo ./dev boot)." >&2; return 1; fi
  unshare --mount --net --pid --ipc --uts --fork mount --make-rprivate / 2> /dev/null && return
  echo "No root can be entered here: this container permits no namespaces with mounts." >&2
  return 1
}

command_boot() {
  local full=no
  [ "${1:-}" = --full ] && full=yes && shift
  boot_possible || exit 1
  need boot
  if ! boot_dist_is_new; then
    # shellcheck disable=SC1091
    . tests/commands/package.sh
    command_package --quick
  fi
  say "Packages in a Debian root and in a virtual machine"
  PURLIN_FULL=$full python3 -m pytest -q -x tests/boot "$@"
}
