# ./dev fuzz [SECONDS]: each fuzzer for some seconds, under AddressSanitizer and UBSan; a finding is an error and its input is kept.

command_fuzz() {
  local seconds=${1:-30} fuzzer folder=build-fuzz
  need build test lint fuzz
  CC=clang CXX=clang++ configure_and_build "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPURLIN_SANITIZE=address,undefined,fuzzer-no-link -DPURLIN_TESTS=ON
  ninja -C "$folder" --quiet fuzz
  for fuzzer in "$folder"/tests/fuzz_*; do
    [ -x "$fuzzer" ] || continue
    say "$(basename "$fuzzer") for $seconds seconds"
    mkdir -p "$folder/corpus/$(basename "$fuzzer")"
    "$fuzzer" -max_total_time="$seconds" -artifact_prefix="$folder/" "$folder/corpus/$(basename "$fuzzer")" 2>&1 | tail -n 3
  done
}
