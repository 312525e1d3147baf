"""TLS on the real daemon: what clients see, what broken ones cannot do, and how certificates are renewed under load."""
import base64
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest
from daemon import BUILD, PLUGINS, ROOT, Daemon, Threads, copy_state, free_port, wait_until

# ---- Certificates ----------------------------------------------------------------------------------------------------------------


def openssl(*arguments, **more):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """Issues certificates with any dates, which `openssl ca` can and `openssl x509` of Debian 12 cannot."""

    def __init__(self, folder, name="Test"):
        self.folder = folder
        folder.mkdir()
        (folder / "index").touch()
        (folder / "serial").write_text("1000\n")
        (folder / "number").write_text("1000\n")
        (folder / "conf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\ncrlnumber={folder}/number\nnew_certs_dir={folder}\n"
            f"certificate={folder}/ca.pem\nprivate_key={folder}/ca.key\ndefault_md=sha256\npolicy=p\nunique_subject=no\ncopy_extensions=copy\n"
            "default_days=90\ndefault_crl_days=30\nemail_in_dn=no\nutf8=yes\nx509_extensions=e\n"
            "[p]\ncommonName=supplied\norganizationName=optional\n[e]\nauthorityKeyIdentifier=keyid\n")
        self.certificate = folder / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "ca.key", "-out",
                self.certificate, "-days", "3650", "-subj", f"/CN={name} authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, subject="/CN=localhost", alternative="DNS:localhost,IP:127.0.0.1", begins=None, ends=None):
        key, request, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        named = ["-addext", f"subjectAltName={alternative}"] if alternative else []
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj", subject,
                "-utf8", *named)
        dates = (["-startdate", begins] if begins else []) + (["-enddate", ends] if ends else [])
        openssl("ca", "-batch", "-notext", "-config", self.folder / "conf", "-in", request, "-out", certificate, *dates)
        return certificate, key

    def revoke(self, certificate):
        openssl("ca", "-batch", "-config", self.folder / "conf", "-revoke", certificate)
        return openssl("ca", "-config", self.folder / "conf", "-gencrl")


@pytest.fixture(scope="module")
def authority(scratch):
    return Authority(scratch / "authority")


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("server")


def section(certificate, key, **more):
    members = {"certificate": str(certificate), "key": str(key), **more}
    return "tls { " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in members.items()) + " }\n"


class Secure:
    """What tests ask of a daemon that speaks TLS."""

    def __init__(self, server, authority):
        self.server, self.port, self.authority = server, server.port, authority

    def context(self, newest=None, oldest=None, certificate=None):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if newest:
            context.maximum_version = newest
        if oldest:
            context.minimum_version = oldest
        if certificate:
            context.load_cert_chain(*certificate)
        return context

    def connect(self, context=None, name="localhost", **more):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        return (context or self.context()).wrap_socket(plain, server_hostname=name, **more)

    def client(self, context=None, timeout=30):
        return http.client.HTTPSConnection("localhost", self.port, context=context or self.context(), timeout=timeout)

    def op(self, name, /, **fields):
        answer, body = self.get(f"/api/v1/op/{name}", body=json.dumps(fields))
        return answer.status, json.loads(body)

    def get(self, path="/healthz", context=None, body=None):
        client = self.client(context)
        client.request("POST" if body else "GET", path, body, headers={"Authorization": f"Bearer {self.server.token}"})
        answer = client.getresponse()
        body = answer.read()
        client.close()
        return answer, body

    def metric(self, pattern):
        found = re.search(pattern + r" (\S+)$", self.get("/metrics")[1].decode(), re.M)
        return float(found.group(1)) if found else 0.0

    def alive(self):
        return self.get()[0].status == 200


@pytest.fixture(scope="module")
def secure(scratch, template, authority, pair):
    """The daemon that these tests share."""
    folder = scratch / "secure"
    folder.mkdir()
    copy_state(template, folder)
    one = Daemon(folder, configuration=section(*pair)).start()
    try:
        yield Secure(one, authority)
        one.stop()
    finally:
        one.end()


def read_all(plain):
    """What comes until the peer closes."""
    got = b""
    try:
        while True:
            more = plain.recv(65536)
            if not more:
                return got
            got += more
    except ConnectionResetError:
        return got


# ---- What clients see ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_serve(secure, version):
    with secure.connect(secure.context(newest=version, oldest=version)) as wire:
        assert wire.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        assert "GCM" in wire.cipher()[0] or "CHACHA" in wire.cipher()[0]
        assert wire.compression() is None
        for _ in range(3):
            wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in wire.recv(65536)


def test_curl_and_strict_transport(secure):
    done = subprocess.run(["curl", "-sS", "-i", "--cacert", secure.authority.certificate, f"https://localhost:{secure.port}/healthz"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("HTTP/1.1 200")
    assert "Strict-Transport-Security: max-age=15552000\r\n" in done.stdout.replace("\n", "\r\n")
    assert "X-Content-Type-Options: nosniff" in done.stdout


def test_large_bodies_both_ways(secure):
    answer, body = secure.get("/openapi.json")
    assert answer.status == 200 and len(json.loads(body)["paths"]) > 20 and len(body) > 50000
    client = secure.client()
    client.request("POST", "/api/v1/op/scripts.list", b'{"x":"' + b"y" * 3_000_000 + b'"}',
                   {"Authorization": f"Bearer {secure.server.token}", "Content-Type": "application/json"})
    answer = client.getresponse()
    assert answer.status in (400, 404, 422) and answer.read()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume(secure, version):
    context = secure.context(newest=version, oldest=version)
    with secure.connect(context) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.recv(65536)  # the tickets of TLS 1.3 come with it
        session = wire.session
        assert not wire.session_reused
    with secure.connect(context, session=session) as wire:
        assert wire.session_reused
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in wire.recv(65536)
    assert secure.metric(r'purlin_tls_handshakes_total\{version="TLSv1\.\d",outcome="resumed"\}') >= 1


def test_protocols_are_named_or_not(secure):
    for offered, chosen in ((["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), ([], None)):
        context = secure.context()
        if offered:
            context.set_alpn_protocols(offered)
        with secure.connect(context) as wire:
            assert wire.selected_alpn_protocol() == chosen
    context = secure.context()
    context.set_alpn_protocols(["h2", "ftp"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        secure.connect(context)


def test_close_notify_both_ways(secure):
    """An answer without a length ends with the connection: its end must be told from a line that was cut."""
    with secure.connect(suppress_ragged_eofs=False) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = b""
        while more := wire.recv(65536):
            got += more
        assert got.endswith(b'{"status":"ok"}')
    wire = secure.connect(suppress_ragged_eofs=False)
    wire.unwrap().close()  # raises unless the other side answers ours


def test_wrong_name_is_the_clients_to_refuse(secure):
    with pytest.raises(ssl.SSLCertVerificationError, match="(?i)hostname mismatch"):
        secure.connect(name="elsewhere.example")
    assert secure.alive()


# ---- Those who mean no good ---------------------------------------------------------------------------------------------------------------


def test_plain_http_is_told(secure):
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = read_all(plain)
    assert got.startswith(b"HTTP/1.1 400 ") and b"this port speaks TLS" in got
    assert b"Strict-Transport-Security" not in got


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(secure, version):
    done = subprocess.run(["openssl", "s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{secure.port}"],
                          input="", capture_output=True, text=True, timeout=10)
    assert done.returncode != 0 and "alert protocol version" in done.stderr, done.stderr
    assert secure.alive()


def test_weak_ciphers_are_refused(secure):
    for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "eNULL", "ADH-AES128-SHA"):
        done = subprocess.run(["openssl", "s_client", "-tls1_2", "-cipher", f"{weak}:@SECLEVEL=0", "-connect", f"127.0.0.1:{secure.port}"],
                              input="", capture_output=True, text=True, timeout=10)
        assert done.returncode != 0, weak


def test_renegotiation_is_refused(secure):
    process = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{secure.port}"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(0.5)
        out, _ = process.communicate("R\n", timeout=10)
    finally:
        process.kill()
    assert "no renegotiation" in out.lower(), out[-500:]
    assert secure.alive()


def test_garbage_ends_at_once(secure):
    for rubbish in (b"\x00" * 100, b"\x16" * 5000, b"\x80\x2e\x01\x00\x02" + b"\x00" * 60, b"\x80" + os.urandom(3000),
                    b"\x16\x03\x01\xff\xff" + b"\x01" * 70000, b"\x16\x03\x01\x00\x00" * 200, b"\x17\x03\x03\x00\x05hello"):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain:
            try:
                plain.sendall(rubbish)
                plain.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            assert len(read_all(plain)) < 100  # an alert at most: what begins with a letter, as a method does, is told in words
        assert time.monotonic() - began < 5
    assert secure.alive()


def hello(secure, name="localhost"):
    """A client's first flight."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    made = secure.context().wrap_bio(inward, outward, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        made.do_handshake()
    return outward.read(), made, inward, outward


def test_one_byte_at_a_time(secure):
    with socket.create_connection(("127.0.0.1", secure.port), timeout=15) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first, made, inward, outward = hello(secure)

        def send(data):
            for i in range(len(data)):
                plain.sendall(data[i:i + 1])

        send(first)
        while True:
            inward.write(plain.recv(65536))
            try:
                made.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        made.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        send(outward.read())
        got = b""
        while b'"ok"' not in got:
            inward.write(plain.recv(65536))
            try:
                got += made.read(65536)
            except ssl.SSLWantReadError:
                pass


def test_records_that_lie_or_break(secure):
    for spoil in (lambda r: r[:-1] + bytes([r[-1] ^ 1]), lambda r: r[:3] + b"\xff\xff" + r[5:] + b"x" * 70000, lambda r: r[: len(r) // 2],
                  lambda r: b"\x17\x03\x03\x00\x00" * 100):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=15) as plain:
            first, made, inward, outward = hello(secure)
            plain.sendall(first)
            while True:
                inward.write(plain.recv(65536))
                try:
                    made.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    pass
            made.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            flight = outward.read()
            records, at = [], 0  # the last one is the request
            while at < len(flight):
                size = 5 + int.from_bytes(flight[at + 3:at + 5], "big")
                records.append(flight[at:at + size])
                at += size
            try:
                plain.sendall(b"".join(records[:-1]) + spoil(records[-1]))
                plain.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            assert b"200 OK" not in read_all(plain)
    assert secure.alive()


def test_early_close_at_every_stage(secure):
    first = hello(secure)[0]
    for cut in (0, 1, 4, 5, 6, 50, len(first) - 1, len(first)):
        plain = socket.create_connection(("127.0.0.1", secure.port), timeout=15)
        plain.sendall(first[:cut])
        plain.close()
    wire = secure.connect()
    wire.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
    os.close(wire.detach())
    assert secure.alive()


def test_half_handshakes_end_and_hold_nobody_up(secure):
    first = hello(secure)[0]
    idle = []
    try:
        for i in range(500):
            plain = socket.create_connection(("127.0.0.1", secure.port), timeout=20)
            plain.sendall(first[: (0, 1, 100, len(first))[i % 4]])
            idle.append(plain)
        began = time.monotonic()
        assert secure.alive()
        assert time.monotonic() - began < 3
        for plain in idle:
            read_all(plain)
        assert time.monotonic() - began < 15  # 10 s for a handshake
    finally:
        for plain in idle:
            plain.close()
    assert secure.alive()


def test_idle_connections_are_small(secure):
    def anonymous_kib():
        return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{secure.server.process.pid}/status").read()).group(1))

    context, kept = secure.context(), []
    before = anonymous_kib()
    try:
        for _ in range(400):
            kept.append(secure.connect(context))
            kept[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert kept[-1].recv(4096)
        if "asan" not in str(BUILD) and "tsan" not in str(BUILD):
            assert (anonymous_kib() - before) / 400 < 24  # buffers of records alone would be 34
    finally:
        for one in kept:
            one.close()


# ---- Settings -----------------------------------------------------------------------------------------------------------------------------------


def check(folder, configuration):
    (folder / "policies").mkdir(exist_ok=True)
    one = Daemon(folder, configuration=configuration)
    done = subprocess.run([*one.command, "--check"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_check_says_what_is_wrong(tmp_path, authority, pair):
    certificate, key = pair
    other = authority.issue("other")
    late = authority.issue("late", begins="20200101000000Z", ends="20210101000000Z")
    early = authority.issue("early", begins="20400101000000Z", ends="20410101000000Z")
    empty, folder, locked, garbled = tmp_path / "empty.pem", tmp_path / "folder", tmp_path / "locked.key", tmp_path / "garbled.pem"
    empty.touch()
    folder.mkdir()
    openssl("pkey", "-in", key, "-aes128", "-passout", "pass:secret", "-out", locked)
    garbled.write_text(certificate.read_text().replace("M", "!", 3))
    cases = [
        (section(tmp_path / "none.pem", key), ["none.pem", "No such file"]),
        (section(folder, key), [str(folder), "is it a folder"]),
        (section(empty, key), ["empty.pem", "it is empty"]),
        (section(garbled, key), ["garbled.pem", "certificate"]),
        (section(key, key), [str(key), "no certificate in it"]),
        (section(certificate, certificate), [str(certificate), "no private key in it"]),
        (section(certificate, locked), ["locked.key", "passphrase", "openssl pkey"]),
        (section(certificate, other[1]), ["does not belong to the certificate", str(certificate), str(other[1])]),
        (section(*late), ["late.pem", "has ended at 2021-01-01", "renew"]),
        (section(*early), ["early.pem", "begins only at 2040-01-01", "clock"]),
        (section(certificate, key, ciphers="NONSENSE"), ["NONSENSE"]),
        (section(certificate, key, ciphersuites="NONSENSE"), ["NONSENSE"]),
        (section(certificate, key, minimum="1.1"), ["minimum", "1.2"]),
        (section(certificate, key, client_ca=str(tmp_path / "none")), ["client_ca", "none"]),
        (section(certificate, key, client_certificate="required"), ["client_ca"]),
        (f'tls {{ certificate = "{certificate}" }}\n', ["certificate and key"]),
    ]
    for configuration, words in cases:
        code, said = check(tmp_path, "\n" + configuration)
        assert code == 1 and "purlin.lua:2: tls" in said and all(word in said for word in words), (configuration, said)
    assert check(tmp_path, section(certificate, key, minimum="1.3", client_ca=str(authority.certificate)))[0] == 0


def test_unreadable_key(tmp_path, pair):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    key = tmp_path / "mine.key"
    key.write_bytes(pair[1].read_bytes())
    key.chmod(0)
    code, said = check(tmp_path, section(pair[0], key))
    assert code == 1 and "mine.key" in said and "chgrp" in said


def test_newest_only_and_without_strict_transport(new_daemon, authority, pair):
    one = Secure(new_daemon(configuration=section(*pair, minimum="1.3", hsts_days=0)), authority)
    with pytest.raises(ssl.SSLError, match="(?i)protocol version"):
        one.connect(one.context(newest=ssl.TLSVersion.TLSv1_2))
    answer, _ = one.get()
    assert answer.status == 200 and answer.headers["Strict-Transport-Security"] is None


# ---- Renewal -----------------------------------------------------------------------------------------------------------------------------------------


def serial(one):
    with one.connect() as wire:
        return wire.getpeercert()["serialNumber"]


def replace(target, source):
    """As those who renew do it: the new file takes the old one's name."""
    fresh = target.with_suffix(".new")
    fresh.write_bytes(source.read_bytes())
    os.replace(fresh, target)


def test_renewal_without_a_dropped_connection(new_daemon, authority, tmp_path):
    first, second, third = (authority.issue(f"turn{i}") for i in range(3))
    late = authority.issue("turn-late", begins="20200101000000Z", ends="20210101000000Z")
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"
    certificate.write_bytes(first[0].read_bytes())
    key.write_bytes(first[1].read_bytes())
    one = Secure(new_daemon(configuration=section(certificate, key)), authority)
    before = serial(one)
    kept, stop, served = one.client(), [], [0]
    kept.request("GET", "/healthz")
    kept.getresponse().read()

    def load():
        while not stop:
            assert one.get()[0].status == 200
            served[0] += 1

    load = Threads(load, load)
    # Somebody asks for it.
    replace(certificate, second[0])
    replace(key, second[1])
    one.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: serial(one) != before, 10, "SIGHUP changed nothing")
    now = serial(one)
    # Nobody asks; for a moment the two do not belong together.
    replace(certificate, third[0])
    time.sleep(0.3)
    replace(key, third[1])
    wait_until(lambda: serial(one) != now, 15, "new files were not seen")
    now = serial(one)
    # A broken pair, and one that has ended, leave what there is.
    for broken, words in ((certificate, "there is no private key in it"), (None, "has ended")):
        if broken:
            replace(key, broken)
        else:
            replace(certificate, late[0])
            replace(key, late[1])
        one.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: words in one.server.log_text(), 10, f"'{words}' is not in the log")
        assert serial(one) == now
        ready = json.loads(one.get("/readyz")[1])
        assert ready["status"] == "degraded" and any(c["name"] == "tls" and words in c["detail"] for c in ready["checks"])
        assert one.metric(r'purlin_tls_reloads_total\{outcome="failed"\}') >= 1
    stop.append(True)
    load.join()
    assert served[0] > 20
    kept.request("GET", "/healthz")  # began with the first certificate
    assert kept.getresponse().status == 200
    # Mended without a signal.
    replace(certificate, first[0])
    replace(key, first[1])
    wait_until(lambda: serial(one) == before, 15, "the mended files were not seen")
    assert json.loads(one.get("/readyz")[1])["status"] == "ready"
    one.server.stop()


def test_a_session_outlives_a_renewal(new_daemon, authority, tmp_path):
    pairs = [authority.issue(f"keep{i}") for i in range(2)]
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"
    certificate.write_bytes(pairs[0][0].read_bytes())
    key.write_bytes(pairs[0][1].read_bytes())
    one = Secure(new_daemon(configuration=section(certificate, key)), authority)
    context = one.context()
    with one.connect(context) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.recv(65536)
        session = wire.session
    before = serial(one)
    replace(certificate, pairs[1][0])
    replace(key, pairs[1][1])
    one.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: serial(one) != before, 10, "SIGHUP changed nothing")
    with one.connect(context, session=session) as wire:
        assert wire.session_reused


def test_an_ended_certificate_serves_and_is_told(new_daemon, authority):
    """At the start a wrong clock must not keep the server down; clients refuse it by themselves."""
    ended = authority.issue("ended", begins="20200101000000Z", ends="20210101000000Z")
    one = Secure(new_daemon(configuration=section(*ended)), authority)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        one.connect()
    careless = ssl._create_unverified_context()
    answer, body = one.get("/metrics", careless)
    left = re.search(r"^purlin_tls_certificate_expires_seconds\{.*\} (\S+)$", body.decode(), re.M)
    assert answer.status == 200 and float(left.group(1)) < 0
    assert "has ended" in one.server.log_text()


def test_a_certificate_that_ends_soon_is_told(new_daemon, authority):
    ends = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 20 * 86400 - 60))
    one = Secure(new_daemon(configuration=section(*authority.issue("soon", ends=ends))), authority)
    assert 19 * 86400 < one.metric(r"purlin_tls_certificate_expires_seconds\{.*\}") < 20 * 86400
    wait_until(lambda: "ends in 19 days" in one.server.log_text(), 10, "the log does not tell")

    def told():
        ready = json.loads(one.get("/readyz")[1])
        return ready["status"] == "degraded" and any("ends in 19 days" in (c.get("detail") or "") for c in ready["checks"])
    wait_until(told, 10, "/readyz does not tell")


# ---- The port in the clear -----------------------------------------------------------------------------------------------------------------------------


def plain_request(port, method, path, headers=None):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request(method, path, headers=headers or {})
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer


def test_redirects(new_daemon, authority, pair):
    port = free_port()
    one = Secure(new_daemon(configuration=section(*pair, redirect_port=port)), authority)
    for host, to in (("models.example", "models.example"), ("models.example:80", "models.example"), ("[::1]:80", "[::1]")):
        answer = plain_request(port, "GET", "/api/v1/models?limit=3&x=%20y", {"Host": host})
        assert answer.status == 308 and answer.headers["Location"] == f"https://{to}:{one.port}/api/v1/models?limit=3&x=%20y"
        assert answer.headers["Strict-Transport-Security"] is None
    assert plain_request(port, "HEAD", "/docs").status == 308
    assert plain_request(port, "GET", "//evil.example/x").headers["Location"].startswith(f"https://127.0.0.1:{one.port}//")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert plain_request(port, method, "/api/v1/models").status == 400
    for path in ("/healthz", "/readyz", "/metrics"):
        assert plain_request(port, "GET", path).status == 308
    assert plain_request(port, "GET", "/x", {"Host": "a b"}).status == 400


def test_redirects_to_the_public_address_and_answers_probes(new_daemon, authority, pair):
    port = free_port()
    configuration = 'server { url = "https://ml.example.org" }\n' + section(*pair, redirect_port=port, redirect_health=True)
    server = new_daemon(start=False, configuration=configuration)
    server.launch()
    try:
        wait_until(lambda: "ready at https://ml.example.org" in server.log_text(), 40, "not ready")
        assert plain_request(port, "GET", "/x?y", {"Host": "evil.example"}).headers["Location"] == "https://ml.example.org/x?y"
        assert plain_request(port, "GET", "/healthz").status == 200
        assert plain_request(port, "GET", "/readyz").status == 200
        assert plain_request(port, "GET", "/metrics").status == 308
        assert plain_request(port, "POST", "/healthz").status == 400
    finally:
        server.stop()


def test_a_plain_server_tells_nothing_of_tls(client):
    assert client.get("/healthz").headers["Strict-Transport-Security"] is None


# ---- Clients' certificates -------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def badge(scratch):
    """All plugins, and one that knows certificates."""
    folder = scratch / "with-badge"
    folder.mkdir()
    for plugin in PLUGINS.glob("*.so"):
        (folder / plugin.name).symlink_to(plugin)
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{ROOT / 'sdk' / 'include'}",
                    str(ROOT / "tests" / "integration" / "plugins" / "badge.c"), "-o", str(folder / "badge.so")], check=True)
    return folder


@pytest.fixture(scope="module")
def clients(scratch):
    return Authority(scratch / "clients", "Clients")


def whoami(one, context, **headers):
    """Status and actor, without an Authorization header unless one is given."""
    client = one.client(context)
    client.request("GET", "/api/v1/access/whoami", headers=headers)
    answer = client.getresponse()
    told = json.loads(answer.read())
    client.close()
    return answer.status, told.get("actor", told.get("detail"))


def test_clients_are_known_by_their_certificates(new_daemon, authority, pair, clients, badge):
    authorities = clients.folder / "trusted.pem"
    gone = clients.issue("gone", "/CN=gone", None)
    authorities.write_text(clients.certificate.read_text() + clients.revoke(gone[0]))
    one = Secure(new_daemon(configuration=section(*pair, client_ca=str(authorities)), plugins=badge), authority)
    names = [
        ("/CN=ana/O=Acme", None, "O=Acme,CN=ana"),
        ("/CN=ünal", None, "CN=ünal"),
        ("/CN=x", "email:ana@example.org", "ana@example.org"),
        ("/CN=x", "DNS:host.example.org", "CN=x"),
        ("/CN=x", "email:ana@example.org,URI:spiffe://example.org/trainer", "spiffe://example.org/trainer"),
        ("/CN=x", "email:CN\\=boss@example.org", "CN=x"),  # looks like a subject
        ("/CN=x", "URI:CN\\=boss:y", "CN=x"),
        ("/CN=a:b@c", None, "CN=a:b@c"),
    ]
    for i, (subject, alternative, name) in enumerate(names):
        mine = clients.issue(f"client{i}", subject, alternative and alternative.replace("\\", ""))
        status, actor = whoami(one, one.context(certificate=mine))
        assert status == 200 and sorted(actor.removeprefix("user:").split(",")) == sorted(name.split(",")), (actor, name)
    context = one.context(certificate=mine)
    # A header is the stronger word; another site's page does not speak for the user; nobody stays nobody.
    assert whoami(one, context, Authorization=f"Bearer {one.server.token}")[1] != f"user:{names[-1][2]}"
    assert whoami(one, context, Authorization="Bearer wrong")[0] == 401
    assert whoami(one, context, **{"Sec-Fetch-Site": "cross-site"})[0] == 401
    assert whoami(one, context, Origin="https://evil.example")[0] == 401  # a browser that says only that
    assert whoami(one, context, Origin=f"https://localhost:{one.port}")[0] == 200
    assert whoami(one, context, **{"Sec-Fetch-Site": "same-origin"})[0] == 200
    assert whoami(one, one.context())[0] == 401
    status, why = whoami(one, one.context(certificate=clients.issue("nobody", "/CN=nobody", None)))
    assert status == 401 and "certificate" in why
    assert one.get()[0].status == 200  # optional: tokens go on
    # Resumed, it is still the same client.
    with one.connect(context) as wire:
        wire.sendall(b"GET /api/v1/access/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"user:CN=a:b@c" in wire.recv(65536)
        session = wire.session
    with one.connect(context, session=session) as wire:
        assert wire.session_reused
        wire.sendall(b"GET /api/v1/access/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"user:CN=a:b@c" in wire.recv(65536)
    # Those that are not valid do not get in at all.
    ended = clients.issue("client-ended", "/CN=old", None, begins="20200101000000Z", ends="20210101000000Z")
    foreign = authority.issue("client-foreign", "/CN=ana", None)
    for wrong in (ended, foreign, gone):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            whoami(one, one.context(certificate=wrong))
    # A session of before does not outlive a change of who vouches.
    authorities.write_text(clients.certificate.read_text() + clients.revoke(mine[0]))
    one.server.process.send_signal(signal.SIGHUP)

    def refused():
        try:
            with one.connect(context, session=session) as wire:
                wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return not wire.recv(10)
        except (ssl.SSLError, ConnectionError):
            return True
    wait_until(refused, 10, "a revoked certificate is still taken")


def test_users_come_in_with_a_certificate_that_was_noted(new_daemon, authority, pair, clients):
    one = Secure(new_daemon(configuration=section(*pair, client_ca=str(clients.certificate))), authority)
    badge = clients.issue("ada", "/CN=x", "URI:spiffe://example.org/ada")
    context = one.context(certificate=badge)
    assert whoami(one, context)[0] == 401

    op = one.op
    assert op("accounts.create_user", name="ada")[0] == 201
    status, noted = op("accounts.add_certificate", name="ada", subject="spiffe://example.org/ada")
    assert status == 201 and noted["user"] == "ada"
    assert op("accounts.create_user", name="eve")[0] == 201
    assert op("accounts.add_certificate", name="eve", subject="spiffe://example.org/ada")[0] == 409
    wait_until(lambda: whoami(one, context) == (200, "user:ada"), 3, "the certificate lets nobody in")
    assert [c["id"] for c in op("accounts.list_certificates", name="ada")[1]["certificates"]] == [noted["id"]]
    # Whoever is disabled is so with their certificate, and one that was removed opens no more.
    assert op("accounts.disable_user", name="ada")[0] == 200
    wait_until(lambda: whoami(one, context)[0] == 401, 3, "a disabled user comes in")
    assert op("accounts.enable_user", name="ada")[0] == 200
    wait_until(lambda: whoami(one, context)[0] == 200, 3, "an enabled user does not come in")
    assert op("accounts.remove_certificate", id=noted["id"])[0] == 200
    wait_until(lambda: whoami(one, context)[0] == 401, 3, "a certificate that was removed opens")


def test_a_required_certificate(new_daemon, authority, pair, clients):
    configuration = section(*pair, client_ca=str(clients.certificate), client_certificate="required")
    server = new_daemon(configuration=configuration)
    one = Secure(server, authority)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            one.get(context=one.context(newest=version, oldest=version))
    assert one.get(context=one.context(certificate=clients.issue("required", "/CN=ana", None)))[0].status == 200


# ---- The command, and what browsers are told --------------------------------------------------------------------------------------------------------------


def test_the_command_speaks_https(secure, tmp_path):
    def run(*arguments, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PURLIN_")}
        url = f"https://localhost:{secure.port}"
        return subprocess.run([BUILD / "bin" / "purlin", *arguments, "access", "whoami"], capture_output=True, text=True, timeout=30, cwd="/",
                              env={**kept, "PURLIN_SERVER": url, "PURLIN_TOKEN": secure.server.token, **more})

    trusted = str(secure.authority.certificate)
    assert run("--ca-file", trusted).returncode == 0
    assert run(PURLIN_CA_FILE=trusted).returncode == 0
    untrusted = run()
    assert untrusted.returncode == 3 and "certificate" in untrusted.stderr and "--ca-file" in untrusted.stderr
    missing = run("--ca-file", str(tmp_path / "none"))
    assert missing.returncode == 3 and "--ca-file" in missing.stderr
    assert run("--ca-file").returncode != 0
    assert run(PURLIN_SERVER=f"http://localhost:{secure.port}", PURLIN_CA_FILE=trusted).returncode != 0


def test_what_browsers_are_told_of_pages(secure, client):
    answer, body = secure.get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        inside = re.search(rb"<%s>(.*?)</%s>" % (tag.encode(), tag.encode()), body, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(inside).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not re.search(rb"\son[a-z]+=|\sstyle=", body)  # nothing inline that the policy would stop
    assert answer.headers["X-Frame-Options"] == "DENY" and answer.headers["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in answer.headers["Permissions-Policy"] and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/docs").headers["Content-Security-Policy"] == policy
    assert client.get("/healthz").headers["Content-Security-Policy"] is None


def test_the_page_at_the_root(secure, client, new_daemon):
    answer, body = secure.get("/")
    policy = answer.headers["Content-Security-Policy"]
    inside = re.search(rb"<style>(.*?)</style>", body, re.S).group(1)
    assert f"style-src 'sha256-{base64.b64encode(hashlib.sha256(inside).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy and "script-src" not in policy and b"<script" not in body
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    for link in re.findall(rb'href="([^"]*)"', body):
        assert client.get(link.decode(), token=None).status == 200, link
    head = client.call("HEAD", "/", token=None)
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) == len(body)
    # Whoever has a page of their own there has it: a script needs nothing else for it.
    for own in ("GET /", "GET /{rest...}"):
        server = new_daemon(start=False)
        (server.policies / "home.lua").write_text(f'purlin.route("{own}", {{ permission = "public" }}, function() return "mine" end)\n')
        mine = server.start().client()
        assert mine.get("/", token=None).body == b"mine"
        mine.close()
        server.stop()


def test_pages_of_others_do_nothing_unless_they_say_so(new_daemon):
    server = new_daemon(start=False)
    (server.policies / "pages.lua").write_text(
        'purlin.route("GET /page/{kind}", { permission = "public" }, function(request)\n'
        '  local type, headers = request:query("type"), {}\n'
        '  if request:parameter("kind") == "header" then headers["Content-Type"], type = type, nil end\n'
        '  if request:query("own") then headers["content-security-policy"] = "default-src \'self\'" end\n'
        '  return { body = "<p>hello", media_type = type, headers = headers }\nend)\n')
    server.start()
    mine = server.client()
    for kind in ("text/html", "TEXT/HTML;charset=utf-8", "image/svg%2Bxml", "application/xhtml%2Bxml", "text/xml"):
        for way in ("header", "type"):
            answer = mine.get(f"/page/{way}?type={kind}")
            assert answer.status == 200 and answer.headers["Content-Security-Policy"].endswith("sandbox"), (kind, answer.headers)
    answer = mine.get("/page/type?type=text/html&own=1")
    assert answer.headers.get_all("Content-Security-Policy") == ["default-src 'self'"] and answer.headers["X-Frame-Options"] == "DENY"
    for kind in ("application/json", "text/plain", "text/htm", "application/octet-stream"):
        assert mine.get(f"/page/type?type={kind}").headers["Content-Security-Policy"] is None
