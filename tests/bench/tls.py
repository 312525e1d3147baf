"""./dev bench tls: handshakes, and requests over TLS against requests in the clear, beside nginx with the same key, ciphers and group.

CPU time of the server, not wall-clock time, is what is compared: on shared cores the latter says more about the neighbours. Each server
has one loop or worker and writes no access log; both answer the same constant."""

import argparse
import re
import shutil
import socket
import ssl
import statistics
import subprocess
from pathlib import Path

from servers import ROOT, Database, cpu_seconds, free_port, proportional_kib, scratch, start, wait_for

ssl._create_default_https_context = ssl._create_unverified_context  # the certificate is made here, for this run

CIPHERS = "ECDHE+AESGCM"
BODY = '{"status":"ok"}'


def make_pair(folder, kind):
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "P-256" else ["rsa:2048"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem",
                    "-days", "30", "-subj", "/CN=localhost"], check=True, capture_output=True)


class Ours:
    name = "purlind"

    def __init__(self, folder, database, build, secure):
        self.port, state = free_port(), folder / f"state-{secure}"
        state.mkdir()
        tls = f'tls {{ certificate = "{folder}/certificate.pem", key = "{folder}/key.pem", ciphers = "{CIPHERS}" }}\n' if secure else ""
        config = folder / f"purlin-{secure}.lua"
        (folder / "none").mkdir(exist_ok=True)
        config.write_text(
            f'server {{ port = {self.port}, loops = 1, max_connections_per_address = 0, state = "{state}" }}\n{tls}database {{ socket = "{database.socket}", user = "root", name = "b{int(secure)}" }}\n'
            f'lua {{ policies = "{folder}/none", library = "{ROOT / "lua"}" }}\nplugins {{ folders = {{ "{folder}/none" }} }}\n')
        self.process = start([str(build / "bin" / "purlind"), "--config", str(config)], folder / "purlin.log")
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{self.port}/healthz"
        wait_for(self.url.replace("healthz", "readyz"), self.process)


class Nginx:
    name = "nginx"

    def __init__(self, folder, secure):
        self.port = free_port()
        config = folder / f"nginx-{secure}.conf"
        temporary = "".join(f"{name}_temp_path {folder}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        tls = (f"ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; "
               f"ssl_ciphers {CIPHERS}; ssl_ecdh_curve X25519; ssl_session_tickets on; ssl_session_cache off; ssl_prefer_server_ciphers on;") if secure else ""
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/nginx-{secure}.pid; error_log {folder}/nginx-error.log;\nevents {{ worker_connections 4096; }}\n"
            f"http {{ access_log off; keepalive_requests 100000000; {temporary} default_type application/json;\n"
            f"server {{ listen 127.0.0.1:{self.port}{' ssl' if secure else ''}; {tls} location = /healthz {{ return 200 '{BODY}'; }} }} }}\n")
        self.process = start([shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", str(config)], folder / "nginx.log")
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{self.port}/healthz"
        wait_for(self.url, self.process)


def cost(server, work):
    """CPU microseconds of the server for each thing that the work says it has done, and how many a second."""
    before = cpu_seconds(server.process.pid)
    done, seconds = work()
    return (cpu_seconds(server.process.pid) - before) * 1e6 / done, done / seconds


def handshakes(server, build, version, mode, seconds):
    def work():
        told = subprocess.run([build / "tests" / "bench_tls_load", str(server.port), version, mode, str(seconds)], check=True, stdout=subprocess.PIPE, text=True)
        made, resumed = map(int, told.stdout.split())
        assert (resumed >= made - 1) if mode == "resumed" else resumed == 0, f"{server.name}: {resumed} of {made} were resumed"
        return made, seconds
    return cost(server, work)


def requests(server, seconds):
    def work():
        told = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", server.url], check=True, capture_output=True, text=True).stdout
        assert "Non-2xx" not in told and "Socket errors" not in told, told
        return int(re.search(r"(\d+) requests in", told)[1]), seconds
    return cost(server, work)


def idle_kib(server, count=1000):
    """Memory of the server for each connection that has made a request and waits."""
    context, kept = ssl._create_unverified_context(), []
    before = proportional_kib(server.process.pid)
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", server.port))
        if server.url.startswith("https"):
            one = context.wrap_socket(one)
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        one.recv(4096)
        kept.append(one)
    each = (proportional_kib(server.process.pid) - before) / count
    for one in kept:
        one.close()
    return each


def row(what, ours, theirs):
    ratio = statistics.median(o[0] for o in ours) / statistics.median(t[0] for t in theirs) if theirs else float("nan")
    cells = "".join(f" {statistics.median(x[0] for x in one):>10.1f} {statistics.median(x[1] for x in one):>9.0f}/s" if one else f"{'-':>23}" for one in (ours, theirs))
    print(f"  {what:<34}{cells} {ratio:>8.2f}x")


def measure(folder, build, options):
    database = Database(folder)
    print(f"\n{'CPU microseconds each':<36} {'purlind':>21} {'nginx':>21} {'ratio':>9}")
    for kind in ("P-256", "RSA 2048"):
        here = folder / kind.replace(" ", "")
        here.mkdir()
        make_pair(here, kind)
        if kind == "P-256":
            plain = [Ours(here, database, build, False), Nginx(here, False)]
        secure = [Ours(here, database, build, True), Nginx(here, True)]
        for version in ("1.2", "1.3"):
            for mode in ("full", "resumed"):
                found = [[], []]
                for _ in range(options.repetitions):
                    for server, one in zip(secure, found):
                        one.append(handshakes(server, build, version, mode, options.seconds))
                row(f"connection, {kind}, {version}, {mode}", *found)
        if kind == "P-256":
            for what, servers in (("request in the clear", plain), ("request over TLS 1.3", secure)):
                found = [[], []]
                for _ in range(options.repetitions):
                    for server, one in zip(servers, found):
                        one.append(requests(server, options.seconds))
                row(what, *found)
            each = [idle_kib(one) for one in (*plain, *secure)]
            print(f"  idle connection, KiB: in the clear {each[0]:.1f}, nginx {each[1]:.1f}; over TLS {each[2]:.1f}, nginx {each[3]:.1f}")
            for server in plain:
                server.process.terminate()
        for server in secure:
            server.process.terminate()
            server.process.wait(30)
        subprocess.run(["mariadb", "--no-defaults", "-uroot", "-S", database.socket, "-e", "DROP DATABASE IF EXISTS b1"], check=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench tls")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    with scratch() as folder:
        measure(folder, Path(options.build).resolve(), options)


if __name__ == "__main__":
    main()
