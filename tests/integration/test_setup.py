"""`purlin setup` on a MariaDB of its own: what it makes, what it leaves, and what it says when it cannot."""
import os
import shutil
import tempfile
import pathlib

import pytest

from installation import SERVICE, Installation, MariaDB, make_root


@pytest.fixture(scope="module")
def root():
    folder = make_root()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def shared_database(root):
    folder = root / "db"
    folder.mkdir()
    database = MariaDB(folder, "--skip-log-bin")
    yield database
    database.end()


@pytest.fixture
def database(shared_database):
    """As it was when it was new."""
    yield shared_database
    shared_database.sql("DROP DATABASE IF EXISTS purlin; DROP DATABASE IF EXISTS purlin_a; SET GLOBAL max_connections = 151")
    for user, host in shared_database.sql("SELECT User, Host FROM mysql.global_priv WHERE User NOT IN ('root', 'mariadb.sys', 'mysql', 'PUBLIC', '')"):
        shared_database.sql("DROP USER '" + user.replace("'", "''") + f"'@'{host}'")


@pytest.fixture
def here(root, database):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="i", dir=root))
    folder.chmod(0o755)
    yield Installation(folder, database)


def step(document, words):
    found = [one for one in document["steps"] if words in one["name"]]
    assert len(found) == 1, document
    return found[0]


def test_makes_what_the_service_needs_and_no_more(here):
    code, said, complaints = here.run("setup")
    assert code == 0 and complaints == "", (said, complaints)
    assert "The database purlin: made" in said and f"The user {SERVICE}@localhost: made" in said
    assert f"{here.state}/admin.token" in said and "purlin doctor" in said
    assert here.database.sql("SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'purlin'") == [
        ["utf8mb4", "utf8mb4_nopad_bin"]]
    assert here.database.sql(f"SHOW GRANTS FOR {SERVICE}@localhost") == [
        [f"GRANT USAGE ON *.* TO `{SERVICE}`@`localhost` IDENTIFIED VIA unix_socket"],
        [f"GRANT ALL PRIVILEGES ON `purlin`.* TO `{SERVICE}`@`localhost`"]]
    here.start().end()


def test_again_changes_nothing(here):
    assert here.run("setup")[0] == 0
    here.database.sql("CREATE TABLE purlin.kept (id INT); INSERT INTO purlin.kept VALUES (7)")
    before = here.database.sql(f"SHOW GRANTS FOR {SERVICE}@localhost")
    code, document = here.json("setup")
    assert code == 0 and document["ok"] and {one["outcome"] for one in document["steps"]} == {"ok"}, document
    assert step(document, "The database")["detail"] == "is there" and step(document, "The user")["detail"] == "is there"
    assert document["administrator_token"] == f"{here.state}/admin.token"
    assert here.database.sql("SELECT * FROM purlin.kept") == [["7"]] and here.database.sql(f"SHOW GRANTS FOR {SERVICE}@localhost") == before


def test_check_only_looks(here):
    code, document = here.json("setup", "--check")
    assert code == 1 and not document["ok"]
    assert [one["name"] for one in document["steps"] if one["outcome"] == "failed"] == [
        "The database purlin", f"The user {SERVICE}@localhost", f"The rights of {SERVICE} on purlin"]
    assert all(one["remedy"] == "purlin setup" for one in document["steps"] if one["outcome"] == "failed")
    assert here.database.sql("SHOW DATABASES LIKE 'purlin'") == []
    assert here.run("setup")[0] == 0 and here.run("setup", "--check")[0] == 0
    here.database.sql(f"REVOKE CREATE ON purlin.* FROM {SERVICE}@localhost")
    code, document = here.json("setup", "--check")
    assert code == 1 and step(document, "The rights")["outcome"] == "failed"
    assert here.run("setup")[0] == 0 and here.run("setup", "--check")[0] == 0


def test_a_name_with_an_underscore_is_no_pattern(here):
    here.config.write_text(here.config.read_text().replace('name = "purlin"', 'name = "purlin_a"'))
    assert here.run("setup")[0] == 0 and here.run("setup", "--check")[0] == 0
    here.database.sql("CREATE DATABASE purlinxa")
    try:
        grants = here.database.sql(f"SELECT Db FROM mysql.db WHERE User = '{SERVICE}'")
        assert grants == [[r"purlin\\_a"]], grants
    finally:
        here.database.sql("DROP DATABASE purlinxa")


def test_a_password_over_tcp(here):
    here.configure(f'host = "127.0.0.1", port = {here.database.port}, user = "o\'brien", password = "ge\'heim\\\\", connections = 4')
    # The administrator's way is the socket, which is found where the system has it: without one it is told.
    code, document = here.json("setup")
    if os.path.exists("/run/mysqld/mysqld.sock"):
        pytest.skip("this machine has a MariaDB of its own")
    assert code == 1 and "no socket of MariaDB" in step(document, "Finding")["detail"], document
    here.configure(f'socket = "{here.database.socket}", user = "o\'brien", password = "ge\'heim\\\\", connections = 4')
    code, document = here.json("setup")
    assert code == 0, document
    assert here.database.sql("SELECT User, Host FROM mysql.global_priv WHERE User LIKE 'o%'") == [["o'brien", "localhost"]]
    here.database.sql("ALTER USER `o'brien`@localhost IDENTIFIED BY 'another'")
    code, said, _ = here.run("setup")
    assert code == 1 and "Access denied" in said and "ALTER USER" in said and "geheim" not in said, said


def test_the_names_have_to_be_the_same_over_a_socket(here):
    here.configure(f'socket = "{here.database.socket}", user = "somebody"')
    code, document = here.json("setup")
    failed = step(document, "The user")
    assert code == 1 and "'somebody'" in failed["detail"] and f"'{SERVICE}'" in failed["detail"], failed
    assert f'user = "{SERVICE}"' in failed["remedy"]


def test_a_user_of_that_name_who_is_known_otherwise(here):
    here.database.sql(f"CREATE USER {SERVICE}@localhost IDENTIFIED BY 'x'")
    code, document = here.json("setup")
    failed = step(document, "Connecting as the service")
    assert code == 1 and "Access denied" in failed["detail"]
    command = failed["remedy"]
    assert command == f"mariadb -e \"ALTER USER '{SERVICE}'@'localhost' IDENTIFIED VIA unix_socket\""
    here.database.sql(command.split('"')[1])
    assert here.run("setup")[0] == 0


def test_a_database_of_another_character_set(here):
    here.database.sql("CREATE DATABASE purlin CHARACTER SET latin1")
    code, document = here.json("setup")
    failed = step(document, "The database")
    assert code == 1 and "latin1" in failed["detail"]
    here.database.sql(failed["remedy"].split("'")[1])
    assert here.run("setup")[0] == 0


def test_too_few_connections(here):
    here.database.sql("SET GLOBAL max_connections = 10")
    code, document = here.json("setup")
    assert code == 1 and "it allows 10 connections" in step(document, "Looking")["detail"]


def test_no_database_here(here):
    if os.path.exists("/run/mysqld/mysqld.sock"):
        pytest.skip("this machine has a MariaDB of its own")
    here.configure('socket = "/nowhere/mysqld.sock"')
    code, document = here.json("setup")
    failed = step(document, "Finding MariaDB")
    assert code == 1 and "/nowhere/mysqld.sock" in failed["detail"] and failed["remedy"].endswith("purlin setup"), failed


def test_a_database_elsewhere(here):
    here.configure('host = "127.0.0.2", port = 9, password = "x"')
    code, said, _ = here.run("setup")
    assert code == 1 and "127.0.0.2:9" in said
    for words in ("CREATE DATABASE IF NOT EXISTS `purlin`", "GRANT ALL PRIVILEGES ON `purlin`.* TO 'purlin'@'%'", 'host = "127.0.0.2"', "tls_ca"):
        assert words in said, said


def test_a_database_elsewhere_that_is_ready(here):
    """127.0.0.2 is another machine, as far as the names go."""
    second = here.folder / "db2"
    second.mkdir()
    other = MariaDB(second, "--skip-log-bin", "--bind-address=127.0.0.2")
    try:
        here.configure(f'host = "127.0.0.2", port = {other.port}, user = "purlin", password = "x"')
        code, said, _ = here.run("setup")
        assert code == 1
        for line in said.splitlines():
            if line.strip().endswith(";"):
                other.sql(line.replace("PASSWORD", "x"))
        code, document = here.json("setup")
        assert code == 0 and "serves the database purlin" in step(document, "Connecting")["detail"], document
    finally:
        other.end()


@pytest.mark.parametrize("content, place", [("server { prot = 1 }\n", "purlin.lua:1: "), ("server {\n  port = \n", "purlin.lua:"), ("\0", "purlin.lua")])
def test_a_broken_configuration(here, content, place):
    here.config.write_text(content)
    code, document = here.json("setup")
    assert code == 1 and place in step(document, "Reading")["detail"] and "purlind --check" in step(document, "Reading")["remedy"]


def test_a_configuration_that_is_not_there(here):
    here.config.unlink()
    code, document = here.json("setup")
    assert code == 1 and str(here.config) in step(document, "Reading")["detail"]


def test_as_an_ordinary_user(here):
    code, document = here.json("setup", user="daemon")
    failed = step(document, "Finding MariaDB")
    assert code == 1 and failed["remedy"] == "sudo purlin setup" and "Access denied" in failed["detail"], failed
    assert here.database.sql("SHOW DATABASES LIKE 'purlin'") == []


@pytest.mark.parametrize("arguments, words", [(["--nonsense"], "--nonsense"), (["word"], "'word'"), (["--config"], "--config needs a value")])
def test_wrong_arguments(here, arguments, words):
    code, _, complaints = here.run("setup", *arguments, config=False)
    assert code == 2 and words in complaints and "purlin setup --help" in complaints


def test_help(here):
    code, said, _ = here.run("setup", "--help", config=False)
    assert code == 0 and said.startswith("Usage: purlin setup")
