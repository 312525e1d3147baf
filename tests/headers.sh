#!/usr/bin/env bash
# headers.sh FOLDER: each header below FOLDER/purlin compiles alone, as C11 and as C++17, without a warning, by gcc and by clang (by the
# one of them that is there). Each is included twice, for its guard.
set -euo pipefail
cd "$1"

readarray -t compilers < <(for name in gcc clang; do command -v "$name" || true; done)
readarray -t headers < <(find purlin -name '*.h' | sort)
if [ "${#compilers[@]}" = 0 ] || [ "${#headers[@]}" = 0 ]; then
  echo "Nothing to do: compilers: ${compilers[*]}; headers in $1: ${headers[*]}" >&2
  exit 1
fi

failed=0
for header in "${headers[@]}"; do
  for compiler in "${compilers[@]}"; do
    for language in "c -std=c11 -Wstrict-prototypes" "c++ -std=c++17"; do
      # shellcheck disable=SC2086
      printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
        "$compiler" -x $language -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wconversion -Werror -fsyntax-only -I . - ||
        { echo "$header: not by $compiler -x $language" >&2; failed=1; }
    done
  done
done
echo "${#headers[@]} headers, by ${compilers[*]}"
exit "$failed"
