"""What may follow on a command line: asked of the commands themselves, and by pressing the key in bash, zsh and fish."""
import os
import pathlib
import pty
import re
import select
import shutil
import stat
import subprocess
import time

import pytest

from daemon import BUILD

PURLIN, PURLIND = BUILD / "bin" / "purlin", BUILD / "bin" / "purlind"
SCRIPTS = pathlib.Path(__file__).parents[2] / "packaging" / "completion"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def environment(home, url, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PURLIN_", "XDG_"))}
    return {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PURLIN_SERVER": url, "TERM": "dumb", "LANG": "C.UTF-8",
            "PATH": f"{PURLIN.parent}:{os.environ['PATH']}", **more}


def url_of(server):
    return f"http://127.0.0.1:{server.port}"


def ask(home, url, *words, program=PURLIN, **more):
    """Candidates and what is said of them."""
    done = subprocess.run([str(program), "__complete", *words], capture_output=True, text=True, timeout=30, cwd=home, env=environment(home, url, **more))
    assert (done.returncode, done.stderr) == (0, "")
    return dict((line.split("\t") + [""])[:2] for line in done.stdout.splitlines())


# ---- What purlin knows by itself -------------------------------------------------------------------------------------------------


def test_without_a_server_its_own_commands_are_there(home):
    offered = ask(home, NOWHERE, "")
    assert {"login", "logout", "plugin", "admin", "import"} <= set(offered) and offered["login"].startswith("Log in")
    assert set(ask(home, NOWHERE, "plugin", "")) == {"show", "manual", "check", "new"}
    assert set(ask(home, NOWHERE, "audit", "ver")) == {"verify"}
    assert {"list", "verify", "--to"} <= set(ask(home, NOWHERE, "backup", "")), "a command may be the first word of others"
    assert ask(home, NOWHERE, "registry", "") == {} and ask(home, NOWHERE, "registry", "get-model", "--") != {"--name": ""}


def test_options_and_their_values(home):
    assert set(ask(home, NOWHERE, "--")) == {"--server", "--token-file", "--ca-file", "--workspace", "--project", "--json", "--version", "--help"}
    assert set(ask(home, NOWHERE, "--token-file", "")) == {":files"}
    assert ask(home, NOWHERE, "--server", "") == {}
    assert "login" in ask(home, NOWHERE, "--json", "--server", "http://127.0.0.1:2", "log")
    assert set(ask(home, NOWHERE, "audit", "verify", "")) == {":files"}
    assert set(ask(home, NOWHERE, "audit", "verify", "x", "--")) == {"--head", "--key", "--help"}
    assert set(ask(home, NOWHERE, "admin", "recover", "--state", "")) == {":folders"}
    assert set(ask(home, NOWHERE, "import", "")) == {"mlflow"}


def test_the_daemon_knows_its_own(home):
    offered = ask(home, NOWHERE, "--p", program=PURLIND)
    assert set(offered) == {"--plugins", "--policies", "--port"} and "0 takes any free one" in offered["--port"]
    assert set(ask(home, NOWHERE, "--dev", "--config", "", program=PURLIND)) == {":files"}
    assert set(ask(home, NOWHERE, "--state", "", program=PURLIND)) == {":folders"}


def test_each_option_of_help_is_known(home):
    """The table is what --help prints; what reads the arguments knows the same."""
    for program in (PURLIN, PURLIND):
        text = subprocess.run([str(program), "--help"], capture_output=True, text=True, timeout=30).stdout
        options = re.findall(r"^  (--[a-z-]+) [A-Z]+", text, re.M)
        assert len(options) >= 5
        for option in options:
            done = subprocess.run([str(program), option], capture_output=True, text=True, timeout=30)
            assert done.returncode == 2 and f"{option} needs a value" in done.stderr


def test_each_option_of_a_command_is_known(home):
    text = subprocess.run([str(PURLIN), "--help"], capture_output=True, text=True, timeout=30).stdout
    commands = [words for words in re.findall(r"^  purlin ([a-z]+(?: [a-z]+)?)", text, re.M) if words != "models deploy"]
    assert {"setup", "backup", "restore", "upgrade", "doctor", "audit verify"} <= set(commands)
    for words in commands:
        told = subprocess.run([str(PURLIN), *words.split(), "--help"], capture_output=True, text=True, timeout=30)
        assert (told.returncode, told.stderr) == (0, "")
        for option in re.findall(r"^  (--[a-z-]+) \S", told.stdout, re.M):
            done = subprocess.run([str(PURLIN), *words.split(), option], capture_output=True, text=True, timeout=30, cwd=home)
            assert done.returncode == 2 and f"{option} needs a value" in done.stderr, (words, option, done.stderr)


# ---- What the server knows ----------------------------------------------------------------------------------------------------------


def test_plugins_operations_fields_and_values_come_from_the_server(home, server):
    url = url_of(server)
    assert {"registry", "jobs", "models", "login"} <= set(ask(home, url, ""))
    offered = ask(home, url, "registry", "")
    assert offered["create-model"] == "Register a model" and not any("_" in name for name in offered)
    assert set(ask(home, url, "audit", "")) >= {"verify", "list"}
    assert {"--name", "--json", "--help"} <= set(ask(home, url, "registry", "get-model", "--"))
    assert {"waiting", "running"} <= set(ask(home, url, "jobs", "list", "--state", ""))
    assert set(ask(home, url, "jobs", "list", "--state", "ru")) == {"running"}
    assert {"true", "false"} == set(ask(home, url, "storage-fs", "collect", "--dry-run", ""))
    assert "--after" in ask(home, url, "storage-fs", "collect", "--dry-run", "--"), "a boolean may stand alone"
    assert ask(home, url, "registry", "get-model", "--name", "") == {}, "a value that nobody knows"
    assert set(ask(home, url, "models", "")) == {"deploy"} and "--endpoint" in ask(home, url, "models", "deploy", "x", "--")
    assert "create-model" in ask(home, url, "help", "registry", "cre")
    assert {"list"} <= set(ask(home, NOWHERE, "--server", url, "jobs", "li")), "the server that the line names is asked"


def test_the_answer_is_kept_for_a_minute_by_its_owner_alone(home, server):
    url = url_of(server)
    ask(home, url, "registry", "")
    folder = home / "cache" / "purlin"
    kept, = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE(kept.stat().st_mode) == 0o600
    text = kept.read_text()
    kept.write_text(text.replace("Register a model", "Said by the cache"))
    assert ask(home, url, "registry", "create-m")["create-model"] == "Said by the cache"
    os.utime(kept, (time.time() - 90,) * 2)
    assert ask(home, url, "registry", "create-m")["create-model"] == "Register a model", "an old answer is asked for again"
    os.utime(kept, (time.time() + 3600,) * 2)
    kept.write_text(text[:1000])
    assert ask(home, url, "registry", "create-m")["create-model"] == "Register a model", "a broken one, too"


def test_what_others_could_have_written_is_not_read(home, server):
    url = url_of(server)
    ask(home, url, "registry", "")
    folder = home / "cache" / "purlin"
    kept, = folder.iterdir()
    forged = kept.read_text().replace("Register a model", "forged")
    kept.write_text(forged)
    kept.chmod(0o644)
    assert ask(home, url, "registry", "create-m")["create-model"] == "Register a model"
    kept.write_text(forged)
    folder.chmod(0o777)
    assert ask(home, url, "registry", "create-m")["create-model"] == "Register a model"
    folder.chmod(0o700)
    (home / "elsewhere").write_text(forged)
    (home / "elsewhere").chmod(0o600)
    kept.unlink()
    kept.symlink_to(home / "elsewhere")
    assert ask(home, url, "registry", "create-m")["create-model"] == "Register a model"
    assert (home / "elsewhere").read_text() == forged, "nothing is written through a link"
    assert set(ask(home, url, "jobs", "li", XDG_CACHE_HOME="/proc/none")) >= {"list"}, "without a cache it works as well"


# ---- The shells -------------------------------------------------------------------------------------------------------------------------


class Shell:
    """A shell on a terminal of its own."""

    def __init__(self, words, home, url):
        self.own, its = pty.openpty()
        self.process = subprocess.Popen(words, stdin=its, stdout=its, stderr=its, cwd=home, env=environment(home, url, PS1="$ "), start_new_session=True)
        os.close(its)
        self.seen = ""

    def type(self, text, until, seconds=20):
        """What is on the screen once `until` is."""
        self.seen = ""
        os.write(self.own, text.encode())
        end = time.monotonic() + seconds
        while not re.search(until, self.seen) and time.monotonic() < end:
            if select.select([self.own], [], [], 0.1)[0]:
                self.seen += os.read(self.own, 65536).decode(errors="replace")
        assert re.search(until, self.seen), (until, self.seen)
        return self.seen

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.own)


@pytest.fixture
def shell(home):
    made = []

    def make(words, url):
        made.append(Shell(words, home, url))
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_bash(home, server, shell):
    (home / "some file.pem").write_text("")
    bash = shell(["bash", "--norc", "--noprofile", "-i"], url_of(server))
    bash.type("bind 'set show-all-if-ambiguous on'; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'\n", r"\$ ")
    bash.type(f". {SCRIPTS}/purlin.bash; echo re''ady\n", "ready")
    bash.type("purlin regis\t", r"purlin registry ")
    bash.type("create-m\t", r"create-model ")
    bash.type("--na\t", r"--name ")
    bash.type("x\x15purlin jobs list --state r\t", r"--state running ")
    bash.type("\x15purlin plugin \t", r"check\s+manual\s+new\s+show")
    bash.type("\x15purlind --conf\t", r"--config ")
    bash.type("some\t", r"some\\ file\.pem ")
    # Words with signs at which bash breaks.
    bash.type(f"\x15purlin --server {url_of(server)} registry create-m\t", r"create-model ")
    bash.type("\x15purlin models deploy a@b --endp\t", r"--endpoint ")
    bash.type("\x15purlin registry create-model --name 'a b' --descr\t", r"--description ")
    bash.type(f"\x15PURLIN_SERVER={NOWHERE} \x15export PURLIN_SERVER={NOWHERE}; echo un''set\n", "unset")
    bash.type("purlin logi\t", r"login ")
    assert "no server" not in bash.type("\x15purlin regis\t\t\x15echo qui''et\n", "quiet")


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh")
def test_zsh(home, server, shell):
    zsh = shell(["zsh", "-f", "-i"], url_of(server))
    zsh.type(f"unsetopt zle_bracketed_paste; PS1='$ '; fpath=({SCRIPTS} $fpath); autoload -U compinit; compinit -u -D; LISTMAX=1000; echo re''ady\n", "ready\r")
    zsh.type("purlin regis\t", r"registry ")
    zsh.type("create-m\t", r"create-model ")
    zsh.type("--na\t", r"--name ")
    zsh.type("\x15purlin jobs list --state r\t", r"running ")
    zsh.type("\x15purlin plugin \t", r"(?s)show +-- A plugin's manifest.*new +-- ")
    zsh.type("\x15purlind --conf\t", r"--config ")


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish")
def test_fish(home, server):
    def complete(line, url=url_of(server)):
        done = subprocess.run(["fish", "--no-config", "-c", f"source {SCRIPTS}/purlin.fish; complete -C '{line}'"], capture_output=True, text=True,
                              timeout=60, cwd=home, env=environment(home, url))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    assert "registry" in complete("purlin regis")
    assert complete("purlin registry create-m") == ["create-model\tRegister a model"]
    assert complete("purlin jobs list --state ru") == ["running"]
    assert [line.split("\t")[0] for line in complete("purlind --conf")] == ["--config"]
    (home / "server.pem").write_text("")
    assert any(line.startswith("server.pem") for line in complete("purlin --ca-file serv"))
    assert complete("purlin regis", NOWHERE) == []
