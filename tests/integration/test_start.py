"""Bad starts: exit code 1, a message that names the place and what to do, and nothing left running. --check finds the same."""
import json
import pathlib
import shutil
import socket
import subprocess
import os

import pytest

from daemon import MARK, PLUGINS, PURLIND, ROOT, wait_until

NOTE_ABI_MAJOR = 20  # offset in the note: three sizes and the owner's eight bytes before it


def run(daemon, *arguments, seconds=30):
    """Runs it to its end: its exit code and what it said."""
    done = subprocess.run(daemon.command + list(arguments), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
                          env={**os.environ, MARK: daemon.mark})
    return done.returncode, done.stdout + done.stderr


def refuses(daemon, *said, also_check=True):
    """Neither --check nor a start accepts it, and each says all of `said`."""
    for arguments in ([["--check"], []] if also_check else [[]]):
        code, text = run(daemon, *arguments)
        assert code == 1, f"{arguments}: {code}: {text}"
        for words in said:
            assert words in text, f"{arguments}: '{words}' is not in: {text}"
        wait_until(lambda: not daemon.left(), 3, f"left running: {daemon.left()}")


def plugin_folder(daemon, *names):
    folder = daemon.folder / "plugins"
    folder.mkdir()
    for name in names or [path.stem for path in PLUGINS.glob("*.so")]:
        shutil.copy(PLUGINS / f"{name}.so", folder)
    return folder


CONFIGURATIONS = {
    "unknown field": ('server {\n  -- prot = 1\n  address = "prot", prot = 8081,\n}\n', ["purlin.lua:3", "prot", "port"]),
    "two wrong fields": ('log {}\nserver {\n  loops = "x",\n\n  prot = 1,\n}\nlocal prot = 7\n', ["purlin.lua:3", "loops", "purlin.lua:5", "prot"]),
    "a name that other sections have, too": ('server { port = 1 }\ndatabase {\n  port = "x" }\n', ["purlin.lua:3", "database", "port"]),
    "unknown field of a list": ('lua {\n  writer = { "a.lua" } }\n', ["purlin.lua:2", "writer", "writers"]),
    "wrong item of a list": ('\nlua { writers = { 7 } }\n', ["purlin.lua:2", "writers"]),
    "swapped letters of a section": ('\n\nsevrer { port = 1 }\n', ["purlin.lua:3", "sevrer", "'server'"]),
    "wrong type": ('server { port = 8080 }\nlog { level = 7 }\n', ["purlin.lua:2", "level"]),
    "not a choice": ('log { level = "loud" }\n', ["purlin.lua:1", "level", "warning"]),
    "out of range": ('\n\nserver { port = 70000 }\n', ["purlin.lua:3", "port", "65535"]),
    "unknown section": ('serve { port = 1 }\n', ["purlin.lua:1", "serve"]),
    "a plugin that is not there": ('\nplugin "storage-s3" { bucket = "x" }\n', ["purlin.lua:2", "storage-s3"]),
    "an unknown field of a plugin": ('\nplugin "storage-fs" { rot = "/tmp" }\n', ["purlin.lua:2", "rot", "root"]),
    "a wrong type in a plugin's section": ('plugin "storage-fs" { root = {} }\n', ["purlin.lua:1", "root"]),
    "a plugin without a configuration": ('plugin "registry" { x = 1 }\n', ["purlin.lua:1", "registry"]),
    "a syntax error": ('server {\n  port = 1\n  address = "x"\n}\n', ["purlin.lua:3"]),
    "an error at run time": ('local x = nil\nserver { port = x.y }\n', ["purlin.lua:2", "nil"]),
    "an endless loop": ('while true do end\n', ["purlin.lua"]),
    "a memory hog": ('local t = {}\nfor i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end\n', ["purlin.lua", "memory"]),
    "what a configuration must not do": ('os.execute("true")\n', ["purlin.lua:1", "os"]),
    "bytecode": ("\x1bLua\x54", ["purlin.lua"]),
    "an unset variable of the environment": ('database { password = env("PURLIN_SURELY_UNSET") }\n', ["purlin.lua:1", "PURLIN_SURELY_UNSET"]),
}


@pytest.mark.parametrize("what", CONFIGURATIONS)
def test_bad_configuration(new_daemon, what):
    text, said = CONFIGURATIONS[what]
    refuses(new_daemon(start=False, configuration=text), *said)


def test_configuration_that_is_not_there(new_daemon):
    refuses(new_daemon(start=False, arguments=["--config", "/no/such/purlin.lua"]), "/no/such/purlin.lua", "No such file")


@pytest.mark.parametrize("arguments, said", [(["--prot", "1"], "--prot"), (["--port"], "--port"), (["--port", "99999"], "99999")])
def test_bad_arguments(arguments, said):
    done = subprocess.run([str(PURLIND), *arguments], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and said in done.stderr


def test_good_configuration_passes_the_check(new_daemon):
    daemon = new_daemon(start=False, configuration='plugin "storage-fs" { root = "/tmp/never-made" }\n')
    code, text = run(daemon, "--check")
    assert code == 0 and "valid" in text and "0 scripts" in text, text
    assert not daemon.left() and not pathlib.Path("/tmp/never-made").exists()


def test_the_shipped_configuration_passes_the_check(new_daemon):
    code, text = run(new_daemon(start=False, configuration=(ROOT / "conf" / "purlin.lua").read_text()), "--check")
    assert code == 0, text


# ---- plugins


def with_plugins(new_daemon, change):
    daemon = new_daemon(start=False)
    folder = plugin_folder(daemon, "registry", "storage-fs")
    change(folder)
    daemon.command[daemon.command.index("--plugins") + 1] = str(folder)
    return daemon


def patch_note(path, offset, size, value):
    data = bytearray(path.read_bytes())
    at = data.index(b"Purlin\0\0") - 12
    data[at + offset:at + offset + size] = value.to_bytes(size, "little")
    path.write_bytes(data)


def test_plugin_that_is_no_shared_object(new_daemon):
    refuses(with_plugins(new_daemon, lambda folder: (folder / "notes.so").write_text("hello")), "notes.so", "ELF")


def test_plugin_that_is_empty(new_daemon):
    refuses(with_plugins(new_daemon, lambda folder: (folder / "empty.so").write_bytes(b"")), "empty.so")


def test_library_that_is_no_plugin(new_daemon):
    library = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/libz.so.1*"))), None) or next(pathlib.Path("/lib").glob("*/libm.so.6"))
    refuses(with_plugins(new_daemon, lambda folder: shutil.copy(library, folder / "other.so")), "other.so", "no Purlin plugin")


@pytest.mark.parametrize("major, advice", [(0, "rebuild"), (9, "newer")])
def test_plugin_of_another_abi(new_daemon, major, advice):
    daemon = with_plugins(new_daemon, lambda folder: patch_note(folder / "registry.so", NOTE_ABI_MAJOR, 2, major))
    refuses(daemon, "registry.so", f"the plugin has {major}", advice)


def test_plugin_of_a_newer_minor_abi(new_daemon):
    daemon = with_plugins(new_daemon, lambda folder: patch_note(folder / "registry.so", NOTE_ABI_MAJOR + 2, 2, 999))
    refuses(daemon, "registry.so", "ABI minor", ".999")


def test_truncated_plugin(new_daemon):
    def cut(folder):
        path = folder / "registry.so"
        path.write_bytes(path.read_bytes()[:5000])

    refuses(with_plugins(new_daemon, cut), "registry.so")


def test_two_plugins_of_one_name(new_daemon):
    refuses(with_plugins(new_daemon, lambda folder: shutil.copy(folder / "registry.so", folder / "zregistry.so")), "registry.so", "zregistry.so")


def test_plugin_without_what_it_needs(new_daemon):
    def change(folder):
        shutil.copy(PLUGINS / "datasets.so", folder)
        (folder / "storage-fs.so").unlink()

    refuses(with_plugins(new_daemon, change), "datasets", "storage")


def test_folder_of_plugins_that_is_not_there(new_daemon):
    refuses(new_daemon(start=False, plugins="/no/such/folder"), "/no/such/folder")


# ---- the world around


def test_port_in_use(new_daemon):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refuses(new_daemon(start=False, arguments=["--port", port]), port, "in use", also_check=False)


def test_address_of_another_machine(new_daemon):
    refuses(new_daemon(start=False, arguments=["--address", "192.0.2.1"]), "192.0.2.1", also_check=False)


def test_database_that_does_not_answer(new_daemon):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        port = closed.getsockname()[1]
        daemon = new_daemon(start=False, dev=False, configuration=f'database {{ host = "127.0.0.1", port = {port} }}\n')
        refuses(daemon, str(port), "127.0.0.1", also_check=False)


def test_database_socket_that_is_not_there(new_daemon):
    daemon = new_daemon(start=False, dev=False, configuration='database { socket = "/no/such.sock" }\n')
    refuses(daemon, "/no/such.sock", also_check=False)


def test_state_directory_in_use(own_server, new_daemon):
    second = new_daemon(start=False)
    second.command[second.command.index("--state") + 1] = str(own_server.state)
    code, text = run(second)
    assert code == 1 and str(own_server.state.resolve()) in text and "another purlind" in text, text
    assert not second.left()
    assert own_server.ready(), "the first one goes on"
    own_server.stop()


def test_state_directory_that_cannot_be(new_daemon):
    daemon = new_daemon(start=False)
    daemon.command[daemon.command.index("--state") + 1] = "/proc/nothing"
    refuses(daemon, "/proc/nothing", also_check=False)


# ---- policies: a bad one refuses itself alone

BAD = {"syntax": "local x = = 1\n", "endless": "while true do end\n", "hog": "local t = {}\nfor i = 1, 1e9 do t[i] = ('x'):rep(10000) .. i end\n",
       "raises": "error('on purpose')\n", "reaches": "io.open('/etc/passwd')\n", "recursive": "local function f() return 1 + f() end\nf()\n"}


@pytest.mark.parametrize("what, text, said", [
    ("syntax", "local x = = 1\n", ["syntax.lua:1"]),
    ("endless", "while true do end\n", ["endless.lua"]),
    ("point", "\npurlin.policy('serving.promte', print)\n", ["point.lua:2", "serving.promte"]),
    ("option", "purlin.route('GET /x', { permision = 'public' }, print)\n", ["option.lua:1", "did you mean 'permission'?"]),
    ("module", "\n\nlocal throttle = require 'throttel'\n", ["module.lua:3", "throttel"]),
])
def test_check_covers_policies(new_daemon, what, text, said):
    daemon = new_daemon(start=False)
    (daemon.policies / "good.lua").write_text("purlin.on('drift.alert', print)\n")
    code, said_of_good = run(daemon, "--check")
    assert code == 0 and "1 script\n" in said_of_good, said_of_good
    (daemon.policies / f"{what}.lua").write_text(text)
    code, answered = run(daemon, "--check")
    assert code == 1 and "good.lua" not in answered, answered
    for words in said:
        assert words in answered, answered
    assert not daemon.left()


def test_check_of_a_folder_of_policies_that_is_not_there(new_daemon):
    daemon = new_daemon(start=False)
    daemon.policies.rmdir()
    code, answered = run(daemon, "--check")
    assert code == 1 and str(daemon.policies) in answered, answered


def test_check_of_the_shipped_policies(new_daemon):
    daemon = new_daemon(start=False)
    daemon.command[daemon.command.index("--policies") + 1] = str(ROOT / "conf" / "policies")
    daemon.command[daemon.command.index("--library") + 1] = str(ROOT / "lua")
    code, answered = run(daemon, "--check")
    assert code == 0 and "1 script\n" in answered, answered


@pytest.mark.parametrize("what", BAD)
def test_bad_policy_is_refused_alone(new_daemon, what):
    daemon = new_daemon(start=False)
    (daemon.policies / f"{what}.lua").write_text(BAD[what])
    daemon.start()
    assert daemon.ready()
    client = daemon.client()
    assert client.post("/api/v1/models", {"name": "m"}).status == 201
    assert [record for record in daemon.records("error") if f"{what}.lua" in record["message"]], daemon.log_text()
    client.close()
    daemon.stop()


# ---- a release beside another one's database

def test_migrations_are_listed_without_a_start(new_daemon):
    daemon = new_daemon(start=False)
    code, text = run(daemon, "--migrations")
    listed = [json.loads(line) for line in text.splitlines()]
    assert code == 0 and {"purlin", "registry", "serving"} <= {one["component"] for one in listed}
    assert not any(one["breaking"] for one in listed)
    narrowing = {one["name"]: one["narrows"] for one in listed if one["component"] == "registry"}
    assert narrowing["0001_models"] == [] and "MODIFY name" in " ".join(narrowing["0002_exact_names"]), narrowing
    assert not daemon.left()
    code, text = run(daemon, "--migrations", "--plugins", "/nowhere")
    assert code == 1 and "/nowhere" in text


def test_database_of_a_newer_release(new_daemon):
    """What it added is no hindrance; what it marked as breaking is."""
    daemon = new_daemon()
    daemon.sql("INSERT INTO purlin_migrations (component, name, statement, checksum, state) VALUES"
               " ('registry', '9000_later', 1, REPEAT('a', 64), 'applied'), ('registry', '9000_later', 0, REPEAT('a', 64), 'applied')")
    daemon.stop()
    daemon.start()
    warned = [record["message"] for record in daemon.records("warning") if "9000_later" in record["message"]]
    assert len(warned) == 1 and "newer release" in warned[0], daemon.log_text()
    daemon.sql("INSERT INTO purlin_migrations (component, name, statement, checksum, state) VALUES"
               " ('registry', '9001_gone', -1, REPEAT('a', 64), 'applied')")
    daemon.stop()
    code, text = run(daemon)
    assert code == 1 and "9001_gone" in text and "purlin restore" in text, text
    wait_until(lambda: not daemon.left(), 5, f"left running: {daemon.left()}")
