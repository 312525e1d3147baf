"""A small stand-in for systemd: what a service tells it, the descriptors that it keeps for a service, and starting one with them."""
import array
import fcntl
import os
import signal
import socket
import subprocess
import threading
import time

from daemon import MARK, wait_until

FIRST_KEPT = 200  # numbers of kept descriptors; far above those that a service is given


class Systemd:
    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []  # (time, text)
        self.store = []  # (name, descriptor)
        self.lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                text, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(64))
            except OSError:
                return
            files = array.array("i")
            for level, kind, data in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    files.frombytes(data[:len(data) - len(data) % files.itemsize])
            self._hear(text.decode(), list(files))

    def _hear(self, text, files):
        said = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
        with self.lock:
            self.heard.append((time.monotonic(), text))
            if said.get("FDSTORE") == "1":
                for file in files:
                    self.store.append((said.get("FDNAME", "stored"), fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, FIRST_KEPT)))
            if said.get("FDSTOREREMOVE") == "1":
                gone = [entry for entry in self.store if entry[0] == said["FDNAME"]]
                self.store = [entry for entry in self.store if entry[0] != said["FDNAME"]]
                for _, file in gone:
                    os.close(file)
        for file in files:  # of BARRIER=1: whoever waits goes on
            os.close(file)

    def names(self):
        with self.lock:
            return sorted(name for name, _ in self.store)

    def kept(self, name):
        """What the kept socket is, so that two can be compared."""
        with self.lock:
            return [os.fstat(file).st_ino for kept, file in self.store if kept == name]

    def keep(self, name, sock):
        with self.lock:
            self.store.append((name, fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_KEPT)))

    def told(self, word):
        return [at for at, text in list(self.heard) if word in text.split("\n")]

    def start(self, daemon, wait=True, environment=None):
        """Starts it with what is kept, as systemd passes it: from descriptor 3 on, and who it is for."""
        with self.lock:
            store = list(self.store)
        script = 'export LISTEN_PID=$$; exec "$@"' + "".join(f" {3 + i}<&{file} {file}<&-" for i, (_, file) in enumerate(store))
        passed = {"LISTEN_FDS": str(len(store)), "LISTEN_FDNAMES": ":".join(name for name, _ in store)} if store else {}
        daemon.log_start = daemon.log.stat().st_size if daemon.log.exists() else 0
        with open(daemon.log, "ab") as log:
            daemon.process = subprocess.Popen(["bash", "-c", script if store else 'exec "$@"', "bash", *daemon.command], stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=log, pass_fds=[file for _, file in store], start_new_session=True,
                                              env={**os.environ, **(environment or {}), **passed, MARK: daemon.mark, "NOTIFY_SOCKET": self.path})
        if wait:
            wait_until(lambda: daemon._ready_line() or daemon.process.poll() is not None, 60, f"not ready: {daemon.log_text()}")
            daemon.port = daemon._ready_line()
            assert daemon.port, daemon.log_text()
            daemon.token = (daemon.state / "admin.token").read_text().strip()
        return daemon

    def restart(self, daemon):
        """systemctl restart: the time that passed between two daemons that accept."""
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0, daemon.log_text()[-3000:]
        self.start(daemon)
        return time.monotonic() - began

    def close(self):
        self.socket.close()
        os.unlink(self.path)
        for _, file in self.store:
            os.close(file)
        self.store = []
