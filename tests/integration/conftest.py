import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import daemon  # noqa: E402


@pytest.fixture(scope="session")
def scratch():
    """A folder with a short name: a Unix socket's address holds 107 bytes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="purlin-it-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(scratch):
    """The state directory of a daemon that was started once and stopped."""
    assert daemon.PURLIND.exists(), f"{daemon.PURLIND} is not there: build first, or set PURLIN_BUILD"
    first = daemon.Daemon(scratch / "template")
    try:
        first.start().stop()
    finally:
        first.end()
    return first.state


@pytest.fixture(scope="session")
def server(scratch, template):
    """The daemon that tests share. No test may break it for the others."""
    folder = scratch / "shared"
    folder.mkdir()
    daemon.copy_state(template, folder)
    shared = daemon.Daemon(folder).start()
    try:
        yield shared
        shared.stop()
    finally:
        shared.end()


@pytest.fixture
def client(server):
    made = server.client()
    yield made
    made.close()


@pytest.fixture
def new_daemon(scratch, template):
    """A function that makes daemons of this test's own; they end with it."""
    made = []

    def make(start=True, **options):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="d", dir=scratch))
        if options.pop("with_state", True):
            daemon.copy_state(template, folder)
        made.append(daemon.Daemon(folder, **options))
        return made[-1].start() if start else made[-1]

    yield make
    for one in made:
        one.end()
        shutil.rmtree(one.folder, ignore_errors=True)


@pytest.fixture
def own_server(new_daemon):
    """A daemon that this test may kill."""
    return new_daemon()


@pytest.fixture
def full_disk(scratch):
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="full", dir=scratch))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
