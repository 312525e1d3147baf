# ./dev lint: formatting, clang-tidy, cppcheck; any finding is an error.

command_lint() {
  need build test lint
  configure_and_build build -DPURLIN_TESTS=ON
  say "clang-format"
  git ls-files -- '*.[ch]' | xargs clang-format --dry-run -Werror
  say "cppcheck"
  git ls-files -- 'runtime/*.c' 'plugins/*.c' | xargs cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr \
    --error-exitcode=1 --suppressions-list=tests/commands/cppcheck.txt -j 2 -I runtime -I sdk/include -DPURLIN_VERSION='"0"'
  say "clang-tidy"
  git ls-files -- 'runtime/*.c' 'plugins/*.c' | xargs -P 2 -n 8 clang-tidy -p build --quiet --warnings-as-errors='*' 2>/dev/null
}
