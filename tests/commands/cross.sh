# ./dev cross [TEST ...]: builds for aarch64 beside the machine's own architecture, and runs the unit tests, or those of these names, under
# qemu-user. The libraries of arm64 are unpacked from the distribution into a folder of their own: nothing foreign is installed.

cross_packages() { # what is linked with, of arm64; compilers and tools are the machine's own
  local package
  for package in $(packages build) $(packages test); do
    case "$package" in lib*-dev | zlib1g-dev | node-llhttp) printf '%s,' "$package" ;; esac
  done
  printf 'libc6-dev,libstdc++-%s-dev' "$(aarch64-linux-gnu-g++ -dumpversion | cut -d. -f1)"
}

cross_sysroot() { # cross_sysroot FOLDER: is there afterwards, with today's list of packages
  local folder=$1 wanted link
  wanted=$(cross_packages)
  [ "$(cat "$folder.packages" 2> /dev/null)" = "$wanted" ] && return
  say "Fetching the libraries of arm64"
  rm -rf "$folder" "$folder.packages"
  mkdir -p "${folder%/*}"
  # shellcheck disable=SC1091
  mmdebstrap --quiet --mode=root --variant=extract --architectures=arm64 --include="$wanted" \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$folder"
  find "$folder" -type l -lname '/*' | while IFS= read -r link; do # they mean the folder's root, not the machine's
    ln -sfnr "$folder$(readlink "$link")" "$link"
  done
  echo "$wanted" > "$folder.packages"
}

# Programs start programs of their own, so the kernel must know how to run them.
cross_emulation() {
  local root=""
  [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] && return
  [ "$(id -u)" = 0 ] || root=sudo
  [ -e /proc/sys/fs/binfmt_misc/register ] || $root mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  $root update-binfmts --enable qemu-aarch64
}

command_cross() {
  local sysroot=${XDG_CACHE_HOME:-$HOME/.cache}/purlin/arm64 names=""
  [ $# -gt 0 ] && names="^($(IFS='|' && echo "$*"))\$"
  need build run test cross
  cross_sysroot "$sysroot"
  cross_emulation
  say "Building for aarch64"
  configure_and_build build-aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DPURLIN_SYSROOT="$sysroot"
  say "Unit tests under qemu-user"
  # Not test_process, whose children get no variable that they do not need, QEMU_LD_PREFIX neither; nor test_keyring: qemu takes no advice about
  # what belongs into a core dump.
  # Some wait as long as a real processor would need; one that is emulated and busy with other things may need the second run.
  QEMU_LD_PREFIX=$sysroot ctest --test-dir build-aarch64 --output-on-failure --timeout 900 --repeat until-pass:2 ${names:+-R "$names"} -E '^(test_process|test_keyring|headers)$'
}
