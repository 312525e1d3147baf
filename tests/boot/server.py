"""MariaDB and the daemon in a root, where no init starts them."""
import job
import root as roots

LOG = "/var/log/test-daemon.log"


class Server:
    """Both as their packages would start them; `with Server(root) as server: server.client().op(...)`"""

    def __init__(self, root):
        self.root, self.process = root, None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start_database(self):
        # Debian's own script for who has no systemd.
        done = self.root.run("service mariadb start", check=False)
        assert done.code == 0, f"{done}\n{self.root.run('tail -n 30 /var/log/mysql/error.log /var/lib/mysql/*.err; journalctl -n 5', check=False).output}"

    def start(self, prefix=""):
        """Until it is ready. `prefix`: a command that starts it, such as faketime's."""
        self.start_database()
        self.launch(prefix)
        self.wait_ready()
        return self

    def launch(self, prefix=""):
        self.root.write(LOG, "")
        command = f"{prefix} /usr/sbin/purlind --config /etc/purlin/purlin.lua".strip()
        self.process = self.root.start(command, LOG, user="purlin")

    def wait_ready(self, seconds=120):
        """Ready and answering; fails with its log when it ends first."""
        client = job.Client(self.root, "", seconds=5)
        roots.wait_until(lambda: client.ready() or self.process.poll() is not None, seconds, self.log)
        assert self.process.poll() is None, f"purlind ended with {self.process.returncode}: {self.log()}"

    def wait_ended(self, seconds=60):
        """Until the daemon has ended by itself; its code."""
        return self.process.wait(seconds)

    def log(self):
        return self.root.read(LOG)[-4000:]

    def client(self):
        return job.Client(self.root, self.root.read("/var/lib/purlin/admin.token").strip())

    def stop_daemon(self):
        if self.process and self.process.poll() is None:
            self.root.run("pkill -TERM -x purlind", check=False)
            self.process.wait(60)
        self.process = None

    def stop(self):
        self.stop_daemon()
        self.root.run("service mariadb stop", check=False)

    def evidence(self):
        return self.log()
