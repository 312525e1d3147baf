"""Keys of secrets: what older keys sealed is sealed anew, through crashes, and the old key can go."""
import secrets
import signal
import subprocess
import time

import pytest

from daemon import PURLIND, wait_until


ANA = {"name": "ana", "password": "four plain garden words"}


def write_key(folder, name):
    path = folder / name
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    return path


def configure(own, *keys):
    listed = ", ".join(f'"{key}"' for key in keys)
    (own.folder / "purlin.lua").write_text(f"secrets {{ keys = {{ {listed} }} }}\n")


def status(client):
    answer = client.op("secrets.status")
    assert answer.status == 200, answer
    return answer.json


def login(client):
    return client.post("/api/v1/accounts/login", ANA, token=False)


def check(own):
    return subprocess.run([str(PURLIND), "--check", *own.command[1:]], capture_output=True, text=True, timeout=60)


# ---- Keys ----------------------------------------------------------------------------------------------------------------------------

def test_without_a_setting_a_key_is_made(client, server):
    state = status(client)
    key = server.state / "secrets.key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.stat().st_size == 32
    assert len(state["key"]) == 16 and state["older_keys"] == [] and state["left"] == 0 and state["unknown"] == 0


@pytest.mark.parametrize("setting, says", [
    ('"secret-word"', ":2: secrets: keys[1] is neither a path"),
    ('"/nowhere/key"', ":2: secrets: cannot read /nowhere/key: No such file"),
    ('"credential:key"', ":2: secrets: there is no credential key"),
    ('env("PURLIN_TEST_NOT_SET")', ":2: the environment has no variable PURLIN_TEST_NOT_SET"),
])
def test_a_wrong_key_is_told_with_its_place(new_daemon, setting, says):
    own = new_daemon(start=False, configuration=f"\nsecrets {{ keys = {{ {setting} }} }}\n")
    checked = check(own)
    assert checked.returncode == 1 and says in checked.stderr and "secret-word" not in checked.stderr, checked.stderr


def test_a_key_that_others_can_read_is_refused(new_daemon):
    own = new_daemon(start=False, configuration="")
    key = write_key(own.folder, "open.key")
    configure(own, key)
    assert check(own).returncode == 0
    key.chmod(0o604)
    checked = check(own)
    assert checked.returncode == 1 and f"{key} can be read or written by others" in checked.stderr
    own.launch()
    assert own.process.wait(30) == 1 and "can be read or written by others" in own.log_text()


def test_keys_of_accounts_go_on(new_daemon):
    """As an installation had it before there were keys for all: accounts.key, and rows that it sealed."""
    own = new_daemon()
    client = own.client()
    client.op("accounts.create_user", ANA)
    assert login(client).status == 200
    key, kid = status(client)["key"], own.sql("SELECT id FROM accounts_keys")[0][0]
    client.close()
    own.stop()
    (own.state / "secrets.key").rename(own.state / "accounts.key")
    own.start()
    client = own.client()
    state = wait_until(lambda: (s := status(client))["left"] == 0 and s, 20, "not sealed anew")
    assert state["older_keys"] == [key] and state["key"] != key and state["unknown"] == 0
    assert login(client).status == 200 and own.sql("SELECT id FROM accounts_keys") == [[kid]]
    client.close()
    own.stop()
    (own.state / "accounts.key").unlink()
    own.start()
    client = own.client()
    assert login(client).status == 200
    assert own.sql("SELECT id FROM accounts_keys") == [[kid]] and status(client)["older_keys"] == []
    client.close()
