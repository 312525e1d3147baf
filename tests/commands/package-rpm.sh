# ./dev package --rpm: the rpms for Fedora and RHEL, into dist/rpm/; tests/commands/package.sh calls this. On Debian, too, where rpmbuild does not
# know Fedora's names of what a build needs: there they are not asked for. rpmlint looks at them, and they are installed into a scratch root.

package_rpm() { # package_rpm REVISION [BUILD TREE THAT IS PACKED AS IT IS]
  local version top=$PWD/build-rpm/rpm options
  version=$(package_version)
  if [ "$(sed -n 's/^Version: *//p' packaging/rpm/purlin.spec)" != "$version" ]; then
    echo "packaging/rpm/purlin.spec is not of version $version, as CMakeLists.txt is" >&2
    return 1
  fi
  options=(--define "_topdir $top" --define "_sourcedir $PWD/build-rpm" --define "purlin_release $1" --define "_buildhost purlin"
    --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1")
  if [ -n "${2:-}" ]; then
    options+=(--define "built $2" --define "_libdir $(rpm_library_folder "$2")" --define "_unitdir $(pkg-config --variable=systemdsystemunitdir systemd)")
  fi
  # dash, which runs the script that compresses manual pages there, does not know all of it. Libraries may be executed, as on Fedora.
  case " $(family) " in
    *debian*) options+=(--nodeps --define "__brp_compress /bin/bash /usr/lib/rpm/brp-compress" --define "__brp_elfperms %{nil}") ;;
  esac
  rm -rf "$top"
  mkdir -p "$top"
  export SOURCE_DATE_EPOCH
  SOURCE_DATE_EPOCH=$(package_epoch)
  rpmbuild -bb "${options[@]}" packaging/rpm/purlin.spec > "$top/log" 2>&1 || {
    tail -n 30 "$top/log" | cut -c 1-200 >&2
    echo "The packages were not built: see $top/log" >&2
    return 1
  }
  # find-debuginfo goes on when it cannot do its work, and what it would have kept is stripped away.
  if [ -z "${2:-}" ] && ! rpm --query --list --package "$top"/RPMS/*/purlin-debuginfo-*.rpm | grep '/usr/sbin/purlind.*\.debug$' > /dev/null; then
    echo "There is no debug information: see find-debuginfo in $top/log" >&2
    return 1
  fi
  say "rpmlint"
  rpmlint --config packaging/rpm/rpmlint.toml packaging/rpm/purlin.spec "$top"/RPMS/*/*.rpm
  if [ "$(id -u)" = 0 ]; then
    say "Installed into a scratch root, and removed again"
    python3 packaging/rpm/check.py "$top"/RPMS/*/*.rpm
  else
    echo "Not installed into a scratch root: that takes root" >&2
  fi
}

# The folder of libraries that a build tree is configured for.
rpm_library_folder() { # rpm_library_folder FOLDER
  local name value=""
  for name in CMAKE_INSTALL_PREFIX CMAKE_INSTALL_LIBDIR; do value=$value/$(sed -n "s/^$name:[A-Z]*=//p" "$1/CMakeCache.txt"); done
  echo "${value#/}"
}

package_as_rpm() { # package_as_rpm REVISION QUICK
  need build rpm
  say "Building the packages"
  package_stage build-rpm "$1"
  if [ "$2" = yes ]; then
    build ON
    package_rpm "$1" "$PWD/build"
  else
    command -v ccache > /dev/null && export CMAKE_C_COMPILER_LAUNCHER=ccache
    package_rpm "$1"
  fi
  say "In dist/rpm/"
  rm -rf dist/rpm
  mkdir -p dist/rpm
  cp build-rpm/rpm/RPMS/*/*.rpm dist/rpm/
  (cd dist/rpm && sha256sum -- *.rpm > SHA256SUMS && ls -s --block-size=K -1)
}
