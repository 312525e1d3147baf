#!/usr/bin/env python3
"""Installs rpms into a scratch root, with their scriptlets, and removes them again: check.py FILE.rpm ...

The root holds what the scriptlets call and the libraries that the programs need, copied from this machine; systemctl is a script that
writes down how it was called. Takes root (chroot)."""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

CALLED = ["sh", "cat", "chroot", "systemd-sysusers", "systemd-tmpfiles"]
RECORDER = '#!/bin/sh\necho "$*" >> /systemctl.calls\n'


def say(what):
    print(f"  {what}", flush=True)


def run(*words, fails=False, **options):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if (done.returncode != 0) != fails:
        sys.exit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def expect(condition, what):
    if not condition:
        sys.exit(f"rpm: {what}")
    say(what)


class Root:
    def __init__(self, folder):
        self.folder = folder
        for path in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "tmp", "dev", "proc", "run/systemd/system", "var/lib", "var/log"):
            (folder / path).mkdir(parents=True)
        for path in ("bin", "sbin", "lib", "lib64"):
            (folder / path).symlink_to(f"usr/{path}")
        (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (folder / "etc/group").write_text("root:x:0:\n")
        (folder / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        (folder / "etc/ld.so.conf").write_text("/usr/lib64\n")
        (folder / "dev/null").write_text("")
        for name in CALLED:
            found = shutil.which(name)
            if not found:
                sys.exit(f"rpm: {name} is not here, which the scriptlets call")
            self.copy(pathlib.Path(found), pathlib.Path("usr/bin") / name)
            self.copy_libraries(found)
        systemctl = folder / "usr/bin/systemctl"
        systemctl.write_text(RECORDER)
        systemctl.chmod(0o755)

    def copy(self, source, target):
        target = self.folder / target
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy2(source.resolve(), target)

    def copy_libraries(self, program):
        listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for path in re.findall(r"(/\S+) \(0x", listed):
            self.copy(pathlib.Path(path), pathlib.Path(path).relative_to("/"))

    def rpm(self, *words, **options):
        return run("rpm", "--root", self.folder, *words, env={**os.environ, "LD_LIBRARY_PATH": "/usr/lib64", "LC_ALL": "C.UTF-8"}, **options)

    def chroot(self, *words, **options):
        return run("chroot", self.folder, *words, env={"PATH": "/usr/sbin:/usr/bin", "LD_LIBRARY_PATH": "/usr/lib64", "HOME": "/"}, **options)

    def chroot_with_proc(self, *words):
        """The same where /proc is needed. False: it cannot be had here."""
        own = ["unshare", "--mount"]
        mounted = 'mount -t proc proc "$0/proc"'
        if subprocess.run([*own, "sh", "-c", mounted, self.folder], capture_output=True).returncode != 0:
            return False
        run(*own, "sh", "-c", f'{mounted} && exec chroot "$0" "$@"', self.folder, *words,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": "/usr/lib64", "HOME": "/"})
        return True

    def called(self):
        calls = self.folder / "systemctl.calls"
        text = calls.read_text() if calls.exists() else ""
        calls.unlink(missing_ok=True)
        return text


def copy_what_programs_need(root, files, scratch):
    """--nodeps leaves it to us, since this may be no machine of the rpms' distribution."""
    for file in files:
        cpio = subprocess.run(["rpm2cpio", file], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["cpio", "--extract", "--make-directories", "--unconditional", "--quiet"], input=cpio, cwd=scratch, check=True)
    for path in scratch.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
            root.copy_libraries(str(path))


def check_installed(root, said):
    expect("Reading /etc/purlin/purlin.lua" in said, "purlin setup told what it did, or what is left to do, and the installation went on")
    passwd = (root.folder / "etc/passwd").read_text()
    user = re.search(r"^purlin:x:(\d+):(\d+):.*:/var/lib/purlin:", passwd, re.M)
    expect(user, "the user purlin is there")
    state = (root.folder / "var/lib/purlin").stat()
    expect((state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (int(user[1]), int(user[2]), 0o750), "the state directory is theirs, 0750")
    expect("preset purlin-spawner.service purlin.service" in root.called(), "the unit was told to systemd")
    expect("/etc/purlin/purlin.lua" in root.rpm("-qc", "purlin"), "purlin.lua is a configuration file")
    expect(root.rpm("-V", "--nodeps", "purlin") == "", "rpm -V finds nothing changed")
    expect(root.chroot("purlin", "--version").startswith("purlin "), "purlin runs")
    checked = root.chroot_with_proc("purlind", "--check")
    say("purlind --check is content: configuration, plugins and policies" if checked else "purlind --check was not tried: /proc cannot be mounted here")


def main(files):
    with tempfile.TemporaryDirectory(prefix="purlin-rpm-") as name:
        folder = pathlib.Path(name)
        (folder / "files").mkdir()
        root = Root(folder / "root")
        wanted = [file for file in files if "debug" not in pathlib.Path(file).name]
        copy_what_programs_need(root, wanted, folder / "files")
        root.rpm("--initdb")
        said = root.rpm("-i", "--nodeps", *wanted)
        run("ldconfig", "-r", root.folder)  # a trigger of glibc's package does, where these are at home
        check_installed(root, said)
        settings = root.folder / "etc/purlin/purlin.lua"
        settings.write_text(settings.read_text() + "-- changed\n")
        (root.folder / "var/lib/purlin/admin.token").write_text("token\n")
        root.rpm("-U", "--nodeps", "--replacepkgs", *wanted)
        expect(settings.read_text().endswith("-- changed\n"), "an upgrade keeps a changed purlin.lua")
        root.called()
        names = {run("rpm", "-qp", "--qf", "%{NAME}", file) for file in wanted}
        root.rpm("-e", "--nodeps", *sorted(names - {"purlin"}))  # in the order that their dependencies ask for
        said = root.rpm("-e", "--nodeps", "purlin")
        calls = root.called()
        expect("kill purlin-spawner.service" in calls and re.search("disable --now .*purlin.service", calls), "a removal stops the service and trainings")
        expect("data is kept" in said and (root.folder / "var/lib/purlin/admin.token").exists(), "and keeps the data, and says so")
        expect((root.folder / "etc/purlin/purlin.lua.rpmsave").exists(), "and the changed purlin.lua")
        left = [path for path in (root.folder / "usr").rglob("*purlin*")]
        expect(not left, f"nothing else of it is left {left or ''}")


if __name__ == "__main__":
    main(sys.argv[1:])
