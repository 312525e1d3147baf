# ./dev test: unit tests under AddressSanitizer and UBSan, the concurrent ones under ThreadSanitizer, then the real daemon, by itself and with MLflow's clients.

# Parts that several threads enter at once.
CONCURRENT='^test_(rate|loop|context|fiber|metrics|log|client|http_.*|jobs|process)$'

run_ctest() { # run_ctest FOLDER [CTEST OPTION ...]
  local folder=$1
  shift
  ctest --test-dir "$folder" --output-on-failure --timeout 300 "$@"
}

# What is built here anyway, packed and looked at; or, in full, the packages as they are given away, built twice and compared.
test_packages() { # test_packages FULL
  case " $(family) " in
    *debian*) ;;
    *) return 0 ;;
  esac
  # shellcheck disable=SC1091
  . tests/commands/package.sh
  # shellcheck disable=SC1091
  . tests/commands/boot.sh
  local quick=--quick
  [ "$1" = yes ] && quick=
  command_package ${quick:---reproducible}
  if boot_possible; then boot_smoke "$1"; else echo "So the packages are tried neither in a root nor in a machine." >&2; fi
  command_package --rpm $quick
}

command_test() {
  local full=no version
  [ "${1:-}" = --full ] && full=yes
  need build run test rpm
  # Beside the compilers, which use the network less: tests/clients/run.py waits for them.
  for version in 2 3; do nice tests/clients/install.sh "$version" > /dev/null 2>&1 & done
  say "Unit tests under AddressSanitizer and UndefinedBehaviorSanitizer"
  configure_and_build build-asan -DCMAKE_BUILD_TYPE=Debug -DPURLIN_SANITIZE=address,undefined -DPURLIN_TESTS=ON
  ASAN_OPTIONS=detect_stack_use_after_return=0 run_ctest build-asan
  say "Concurrent parts under ThreadSanitizer"
  configure_and_build build-tsan -DCMAKE_BUILD_TYPE=Debug -DPURLIN_SANITIZE=thread -DPURLIN_TESTS=ON
  run_ctest build-tsan -R "$CONCURRENT"
  if compgen -G 'tests/integration/test_*.py' > /dev/null; then
    say "The OpenID provider that some of them ask, from npm"
    tests/integration/oidc/install.sh
    say "Integration and fault tests on the real daemon"
    build ON
    PURLIN_FULL=$full python3 -m pytest -q -x tests/integration
    say "The official MLflow clients, of 2.x and 3.x, on the real daemon"
    local more=()
    [ "$full" = yes ] && more=(--full)
    tests/clients/run.py "${more[@]}"
  fi
  test_packages "$full"
}
