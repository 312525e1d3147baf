"""`purlin login`, `purlin logout` and `purlin admin recover`: who asks, what is kept, and who may not read it."""
import json
import os
import pty
import select
import stat
import subprocess
import time

import pytest

from daemon import Client
from test_command import PURLIN, environment

GOOD = "four plain garden words"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def user(client):
    name = f"u{time.monotonic_ns()}"
    assert client.op("accounts.create_user", {"name": name, "password": GOOD}).status == 201
    assert client.op("access.grant_role", {"subject": f"user:{name}", "role": "viewer"}).status == 201
    return name


def run(server, home, *arguments, stdin=""):
    done = subprocess.run([str(PURLIN), "--server", f"http://127.0.0.1:{server.port}", *arguments], capture_output=True, text=True, timeout=30,
                          input=stdin, cwd="/", env=environment(XDG_CONFIG_HOME=str(home)))
    return done.returncode, done.stdout, done.stderr


def kept(home):
    return json.loads((home / "purlin" / "credentials.json").read_text())


def change(home, **members):
    path, all_of = home / "purlin" / "credentials.json", kept(home)
    next(iter(all_of.values())).update(members)
    path.write_text(json.dumps(all_of))


def test_login_lasts_until_logout(server, home, user):
    assert run(server, home, "login", user, stdin=GOOD + "\n") == (0, f"Logged in to http://127.0.0.1:{server.port} as {user}.\n", "")
    assert stat.S_IMODE((home / "purlin" / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "purlin").stat().st_mode) == 0o700
    assert GOOD not in (home / "purlin" / "credentials.json").read_text()
    code, out, _ = run(server, home, "--json", "access", "whoami")
    assert code == 0 and json.loads(out)["actor"] == f"user:{user}"
    refresh = next(iter(kept(home).values()))["refresh_token"]
    assert run(server, home, "logout")[0] == 0 and kept(home) == {}
    nobody = Client(server.port, None)
    assert nobody.post("/api/v1/accounts/refresh", {"refresh_token": refresh}).status == 401
    nobody.close()
    assert run(server, home, "logout") == (0, f"Nobody is logged in to http://127.0.0.1:{server.port}.\n", "")


def test_tokens_renew_themselves(server, home, user):
    run(server, home, "login", user, stdin=GOOD)
    before = next(iter(kept(home).values()))
    change(home, expires_at=time.time() + 5)
    assert run(server, home, "access", "whoami")[0] == 0
    after = next(iter(kept(home).values()))
    assert after["refresh_token"] != before["refresh_token"] and after["expires_at"] > time.time() + 500 and after["name"] == user
    change(home, expires_at=1)
    commands = [subprocess.Popen([str(PURLIN), "--server", f"http://127.0.0.1:{server.port}", "access", "whoami"], stdout=subprocess.DEVNULL,
                                 env=environment(XDG_CONFIG_HOME=str(home)), cwd="/") for _ in range(4)]
    assert [command.wait(30) for command in commands] == [0] * 4  # one renews, the others wait for it


def test_a_session_that_was_revoked_is_forgotten(server, client, home, user):
    run(server, home, "login", user, stdin=GOOD)
    client.op("accounts.disable_user", {"name": user})
    change(home, expires_at=1)
    code, _, err = run(server, home, "access", "whoami")
    assert code == 1 and "'purlin login' begins another" in err and kept(home) == {}


def test_a_wrong_password_keeps_nothing(server, home, user):
    code, out, err = run(server, home, "login", user, stdin="not this one at all\n")
    assert (code, out) == (1, "") and "the name or the password is wrong" in err and "not this one" not in err
    assert not (home / "purlin" / "credentials.json").exists()
    assert run(server, home, "login", user)[0] == 2  # no password
    assert run(server, home, "login", user, "more", stdin=GOOD)[0] == 2
    assert run(server, home, "login", stdin=f"{user}\n{GOOD}\n")[0] == 0


def test_what_others_can_read_is_not_used(server, home, user):
    run(server, home, "login", user, stdin=GOOD)
    (home / "purlin" / "credentials.json").chmod(0o644)
    code, _, err = run(server, home, "access", "whoami")
    assert code == 1 and "chmod 600" in err
    (home / "purlin" / "credentials.json").chmod(0o600)
    (home / "purlin" / "credentials.json").write_text("{")
    code, _, err = run(server, home, "access", "whoami")
    assert code == 1 and "log in again" in err


def test_the_terminal_does_not_show_the_password(server, home, user):
    own, its = pty.openpty()
    process = subprocess.Popen([str(PURLIN), "--server", f"http://127.0.0.1:{server.port}", "login"], stdin=its, stdout=its, stderr=its, cwd="/",
                               env=environment(XDG_CONFIG_HOME=str(home), TERM="xterm"), start_new_session=True)
    os.close(its)
    seen, asked = b"", {b"Name: ": user, b"Password: ": GOOD}
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if select.select([own], [], [], 0.1)[0]:
            try:
                seen += os.read(own, 4096)
            except OSError:
                break
        for prompt in [p for p in asked if seen.endswith(p)]:
            time.sleep(0.1)
            os.write(own, asked.pop(prompt).encode() + b"\n")
    os.close(own)
    assert process.wait(10) == 0, seen
    assert f"as {user}".encode() in seen and GOOD.encode() not in seen


def test_who_was_logged_in_does_not_become_the_administrator(server, client, home, user, tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "admin.token").write_text(server.token)
    command = [str(PURLIN), "--server", f"http://127.0.0.1:{server.port}", "--json", "access", "whoami"]

    def who():
        return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment(XDG_CONFIG_HOME=str(home)), cwd=tmp_path)

    run(server, home, "login", user, stdin=GOOD)
    assert json.loads(who().stdout)["actor"] == f"user:{user}"
    client.op("accounts.disable_user", {"name": user})
    change(home, expires_at=1)
    done = who()
    assert done.returncode == 1 and done.stdout == "" and "'purlin login' begins another" in done.stderr


def test_a_login_says_what_goes_before_it(server, home, user):
    for variable in ("PURLIN_TOKEN", "PURLIN_TOKEN_FILE"):
        done = subprocess.run([str(PURLIN), "--server", f"http://127.0.0.1:{server.port}", "login", user], capture_output=True, text=True,
                              timeout=30, input=GOOD, cwd="/", env=environment(XDG_CONFIG_HOME=str(home), **{variable: "x"}))
        assert done.returncode == 0 and f"unset {variable}\n" in done.stderr


@pytest.mark.parametrize("words", [["login"], ["logout"], ["admin"], ["plugin"], ["audit", "verify"]], ids=" ".join)
def test_help_is_an_answer(words):
    for flag in ("--help", "-h"):
        done = subprocess.run([str(PURLIN), *words, flag], capture_output=True, text=True, timeout=30, env=environment(), cwd="/")
        assert done.returncode == 0 and f"purlin {words[0]}" in done.stdout.replace("[--server URL] ", "") and done.stderr == ""


# ---- Who has lost everything --------------------------------------------------------------------------------------------------


def test_an_administrator_recovers_on_the_host(new_daemon, home):
    own = new_daemon()
    lost = own.token
    own.sql("UPDATE access_tokens SET revoked_at = NOW(6); DELETE FROM access_grants")
    command = [str(PURLIN), "admin", "recover", "--state", str(own.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment(), cwd="/")
    assert done.returncode == 0 and "start" in done.stdout, done.stderr
    own.stop()
    own.start()
    client = own.client()
    assert own.token != lost and client.get("/api/v1/access/whoami", token=lost).status == 401
    who = client.get("/api/v1/access/whoami").json
    assert who["actor"] == "service:recovery" and who["grants"] == [{"permissions": ["*"]}]
    assert client.op("accounts.create_user", {"name": "ana", "password": GOOD}).status == 201
    assert client.op("access.grant_role", {"subject": "user:ana", "role": "owner"}).status == 201
    left = own.sql("SELECT TIMESTAMPDIFF(HOUR, NOW(6), expires_at) FROM access_tokens WHERE actor = 'service:recovery'")
    assert left == [["23"]]
    client.close()
    own.stop()
    token = own.token
    own.start()
    assert own.token == token  # once asked for, once given
    assert stat.S_IMODE((own.state / "admin.token").stat().st_mode) == 0o600


def test_recovery_needs_the_state_directory(tmp_path):
    for folder in (tmp_path / "none", tmp_path):  # not there; not one of a server
        done = subprocess.run([str(PURLIN), "admin", "recover", "--state", str(folder)], capture_output=True, text=True, timeout=30,
                              env=environment(), cwd="/")
        assert done.returncode == 1 and str(folder) in done.stderr
    assert subprocess.run([str(PURLIN), "admin"], capture_output=True, timeout=30, env=environment(), cwd="/").returncode == 2
