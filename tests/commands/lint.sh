# ./dev lint: formatting, cppcheck, clang-tidy (and a build by clang), the SDK. Any finding, and a tool that is not there, is an
# error; all of them run before it ends.

FORMATTED_BY=14

lint_format() {
  # Each release of clang-format breaks some lines differently: one decides.
  if clang-format --version | grep -q "version $FORMATTED_BY\\."; then
    git ls-files -- '*.[ch]' | xargs clang-format --dry-run -Werror
  else
    echo "Left out: the tree is formatted by clang-format $FORMATTED_BY (Debian 12's); here is $(clang-format --version)"
  fi
}

lint_cppcheck() {
  git ls-files -- 'runtime/*.c' 'plugins/*.c' |
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
      --suppress=normalCheckLevelMaxBranches -j "$(nproc)" --file-list=- \
      --include=tests/commands/cppcheck.h -I runtime -I sdk/include -DPURLIN_VERSION='"0"' -D__x86_64__
}

# clang-tidy runs beside the compiler, so that the second time only what changed is checked; the checksum makes a change of the checks,
# or of the tool, a change of everything.
lint_tidy() {
  local checks
  checks=$({ clang-tidy --version; cat .clang-tidy; } | cksum | cut -d ' ' -f 1)
  CC=clang CXX=clang++ configure build-lint -DCMAKE_BUILD_TYPE=Debug -DPURLIN_TESTS=OFF \
    "-DCMAKE_C_CLANG_TIDY=clang-tidy;--quiet;--warnings-as-errors=*;--extra-arg=-DPURLIN_CHECKS=$checks"
  ninja -C build-lint -k 0 --quiet
}

lint_sdk() {
  [ -e build-lint/runtime/libpurlin.so ] || { echo "Not checked: the library could not be built." >&2; return 1; }
  python3 tests/exports.py build-lint/runtime/libpurlin.so sdk/include
}

command_lint() {
  local failed=""
  need build test lint
  say "clang-format"
  lint_format || failed+=" clang-format"
  say "cppcheck"
  lint_cppcheck || failed+=" cppcheck"
  say "clang-tidy"
  lint_tidy || failed+=" clang-tidy"
  say "The SDK: what is exported is declared, and described"
  lint_sdk || failed+=" SDK"
  if [ -n "$failed" ]; then
    say "Found something:$failed"
    return 1
  fi
  say "Nothing found"
}
