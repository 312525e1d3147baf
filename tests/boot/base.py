"""Debian as it is after its installer, as a tar that is made once: ~/.cache/purlin/roots/SUITE-*.tar ($PURLIN_TEST_CACHE).

It holds what a small server has (systemd, no database), and in apt's own cache the packages that Purlin will want, so that apt installs
them without a network. Beside it, in /var/cache/boot, a kernel and a shell for tests that boot."""
import hashlib
import os
import pathlib
import subprocess
import time

import repository

CACHE = pathlib.Path(os.environ.get("PURLIN_TEST_CACHE", pathlib.Path.home() / ".cache" / "purlin")) / "roots"
MIRROR = os.environ.get("PURLIN_DEBIAN_MIRROR", "http://deb.debian.org")
SUITES = {"12": "bookworm", "13": "trixie"}
MAX_AGE_S = 14 * 86400  # then the mirror has other packages

INCLUDED = ["systemd-sysv", "dbus", "udev", "kmod", "iproute2", "procps", "ca-certificates", "curl", "less"]
# Installed by some test, from apt's cache.
LATER = ["mariadb-server", "libfaketime"]

DOWNLOAD = """set -e
unset APT_CONFIG
chroot "$1" apt-get install --yes --download-only --quiet -o APT::Install-Recommends=true {later}
mkdir -p "$1/var/cache/boot"
kernel=$(chroot "$1" apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {{ print $2; exit }}')
cd "$1/var/cache/boot" && chroot "$1" sh -c "cd /var/cache/boot && apt-get -o APT::Sandbox::User=root download --quiet $kernel busybox-static"
"""


def own_suite():
    """The Debian that this machine runs: packages that were built here fit it."""
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_ID="):
            return SUITES.get(line.split("=")[1].strip('"'))
    return None


def sources(suite):
    return [f"deb {MIRROR}/debian {suite} main", f"deb {MIRROR}/debian {suite}-updates main",
            f"deb {MIRROR}/debian-security {suite}-security main"]


def base(suite, dist=None):
    """The tar of this suite, with what the packages of dist want in apt's cache."""
    later = sorted({*LATER, *(repository.wanted(dist) if dist else [])})
    recipe = hashlib.sha256("\n".join([suite, MIRROR, DOWNLOAD, *INCLUDED]).encode()).hexdigest()[:12]
    tar, holds = CACHE / f"{suite}-{recipe}.tar", CACHE / f"{suite}-{recipe}.list"
    if tar.exists() and time.time() - tar.stat().st_mtime < MAX_AGE_S and set(later) <= set(holds.read_text().split()):
        return tar
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob("*.tar"):
        if time.time() - old.stat().st_mtime > MAX_AGE_S:
            old.unlink(missing_ok=True)
    partial = tar.with_suffix(f".{os.getpid()}.tar")
    log = CACHE / f"{suite}.log"
    with open(log, "wb") as output:
        done = subprocess.run(
            ["mmdebstrap", "--mode=root", "--variant=minbase", "--include=" + ",".join(INCLUDED), "--dpkgopt=force-unsafe-io",
             "--skip=cleanup/apt", "--customize-hook=" + DOWNLOAD.format(later=" ".join(later)), suite, str(partial), *sources(suite)],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    if done.returncode:
        partial.unlink(missing_ok=True)
        raise RuntimeError(f"mmdebstrap ended with {done.returncode}: {log.read_text(errors='replace')[-3000:]}")
    # Whoever finds a name finds all of it.
    holds.with_suffix(".new").write_text("\n".join(later))
    holds.with_suffix(".new").rename(holds)
    partial.rename(tar)
    return tar
