"""A Debian root in a folder, and commands in it: namespaces of its own, so that its processes end with it and its ports are its own."""
import ctypes
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import repository

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb",
               "DEBIAN_FRONTEND": "noninteractive"}
REPOSITORY = "/srv/purlin"  # where a root finds the packages under test
CLONE_NEWNET = 0x40000000

# The first process of a root: mounts, then waits and buries who was left to it.
FIRST = r"""set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys" 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mkdir "$1/run/lock" "$1/run/mysqld" && chmod 1777 "$1/run/lock" && rmdir "$1/run/mysqld"
mkdir -p "$1/dev/pts" "$1/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$1/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
exec chroot "$1" /bin/bash -c 'trap "exit 0" TERM; echo ready; while :; do sleep 3600 & wait; done'
"""


class Done:
    """How a command ended, and all that it printed."""

    def __init__(self, command, code, output):
        self.command, self.code, self.output = command, code, output

    def __repr__(self):
        return f"`{self.command}` ended with {self.code}:\n{self.output[-6000:]}"


class Root:
    """A folder with Debian in it. `with Root.unpack(tar, folder) as root: root.run("apt-get ...")`"""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.keeper = None

    @classmethod
    def unpack(cls, tar, folder):
        pathlib.Path(folder).mkdir(parents=True)
        subprocess.run(["tar", "--extract", "--file", tar, "--directory", folder, "--numeric-owner", "--xattrs", "--xattrs-include=*"], check=True)
        root = cls(folder)
        root.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)  # no init here: nothing starts by itself
        root.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        return root

    def copy(self, folder):
        """The same once more. Nothing may be running in it."""
        assert not self.keeper
        subprocess.run(["cp", "--archive", "--reflink=auto", self.folder, folder], check=True)
        return Root(folder)

    def path(self, inside):
        return self.folder / inside.lstrip("/")

    def write(self, inside, text, mode=0o644):
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text)
        self.path(inside).chmod(mode)

    def read(self, inside):
        return self.path(inside).read_text()

    # ---- Life ----

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.close()

    def open(self):
        outer = subprocess.Popen(["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
                                  "sh", "-c", FIRST, "first", str(self.folder)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        if outer.stdout.readline() != "ready\n":
            outer.kill()
            raise RuntimeError(f"this machine lets nobody enter a root (mount namespaces): {outer.communicate()[1]}")
        self.keeper = outer
        children = pathlib.Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        self.first = int(children[0])
        self.inside(raise_loopback)
        return self

    def close(self):
        if self.keeper:
            os.kill(self.first, signal.SIGKILL)  # with it all others of its namespace
            self.keeper.wait(10)
            self.keeper.stdout.close()
            self.keeper.stderr.close()
            self.keeper = None

    def remove(self):
        self.close()
        shutil.rmtree(self.folder)

    # ---- Commands ----

    def arguments(self, command, user=None):
        """How a process outside starts this shell command inside."""
        entered = ["nsenter", f"--target={self.first}", "--mount", "--net", "--pid", "--ipc", "--uts", "--root", "--wd"]
        if user:
            return [*entered, "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "bash", "-c", command]
        return [*entered, "bash", "-c", command]

    def run(self, command, check=True, seconds=600, user=None, environment=None):
        """A command as root, or another user; what it printed, both streams together."""
        done = subprocess.run(self.arguments(command, user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**ENVIRONMENT, **(environment or {})}, timeout=seconds)
        result = Done(command, done.returncode, done.stdout.decode(errors="replace"))
        assert not check or result.code == 0, result
        return result

    def start(self, command, log, user=None, environment=None):
        """A process that goes on, in the root's namespaces; its output goes to a file inside."""
        with open(self.path(log), "ab") as output:
            return subprocess.Popen(self.arguments(f"exec {command}", user), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                    env={**ENVIRONMENT, **(environment or {})})

    def connect(self, port, seconds=30):
        """A connection to a port of the root's own loopback."""
        return self.inside(lambda: socket.create_connection(("127.0.0.1", port), seconds))

    def inside(self, action):
        """Calls action in the root's network: a socket stays in the one in which it was made. A thread of its own enters it and ends."""
        result = []

        def enter():
            try:
                with open(f"/proc/{self.first}/ns/net") as network:
                    if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                result.append((action(), None))
            except Exception as error:
                result.append((None, error))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        value, error = result[0]
        if error:
            raise error
        return value

    # ---- Packages ----

    def publish(self, dist):
        """The packages of a folder become the root's own repository; those that are there already stay."""
        repository.publish(dist, self.path(REPOSITORY))
        self.write("/etc/apt/sources.list.d/purlin.list", f"deb [trusted=yes] file:{REPOSITORY} ./\n")
        return self.apt("update -o Dir::Etc::sourcelist=sources.list.d/purlin.list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0")

    def apt(self, arguments, check=True, environment=None):
        return self.run(f"apt-get --yes --quiet {arguments}", check, environment=environment)

    def state(self, package):
        """What dpkg says of a package, such as 'install ok installed'; nothing, where it knows none."""
        done = self.run(f"dpkg-query -W -f '${{Status}}' {package}", check=False)
        return done.output if done.code == 0 else ""


def raise_loopback():
    """`ip link set lo up`, which needs no program."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(sock, 0x8914, request)  # SIOCSIFFLAGS


def wait_until(condition, seconds, what):
    """Waits for a true value. `what` is a text or a function of none, for the failure."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"after {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.05)
