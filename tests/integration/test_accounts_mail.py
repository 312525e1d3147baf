"""What comes by mail, taken by a real SMTP server: addresses that are verified, passwords that were forgotten."""
import re
import socketserver
import threading
import time

import pytest

from daemon import wait_until
from test_accounts import GOOD, a_name, login, refresh, soon, whoami

OTHER = "another rather good one"


class Sink(socketserver.ThreadingTCPServer):
    """Takes letters by SMTP and keeps them; refuses the first `refusals`."""
    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Session)
        self.letters, self.refusals = [], 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def to(self, address):
        return [text for to, text in self.letters if to == address]


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 sink\r\n")
        to = None
        for line in self.rfile:
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                self.wfile.write(b"250 sink\r\n")
            elif verb == b"RCPT":
                to = re.search(rb"<(.*)>", line).group(1).decode()
                self.server.refusals -= 1
                self.wfile.write(b"451 later\r\n" if self.server.refusals >= 0 else b"250 ok\r\n")
            elif verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    text += part
                self.server.letters.append((to, text.decode()))
                self.wfile.write(b"250 ok\r\n")
            else:
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
                if verb == b"QUIT":
                    return


@pytest.fixture(scope="module")
def post(scratch, template):
    """A daemon that sends mail, and where it arrives."""
    import daemon
    sink, folder = Sink(), scratch / "post"
    folder.mkdir()
    daemon.copy_state(template, folder)
    own = daemon.Daemon(folder, configuration=f'plugin "accounts" {{ smtp_url = "smtp://127.0.0.1:{sink.server_address[1]}", smtp_starttls = false,'
                        ' mail_from = "purlin@example.org", link_url = "https://ml.example.org" }\n')
    try:
        yield own.start(), sink
        own.stop()
    finally:
        own.end()
        sink.shutdown()


@pytest.fixture
def mail(post):
    client = post[0].client()
    yield client
    client.close()


@pytest.fixture
def user(mail):
    name = a_name()
    assert mail.op("accounts.create_user", {"name": name, "password": GOOD, "email": f"{name}@example.org"}).status == 201
    return name


def public(client, operation, **body):
    return client.op(f"accounts.{operation}", body, token=False)


def token_of(post, name, count=1):
    wait_until(lambda: len(post[1].to(f"{name}@example.org")) >= count, 15, "no letter")
    letter = post[1].to(f"{name}@example.org")[-1]
    return re.search(r"((?:reset|verify)_\w{40})", letter).group(1), letter


def test_a_forgotten_password_is_set_anew(post, mail, user):
    before = login(mail, user).json
    assert public(mail, "forgot_password", name=user).status == 200
    token, letter = token_of(post, user)
    assert "From: <purlin@example.org>\r\n" in letter and f"To: <{user}@example.org>\r\n" in letter and "https://ml.example.org" in letter
    weak = public(mail, "reset_password", token=token, password="short")
    assert weak.status == 400 and weak.json["errors"][0]["field"] == "password"  # the token is still good
    assert public(mail, "reset_password", token=token, password=OTHER).status == 200
    assert public(mail, "reset_password", token=token, password=OTHER).status == 400  # once
    assert login(mail, user).status == 401 and login(mail, user, OTHER).status == 200
    assert soon(lambda: whoami(mail, before["access_token"]).status == 401)
    assert refresh(mail, before["refresh_token"]).status == 401
    assert token not in str(post[0].sql("SELECT * FROM accounts_links")) and token not in str(post[0].sql("SELECT payload FROM purlin_jobs"))


def test_nobody_learns_who_is_a_user(post, mail, user):
    nobody = a_name()
    mail.op("accounts.create_user", {"name": (without := a_name()), "password": GOOD})
    answers = [public(mail, "forgot_password", name=name) for name in (user, nobody, without)]
    assert {(a.status, a.body) for a in answers} == {(200, answers[0].body)}
    token_of(post, user)
    time.sleep(1)
    assert not post[1].to(f"{nobody}@example.org") and not post[1].to("")


def test_an_address_is_verified(post, mail, user):
    token = login(mail, user).json["access_token"]
    assert mail.op("accounts.me", token=token).json["email_verified"] is False
    assert mail.op("accounts.send_verification", token=token).status == 200
    sent, _ = token_of(post, user)
    assert public(mail, "reset_password", token=sent, password=OTHER).status == 400  # for one purpose
    assert public(mail, "verify_email", token=sent).status == 200
    assert mail.op("accounts.me", token=token).json["email_verified"] is True
    assert public(mail, "verify_email", token=sent).status == 400
    assert mail.put("/api/v1/accounts/me/email", {"password": GOOD, "email": "new@example.org"}, token=token).json["email_verified"] is False


@pytest.mark.parametrize("spoilt", ["UPDATE accounts_links SET expires_at = NOW(6) - INTERVAL 1 SECOND", "UPDATE accounts_users SET version = version + 1",
                                    "UPDATE accounts_users SET email = 'other@example.org'", "UPDATE accounts_users SET disabled_at = NOW(6)"])
def test_a_link_that_is_over(post, mail, user, spoilt):
    public(mail, "forgot_password", name=user)
    token, _ = token_of(post, user)
    where = "user_id IN (SELECT id FROM accounts_users" if "links" in spoilt else "name IN (SELECT name FROM (SELECT * FROM accounts_users) u"
    post[0].sql(f"{spoilt} WHERE {where} WHERE name = '{user}')")
    assert public(mail, "reset_password", token=token, password=OTHER).status == 400


@pytest.mark.parametrize("token", ["", "reset_" + "a" * 40, "x" * 101, "' OR 1=1 -- "])
def test_a_token_that_is_none(mail, token):
    assert public(mail, "reset_password", token=token, password=OTHER).status == 400
    assert public(mail, "verify_email", token=token).status == 400


def test_a_mailbox_is_not_flooded(post, mail, user):
    for count in range(1, 4):
        public(mail, "forgot_password", name=user)
        token_of(post, user, count)
        time.sleep(0.2)  # the job ends after its letter
    public(mail, "forgot_password", name=user)
    time.sleep(1.5)
    assert len(post[1].to(f"{user}@example.org")) == 3


def test_a_letter_that_was_not_taken_is_sent_again(post, mail, user):
    post[1].refusals = 1
    public(mail, "forgot_password", name=user)
    token, _ = token_of(post, user)
    assert public(mail, "reset_password", token=token, password=OTHER).status == 200


def test_without_a_mail_server_it_says_so(client):
    assert client.op("accounts.forgot_password", {"name": "x"}, token=False).status == 409
