"""What comes by mail, taken by a real SMTP server: addresses that are verified, passwords that were forgotten."""
import base64
import re
import socketserver
import ssl
import threading
import time

import pytest

from daemon import wait_until
from test_accounts import GOOD, a_name, login, refresh, soon, whoami
from test_tls import Authority

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
        self.handle_letters()

    def handle_letters(self):
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


# ---- Over TLS --------------------------------------------------------------------------------------------------------------------


class SafeSink(Sink):
    """Takes letters over STARTTLS from those that know the password only. `context` may change between letters; None: it offers no TLS."""

    def __init__(self, context):
        super().__init__()
        self.RequestHandlerClass, self.context = SafeSession, context
        self.verbs, self.authenticated, self.password = [], [], "right"


class SafeSession(Session):
    def handle(self):
        sink, safe = self.server, False
        self.wfile.write(b"220 sink\r\n")
        for line in iter(lambda: self.rfile.readline(), b""):  # another one after STARTTLS
            verb = line.split()[0].upper().decode()
            sink.verbs.append((verb, safe))
            if verb == "EHLO":
                self.wfile.write(b"250-sink\r\n250 AUTH PLAIN\r\n" if safe or not sink.context else b"250-sink\r\n250 STARTTLS\r\n")
            elif verb == "STARTTLS":
                self.wfile.write(b"220 go on\r\n")
                try:
                    secured = sink.context.wrap_socket(self.connection, server_side=True)
                except ssl.SSLError:
                    return  # the client has refused us
                self.rfile, self.wfile, safe = secured.makefile("rb"), secured.makefile("wb", 0), True
            elif verb == "AUTH":
                words = line.decode().split()
                if len(words) == 2:
                    self.wfile.write(b"334 \r\n")
                    words.append(self.rfile.readline().decode().strip())
                sink.authenticated.append(base64.b64decode(words[2]).decode().split("\0")[-2:])
                if sink.authenticated[-1] != ["mailer", sink.password]:
                    self.wfile.write(b"535 no\r\n")
                    continue
                self.wfile.write(b"235 yes\r\n")
                return super().handle_letters()
            else:
                self.wfile.write(b"221 bye\r\n" if verb == "QUIT" else b"530 who are you\r\n")
                if verb == "QUIT":
                    return


def server_context(pair):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    return context


def test_letters_go_over_tls_to_the_right_server_only(new_daemon, scratch):
    known, stranger = Authority(scratch / "mail-known"), Authority(scratch / "mail-stranger")
    good = server_context(known.issue("mail"))
    sink = SafeSink(good)
    server = new_daemon(configuration=f'plugin "accounts" {{ smtp_url = "smtp://localhost:{sink.server_address[1]}", mail_from = "purlin@example.org",'
                        f' smtp_user = "mailer", smtp_password = "right", smtp_ca_file = "{known.certificate}" }}\n')
    client = server.client()

    def send():
        name = a_name()
        assert client.op("accounts.create_user", {"name": name, "password": GOOD, "email": f"{name}@example.org"}).status == 201
        assert public(client, "forgot_password", name=name).status == 200
        return name

    def error_of(name):
        return wait_until(lambda: [row[0] for row in server.sql(f"SELECT error FROM purlin_jobs WHERE payload LIKE '%{name}%' AND error > ''")], 15, "no error")[0]

    name = send()
    letter = wait_until(lambda: sink.to(f"{name}@example.org"), 15, "no letter")[0]
    assert "reset_" in letter and sink.authenticated == [["mailer", "right"]]
    assert [verb for verb, safe in sink.verbs if not safe] == ["EHLO", "STARTTLS"]
    waiting = []
    for context, told in ((server_context(stranger.issue("mail")), "certificate"), (None, "STARTTLS"),
                          (server_context(known.issue("other", "/CN=other", "DNS:other.example")), "localhost")):
        sink.context, sink.verbs, sink.authenticated = context, [], []
        waiting.append(send())
        error = error_of(waiting[-1])
        assert "the mail server did not take a letter" in error and (told in error or "SSL" in error), error
        assert not sink.authenticated and not {verb for verb, _ in sink.verbs} & {"AUTH", "MAIL", "RCPT", "DATA"}, sink.verbs
    sink.context, sink.password = good, "changed"
    waiting.append(send())
    assert "right" not in error_of(waiting[-1]) and sink.authenticated[-1] == ["mailer", "right"]
    assert '"right"' not in server.log_text() and not sink.to(f"{waiting[-1]}@example.org")
    sink.password = "right"
    wait_until(lambda: all(sink.to(f"{name}@example.org") for name in waiting), 60, "a letter was lost")
    client.close()
    server.stop()
    sink.shutdown()
