"""Packages as a user gets them: a local apt repository of dist/*.deb, and the same packages under other versions."""
import gzip
import hashlib
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def packages(folder):
    """The packages to install, without those of debug symbols."""
    return sorted(path for path in pathlib.Path(folder).glob("*.deb") if "-dbgsym_" not in path.name)


def field(deb, name):
    return subprocess.run(["dpkg-deb", "--field", deb, name], check=True, capture_output=True, text=True).stdout.strip()


def version(folder):
    """The version of the package purlin in a folder."""
    return next(field(deb, "Version") for deb in packages(folder) if field(deb, "Package") == "purlin")


def wanted(folder):
    """The names of what the distribution must provide for these packages, dependencies and recommendations."""
    names = set()
    for deb in packages(folder):
        if field(deb, "Package") == "purlin-dev":
            continue  # compilers
        for relation in ("Pre-Depends", "Depends", "Recommends"):
            for entry in field(deb, relation).split(","):
                name = re.split(r"[\s(:|]", entry.strip())[0]
                if name and not name.startswith("purlin"):
                    names.add(name)
    return sorted(names)


def publish(folder, target):
    """Copies the packages to the target folder and writes its index: `deb [trusted=yes] file:TARGET ./`."""
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    entries = []
    for deb in packages(folder):
        shutil.copy2(deb, target)
    for deb in sorted(target.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout.rstrip("\n")
        content = deb.read_bytes()
        entries.append(f"{control}\nFilename: ./{deb.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n")
    (target / "Packages").write_text("\n".join(entries))
    with gzip.open(target / "Packages.gz", "wt") as file:
        file.write("\n".join(entries))


def rewrite(folder, target, number, change=None):
    """The packages of a folder again under another version, in the target folder: the previous release, or the next one.

    change(name, tree) may alter the files of a package before it is closed."""
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for deb in packages(folder):
        name, old = field(deb, "Package"), field(deb, "Version")
        tree = target / f"{name}.tree"
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        control = tree / "DEBIAN" / "control"
        text = control.read_text().replace(f"Version: {old}\n", f"Version: {number}\n").replace(f"(= {old})", f"(= {number})")
        control.write_text(text)
        if change:
            change(name, tree)
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", "-z1", tree, target], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(tree)
    return target
