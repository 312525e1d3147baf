# ./dev package [--revision N]: the packages of this distribution, into dist/. Built from what git knows of and what is new, in build-package/,
# which is emptied first; compilers are asked only for what ccache does not know.

package_version() { sed -n 's/^project(purlin VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt; }

# The moment of the sources, of which every date in a package is made.
package_epoch() { git log -1 --format=%ct 2> /dev/null || stat -c %Y CHANGELOG.md; }

# What belongs to the sources, each name ended by a zero byte.
package_sources() {
  local name
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' name; do
    [ -e "$name" ] && printf '%s\0' "$name"
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

package_deb() { # package_deb REVISION
  local version folder
  version=$(package_version)
  folder=build-package/purlin-$version
  rm -rf build-package
  mkdir -p "$folder"
  package_sources | tar --create --null --files-from=- --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(package_epoch)" \
    --mode=go=rX,u+rw --transform="s,^,purlin-$version/,S" | gzip -n > "build-package/purlin_$version.orig.tar.gz"
  tar -x -f "build-package/purlin_$version.orig.tar.gz" -C build-package
  cp -r packaging/debian "$folder/debian"
  package_changelog "$version-$1~deb$(. /etc/os-release && echo "${VERSION_ID%%.*}")" > "$folder/debian/changelog"
  command -v ccache > /dev/null && export CMAKE_C_COMPILER_LAUNCHER=ccache
  (cd "$folder" && dpkg-buildpackage -us -uc) > build-package/log 2>&1 || {
    tail -n 30 build-package/log | cut -c 1-200 >&2
    echo "The package was not built: see build-package/log" >&2
    return 1
  }
}

command_package() {
  local revision=1
  while [ $# -gt 0 ]; do
    case "$1" in
      --revision) revision=${2:?} && shift ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  need build package
  say "Building the packages"
  package_deb "$revision"
  rm -rf dist
  mkdir dist
  find build-package -maxdepth 1 -type f ! -name log -exec cp -t dist {} +
  (cd dist && sha256sum -- * > SHA256SUMS)
  say "In dist/"
  (cd dist && ls -s --block-size=K -1 -- *)
}
