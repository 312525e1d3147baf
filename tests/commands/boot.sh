# ./dev boot [--full]: the packages in dist/ in Debian roots, and in a virtual machine made from one. As root, on Debian. What is in dist/ is built
# anew when a source is newer. --full: every bad input, both releases of Debian, all that takes a machine long to do.

boot_dist_is_new() {
  [ -e dist/SHA256SUMS ] || return 1
  [ -z "$(git ls-files -z --cached --others --exclude-standard -- . ':!tests' ':!docs' | xargs -0 -I{} find {} -newer dist/SHA256SUMS 2> /dev/null | head -n 1)" ]
}

command_boot() {
  local full=no
  case "${1:-}" in
    --full) full=yes && shift ;;
  esac
  if [ "$(id -u)" != 0 ]; then
    echo "./dev boot makes roots and enters them: that takes root (sudo ./dev boot)." >&2
    exit 1
  fi
  need boot
  if ! boot_dist_is_new; then
    # shellcheck disable=SC1091
    . tests/commands/package.sh
    command_package --quick
  fi
  say "Packages in a Debian root and in a virtual machine"
  PURLIN_FULL=$full python3 -m pytest -q -x tests/boot "$@"
}
