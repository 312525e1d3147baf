"""Roots and machines for the tests here. `./dev boot` builds dist/ first; `./dev boot --full` says PURLIN_FULL=yes."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import base  # noqa: E402
import job  # noqa: E402
import repository  # noqa: E402
import root as roots  # noqa: E402
from server import Server  # noqa: E402

FULL = os.environ.get("PURLIN_FULL") == "yes"
DIST = pathlib.Path(os.environ.get("PURLIN_DIST", repository.ROOT / "dist"))
FIGURES = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "full: only by ./dev boot --full")


def pytest_collection_modifyitems(items):
    for item in items:
        if "full" in item.keywords and not FULL:
            item.add_marker(pytest.mark.skip(reason="./dev boot --full"))


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.write_line("figures: " + json.dumps(FIGURES, indent=1))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the machines and roots of a test that failed have to say goes into its report."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if hasattr(value, "evidence"):
                report.sections.append((f"{name}", value.evidence()))


@pytest.fixture(scope="session")
def figure():
    """figure(name, value): a number for the summary."""
    return FIGURES.__setitem__


@pytest.fixture(scope="session")
def work():
    """A folder for roots and disks; gone in the end, whatever happens. $PURLIN_BOOT_WORK names one that stays, and with it the root in which
    all is installed, for who tries a test again and again."""
    if "PURLIN_BOOT_WORK" in os.environ:
        folder = pathlib.Path(os.environ["PURLIN_BOOT_WORK"])
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if not old.name.startswith("installed"):
                shutil.rmtree(old)
        yield folder
        return
    folder = pathlib.Path(tempfile.mkdtemp(prefix="purlin-boot-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def suite():
    """The Debian for which dist/ was built."""
    name = base.SUITES.get(repository.version(DIST).rpartition("~deb")[2])
    assert name, f"{DIST} holds {repository.version(DIST)}: for which Debian?"
    return name


@pytest.fixture(scope="session")
def tar(suite, figure):
    begun = time.monotonic()
    made = base.base(suite, DIST)
    figure("base_s", round(time.monotonic() - begun, 1))
    return made


@pytest.fixture(scope="session")
def previous(work):
    """The release before: packages in the folder $PURLIN_PREVIOUS, or those of dist under an older version."""
    if "PURLIN_PREVIOUS" in os.environ:
        return pathlib.Path(os.environ["PURLIN_PREVIOUS"])
    upstream, _, revision = repository.version(DIST).rpartition("-")
    # Older than every revision of this version, and not older than what our own packages ask of each other.
    return repository.rewrite(DIST, work / "previous", f"{upstream}-0+{revision.rpartition('~')[2]}")


@pytest.fixture(scope="session")
def following(work):
    """The packages of dist as a newer release, whose configuration has a line more."""
    def change(name, tree):
        conf = tree / "etc" / "purlin" / "purlin.lua"
        if name == "purlin":
            conf.write_text(conf.read_text() + "\n-- of the next release\n")

    return repository.rewrite(DIST, work / "following", "9.0.0-1~" + repository.version(DIST).rpartition("~")[2], change)


class Installed:
    """A root in which the previous release was installed, played the main job and was upgraded to dist. Nothing runs in it: copy it."""

    def __init__(self, tar, folder, previous, figure):
        self.root = roots.Root.unpack(tar, folder)
        with self.root as root:
            root.publish(previous)
            begun = time.monotonic()
            self.said = root.apt("install purlin").output
            figure("install_with_database_s", round(time.monotonic() - begun, 1))
            Server(root).start_database()
            self.set_up = root.run("purlin setup").output  # the command that the installation named
            with Server(root) as server:
                begun = time.monotonic()
                self.found = job.play(server.client())
                figure("main_job_s", round(time.monotonic() - begun, 1))
                root.publish(DIST)
                begun = time.monotonic()
                self.said_upgrade = root.apt("upgrade").output
                figure("upgrade_s", round(time.monotonic() - begun, 1))
                server.stop_daemon()
                server.launch()
                server.wait_ready()
                job.intact(server.client(), self.found)


    def save(self, path):
        path.write_text(json.dumps({"said": self.said, "set_up": self.set_up, "found": self.found, "said_upgrade": self.said_upgrade}))

    @classmethod
    def load(cls, folder, path):
        made = cls.__new__(cls)
        made.root = roots.Root(folder)
        vars(made).update(json.loads(path.read_text()))
        return made


@pytest.fixture(scope="session")
def installed(request, work, figure):
    folder, saved = work / "installed", work / "installed.json"
    if saved.exists():
        return Installed.load(folder, saved)
    shutil.rmtree(folder, ignore_errors=True)
    made = Installed(request.getfixturevalue("tar"), folder, request.getfixturevalue("previous"), figure)
    made.save(saved)
    return made
