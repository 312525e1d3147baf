# ./dev package [--rpm] [--suite NAME] [--quick] [--revision N] [--reproducible]: the packages of this distribution, into dist/, with what lintian says
# of them, an SBOM and checksums. They are built from what git knows of and what is new, in build-package/, which is emptied first.
#
#   --rpm           rpms instead, as on Fedora, into dist/rpm/: tests/commands/package-rpm.sh
#   --suite NAME    of a release of Debian, bookworm or trixie, in a root of it, into dist/NAME/: tests/commands/package-suite.sh
#   --quick         packs the objects of build/, without debug symbols and a source package: for tests
#   --revision N    the N of 0.1.0-N
#   --reproducible  builds a second time, elsewhere, in another language, zone and umask, and compares
#
# PURLIN_SIGNING_KEY names a key of gpg: then SHA256SUMS is signed.

# Where packages are built: here, or in the root of --suite.
inside() {
  if [ -z "$SUITE_ROOT" ]; then "$@"; else suite_run "$SUITE_ROOT" "$@"; fi
}

package_version() { sed -n 's/^project(purlin VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt; }

# The moment of the sources, of which every date in a package is made.
package_epoch() { git log -1 --format=%ct 2> /dev/null || stat -c %Y CHANGELOG.md; }

# What belongs to the sources, each name ended by a zero byte.
package_sources() {
  local name
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' name; do
    if [ -e "$name" ]; then printf '%s\0' "$name"; fi
  done
}

# debian/changelog: the newest section of CHANGELOG.md.
package_changelog() { # package_changelog VERSION
  echo "purlin ($1) unstable; urgency=medium"
  echo
  awk '/^## /{n++} n==1 && !/^## /' CHANGELOG.md | awk '
    function done() { if (text != "") print text; text = "" }
    /^- /   { done(); text = "* " substr($0, 3); next }
    /^  /   { text = text " " substr($0, 3); next }
    /[^ ]/  { done(); text = "* " $0 }
    END     { done() }' | fold -s -w 74 | sed -e 's/ *$//' -e '/^\*/s/^/  /' -e '/^  \*/!s/^/    /'
  echo
  echo " -- $(sed -n 's/^Maintainer: //p' packaging/debian/control)  $(LC_ALL=C date -u -R -d "@$(package_epoch)")"
}

# The sources of a package as dpkg-buildpackage wants them: FOLDER/purlin-VERSION beside their archive.
package_stage() { # package_stage FOLDER REVISION
  local version source
  version=$(package_version)
  source=purlin-$version
  rm -rf "$1"
  mkdir -p "$1"
  package_sources | tar --create --null --files-from=- --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(package_epoch)" \
    --mode=go=rX,u+rw --transform="s,^,$source/,S" | gzip -n > "$1/purlin_$version.orig.tar.gz"
  tar -x -f "$1/purlin_$version.orig.tar.gz" -C "$1"
  cp -r packaging/debian "$1/$source/debian"
  package_changelog "$version-$2~deb$(. "$SUITE_ROOT/etc/os-release" && echo "${VERSION_ID%%.*}")" > "$1/$source/debian/changelog"
  chmod -R u=rwX,go=rX "$1/$source/debian"
}

package_build() { # package_build FOLDER [OPTION OF dpkg-buildpackage ...]
  local folder=$1
  shift
  (cd "$folder/purlin-$(package_version)" && inside dpkg-buildpackage -us -uc "$@") > "$folder/log" 2>&1 && return
  tail -n 30 "$folder/log" | cut -c 1-200 >&2
  echo "The packages were not built: see $folder/log" >&2
  return 1
}

# Whether a second build is the same, byte for byte: another folder, language, zone, umask, hour, number of jobs, and no ccache.
package_compare() { # package_compare FOLDER REVISION
  local other name same=yes
  other=$(mktemp -d "${TMPDIR:-/tmp}/purlin-package-XXXXXX")/elsewhere
  (
    umask 027
    export LC_ALL=C.UTF-8 LANGUAGE=de TZ=Asia/Kolkata CCACHE_DISABLE=1
    package_stage "$other" "$2"
    package_build "$other" --jobs=3
  ) || return 1
  while IFS= read -r name; do
    cmp -s "$name" "$other/${name##*/}" && continue
    same=no
    echo "Differs: ${name##*/}" >&2
    if command -v diffoscope > /dev/null; then diffoscope "$name" "$other/${name##*/}" || true; fi
  done < <(find "$1" -maxdepth 1 \( -name '*.deb' -o -name '*.tar.*' -o -name '*.dsc' \))
  if [ "$same" = no ]; then
    echo "The second build is in $other" >&2
    return 1
  fi
  rm -rf "${other%/elsewhere}"
  echo "Built twice, the same both times"
}

package_collect() { # package_collect FOLDER TARGET: what was built, with checksums and the SBOM
  local version files build
  version=$(package_version)
  build=$(compgen -G "$1/purlin-$version/obj-*" || echo build)
  mkdir -p "$2"
  find "$2" -maxdepth 1 -type f -delete
  find "$1" -maxdepth 1 -type f ! -name log -exec cp -t "$2" {} +
  inside python3 packaging/sbom.py "$1/purlin-$version" "$build" "$(package_epoch)" > "$2/purlin_$version.cdx.json"
  (
    cd "$2"
    files=(*.*)
    sha256sum -- "${files[@]}" > SHA256SUMS
    if [ -n "${PURLIN_SIGNING_KEY:-}" ]; then gpg --batch --yes --armor --detach-sign --local-user "$PURLIN_SIGNING_KEY" SHA256SUMS; fi
    ls -s --block-size=K -1 -- *.*
  )
}

command_package() {
  local revision=1 quick=no reproducible=no rpm=no suite="" SUITE_ROOT="" folder=build-package target=dist
  case " $(family) " in *fedora*) rpm=yes ;; esac
  while [ $# -gt 0 ]; do
    case "$1" in
      --rpm) rpm=yes ;;
      --suite) suite=${2:?--suite wants bookworm or trixie} && shift ;;
      --quick) quick=yes ;;
      --reproducible) reproducible=yes ;;
      --revision) revision=${2:?--revision wants a number} && shift ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  if [ "$rpm" = yes ]; then
    [ -z "$suite" ] || { echo "--suite is for Debian's packages, not for rpms" >&2; exit 2; }
    # shellcheck disable=SC1091
    . tests/commands/package-rpm.sh
    package_as_rpm "$revision" "$quick"
    return
  fi
  if [ -n "$suite" ]; then
    # shellcheck disable=SC1091
    . tests/commands/package-suite.sh
    suite_enter "$suite"
    folder=build-package-$suite target=dist/$suite
  else
    need build package
  fi
  say "Building the packages"
  package_stage "$folder" "$revision"
  if [ "$quick" = yes ] && [ -z "$suite" ]; then
    build ON
    BUILT=$PWD/build DEB_BUILD_OPTIONS=noautodbgsym package_build "$folder" -b
  else
    inside sh -c 'command -v ccache' > /dev/null && export CMAKE_C_COMPILER_LAUNCHER=ccache
    if [ "$quick" = yes ]; then DEB_BUILD_OPTIONS=noautodbgsym package_build "$folder" -b; else package_build "$folder"; fi
  fi
  say "lintian"
  inside lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$folder"/*.changes
  if [ "$reproducible" = yes ]; then
    say "Building them again, elsewhere"
    package_compare "$folder" "$revision"
  fi
  say "In $target/"
  package_collect "$folder" "$target"
}
