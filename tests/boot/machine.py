"""A virtual machine made from a root: systemd as its first process, a disk that survives a power cut, a shell on a port of its own.

KVM where it works here, else emulation, in which everything takes five to ten times as long."""
import base64
import lzma
import os
import pathlib
import re
import socket
import subprocess
import threading
import time
import uuid

import job
import root as roots

SLOWNESS = 8  # of limits; emulated machines need it, and who has KVM does not wait so long
MODULES = ["virtio_pci", "virtio_blk", "ext4"]  # what it takes to find the disk

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module; done
for i in $(/bin/busybox seq 3000); do [ -b /dev/vda ] && break; /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root || exit 1
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /lib/systemd/systemd
"""

# Answers each line, a command in base64, by its exit code and its output in base64.
AGENT = r"""#!/bin/bash
until ip link set eth0 up; do sleep 0.2; done # udev may still be at it
ip address add 10.0.2.15/24 dev eth0
exec 3<> /dev/virtio-ports/control
echo ready >&3
while read -r line <&3; do
  code=0
  echo "$line" | base64 --decode > /run/agent.command
  bash /run/agent.command < /dev/null > /run/agent.output 2>&1 3>&- || code=$?
  { printf '%s ' "$code"; base64 --wrap=0 /run/agent.output; echo; } >&3
done
"""

AGENT_UNIT = """[Unit]
Description=Shell for the tests
DefaultDependencies=no
After=dev-virtio\\x2dports-control.device systemd-udevd.service
Wants=dev-virtio\\x2dports-control.device
[Service]
ExecStart=/usr/local/sbin/test-agent
Environment=HOME=/root LANG=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive
Restart=always
KillMode=process
OOMScoreAdjust=-1000
[Install]
WantedBy=sysinit.target
"""

# The daemon listens on the machine's own loopback, as it is shipped; this leads there from outside.
DOOR_UNIT = """[Unit]
Description=Way to the daemon for the tests
[Service]
ExecStart=/lib/systemd/systemd-socket-proxyd --connections-max=2000 127.0.0.1:8080
"""
DOOR_SOCKET = """[Socket]
ListenStream=18080
BindIPv6Only=both
[Install]
WantedBy=sockets.target
"""

# A host that is busy keeps a machine from turning for longer than the watchdog of 30 s waits: only the test of it has the shipped one.
PATIENCE = "/etc/systemd/system/purlin.service.d/patience.conf"


# ---- Making one ------------------------------------------------------------------------------------------------------

def archive(files):
    """An initial file system: a cpio archive of {path: (mode, bytes)}, folders first."""
    parts = []
    for number, (name, (mode, content)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        path = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0]
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + path
        parts += [header, b"\0" * (-len(header) % 4), content, b"\0" * (-len(content) % 4)]
    return b"".join(parts)


def unpacked(deb, folder):
    subprocess.run(["dpkg-deb", "--extract", deb, folder], check=True)


def busybox_of(work):
    return next(work.glob("busybox/**/bin/busybox")).read_bytes()


def kernel_of(root, work):
    """Puts the kernel's modules into the root; returns the kernel's file and an initial file system that finds the disk."""
    store = root.path("/var/cache/boot")
    unpacked(next(store.glob("linux-image-*.deb")), work / "kernel")
    unpacked(next(store.glob("busybox-static_*.deb")), work / "busybox")
    kernel = next((work / "kernel" / "boot").glob("vmlinuz-*"))
    release = kernel.name.removeprefix("vmlinuz-")
    modules = next((work / "kernel").glob(f"**/lib/modules/{release}"))
    target = root.folder / "usr" / "lib" / "modules" / release
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", modules, target], check=True)
    subprocess.run(["chroot", root.folder, "/sbin/depmod", release], check=True)
    needed = {}
    order = {line.split(":")[0]: line.split(":")[1].split() for line in (target / "modules.dep").read_text().splitlines()}

    def take(path):
        for dependency in order[path]:
            take(dependency)
        needed[path] = True

    for path in order:
        if re.sub(r"\.ko(\.xz)?$", "", path.rsplit("/", 1)[-1]).replace("-", "_") in MODULES:
            take(path)
    files = {name: (0o40755, b"") for name in ("bin", "dev", "proc", "root", "modules")}
    files["bin/busybox"] = (0o100755, busybox_of(work))
    names = []
    for path in needed:
        content = (target / path).read_bytes()
        name = path.rsplit("/", 1)[-1].removesuffix(".xz")
        files[f"modules/{name}"] = (0o100644, lzma.decompress(content) if path.endswith(".xz") else content)
        names.append(name)
    files["init"] = (0o100755, INIT.format(modules=" ".join(names)).encode())
    initial = work / "initial.cpio"
    initial.write_bytes(archive(files))
    return kernel, initial


def prepare(root):
    """What a root needs to be a machine: a name, an agent, nothing that waits for what is not there."""
    root.path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
    root.write("/etc/hostname", "purlin\n")
    root.write("/etc/hosts", "127.0.0.1 localhost purlin\n::1 localhost\n")
    # Known from the start: the first boot of an installed machine is not what is tested.
    root.write("/etc/machine-id", uuid.uuid4().hex + "\n")
    root.write("/etc/fstab", "/dev/vda / ext4 defaults 0 1\n")
    root.write("/usr/local/sbin/test-agent", AGENT, 0o755)
    root.write("/etc/systemd/system/test-agent.service", AGENT_UNIT)
    root.write("/etc/systemd/system/test-door.service", DOOR_UNIT)
    root.write("/etc/systemd/system/test-door.socket", DOOR_SOCKET)
    root.write(PATIENCE, "[Service]\nWatchdogSec=10min\n")
    wants = {"sysinit.target.wants/test-agent.service": "test-agent.service", "sockets.target.wants/test-door.socket": "test-door.socket"}
    for link, target in wants.items():
        path = root.path(f"/etc/systemd/system/{link}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(f"/etc/systemd/system/{target}")
    root.path("/etc/systemd/journald.conf.d").mkdir(parents=True, exist_ok=True)
    # Kept over a power cut, and nothing of it is dropped.
    root.write("/etc/systemd/journald.conf.d/test.conf", "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nForwardToConsole=no\n")
    for stamp in ("/etc/.updated", "/var/.updated"):
        root.write(stamp, "")
    for name in ("getty@tty1.service", "serial-getty@ttyS0.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer",
                 "e2scrub_reap.service"):
        path = root.path(f"/etc/systemd/system/{name}")
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/null")


PROBE = b"#!/bin/busybox sh\n/bin/busybox poweroff -f\n"


def acceleration(kernel, work):
    """The options of QEMU for KVM if a kernel starts with it, which a /dev/kvm within a virtual machine does not promise; else for emulation."""
    emulated = ["-machine", "q35,accel=tcg", "-cpu", "Nehalem"]
    native = ["-machine", "q35,accel=kvm", "-cpu", "host"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return emulated
    initial = work / "probe.cpio"
    initial.write_bytes(archive({"bin": (0o40755, b""), "bin/busybox": (0o100755, busybox_of(work)), "init": (0o100755, PROBE)}))
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *native, "-m", "256",
               "-kernel", kernel, "-initrd", initial, "-append", "quiet panic=-1"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)
        return native if done.returncode == 0 else emulated
    except subprocess.TimeoutExpired:
        return emulated


class Image:
    """The disk of a machine that was never started, and its kernel; machines are started from copies."""

    def __init__(self, root, work, megabytes=4096):
        work = pathlib.Path(work)
        work.mkdir(parents=True)
        prepare(root)
        self.kernel, self.initial = kernel_of(root, work)
        self.acceleration = acceleration(self.kernel, work)
        self.disk = work / "disk.raw"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1", "-d", root.folder, self.disk, f"{megabytes}M"], check=True,
                       stdout=subprocess.DEVNULL)


# ---- Running one -------------------------------------------------------------------------------------------------------

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class NoShell(AssertionError):
    """A machine that did not come up in time."""


class Machine:
    """A machine that runs, or was cut off; `start` again continues with the same disk."""

    def __init__(self, image, folder, memory_mb=1536, processors=2):
        self.image, self.folder = image, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.memory_mb, self.processors = memory_mb, processors
        self.disk = self.folder / "disk.qcow2"
        self.console = self.folder / "console.log"
        self.process = self.control = None
        self.lock = threading.Lock()
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.disk.resolve(), "-F", "raw", self.disk], check=True)

    def start(self, clock=None, seconds=120):
        """Power on, until its shell answers. `clock`: what the time shall be there, as '2031-01-01T00:00:00'."""
        begun = time.monotonic()
        try:
            try:
                self._power_on(clock, begun + seconds * SLOWNESS / 3)
            except NoShell:  # emulators have been seen to stand still before the disk was there: once more
                self.cut()
                self._power_on(clock, begun + seconds * SLOWNESS)
        except BaseException:
            self.cut()
            raise
        self.boot_seconds = time.monotonic() - begun
        return self

    def _power_on(self, clock, end):
        path = self.folder / "control.sock"
        path.unlink(missing_ok=True)
        self.port = free_port()
        arguments = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            *self.image.acceleration, "-m", str(self.memory_mb), "-smp", str(self.processors),
            "-kernel", self.image.kernel, "-initrd", self.image.initial,
            "-append", "console=ttyS0 quiet root=/dev/vda rw net.ifnames=0 systemd.show_status=auto panic=-1 random.trust_cpu=on mitigations=off",
            "-drive", f"file={self.disk},if=virtio,format=qcow2,cache=writeback,discard=unmap",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:18080", "-device", "virtio-net-pci,netdev=net",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=control,path={path},server=on,wait=off", "-device", "virtserialport,chardev=control,name=control",
            "-serial", f"file:{self.console}.now", *(["-rtc", f"base={clock}"] if clock else [])]
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(list(map(str, arguments)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._greet(path, end)

    def _greet(self, path, end):
        """The agent says 'ready' when it starts; a connection that is too early for it is kept."""
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(1)
        self.received = b""
        connected = False
        while time.monotonic() < end:
            assert self.process.poll() is None, f"QEMU ended: {(self.folder / 'qemu.log').read_text()}"
            try:
                if not connected:
                    self.control.connect(str(path))
                    connected = True
                if self._line() == b"ready":
                    return
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.05)
            except TimeoutError:
                pass
        raise NoShell(f"no shell on the machine; its console:\n{self.console_text()[-6000:]}")

    def _line(self):
        while b"\n" not in self.received:
            got = self.control.recv(65536)
            if not got:
                raise AssertionError(f"the machine has ended; its console:\n{self.console_text()[-6000:]}")
            self.received += got
        line, self.received = self.received.split(b"\n", 1)
        return line

    def console_text(self):
        path = pathlib.Path(f"{self.console}.now")
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, command, check=True, seconds=120):
        """A shell command as root; one at a time. Its exit code and what it printed."""
        with self.lock:
            self.control.settimeout(seconds * SLOWNESS)
            self.control.sendall(base64.b64encode(command.encode()) + b"\n")
            code, _, output = self._line().partition(b" ")
        result = roots.Done(command, int(code), base64.b64decode(output).decode(errors="replace"))
        assert not check or result.code == 0, result
        return result

    def connect(self, _port=8080, seconds=30):
        """A connection to the daemon's port on the machine's loopback."""
        return socket.create_connection(("127.0.0.1", self.port), seconds * SLOWNESS)

    def wait_ready(self, seconds=60):
        """Until the daemon answers that it is ready."""
        client = job.Client(self, "", seconds=5 * SLOWNESS)
        roots.wait_until(client.ready, seconds * SLOWNESS, lambda: f"purlind is not ready: {self.evidence()}")

    def evidence(self):
        """What is known when something failed: the console, and the journal while there is a shell."""
        said = f"console:\n{self.console_text()[-3000:]}\n"
        if self.process and self.process.poll() is None:
            said += self.run("systemctl --no-pager --failed; systemctl --no-pager status purlin.service mariadb.service | cut -c 1-200;"
                             " journalctl --no-pager --boot --lines=60", check=False).output
        return said

    def journal(self, arguments=""):
        return self.run(f"journalctl --no-pager --output=short-precise {arguments}", check=False).output

    def cut(self):
        """Pulls the plug: what the machine had not written to its disk is gone."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        self._ended()

    def shut_down(self, seconds=60):
        with self.lock:
            self.control.sendall(base64.b64encode(b"systemctl --no-block poweroff") + b"\n")
            self._line()
        self.process.wait(seconds * SLOWNESS)
        self._ended()

    def _ended(self):
        if self.process:
            self.process.wait(30)
        if self.control:
            self.control.close()
        now = pathlib.Path(f"{self.console}.now")
        if now.exists():  # of all starts, one after another
            with open(self.console, "ab") as console:
                console.write(now.read_bytes())
