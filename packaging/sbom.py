#!/usr/bin/env python3
"""sbom.py SOURCE BUILD EPOCH: what the packages that were just made in SOURCE are linked with, as CycloneDX 1.5 on stdout.

Read from the files themselves: each program and library in SOURCE/debian/PACKAGE names what it needs, the linker finds it, dpkg knows whose
it is and of which version; what those need in turn belongs to it, too. Files of other packages that were compiled in are in
the list of commands of the folder BUILD. The same build gives the same document."""
import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import uuid


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def needed(file):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "--dynamic", "--wide", file))


@functools.cache
def libraries():
    """Where the dynamic linker finds each name, of the machine's own kind first."""
    found = {}
    for name, path in re.findall(r"^\s+(\S+) \(.*\) => (\S+)$", output("/sbin/ldconfig", "-p"), re.M):
        found.setdefault(name, os.path.realpath(path))
    return found


@functools.cache
def owner(file):
    """The package of a file: (name, source, version, architecture)."""
    for path in (file, re.sub("^/usr/", "/", file)):  # where / and /usr are one, dpkg may know the other name
        done = subprocess.run(["dpkg-query", "--search", path], capture_output=True, text=True)
        if done.returncode == 0:
            name = done.stdout.split(": ")[0]
            return tuple(output("dpkg-query", "--show", "--showformat=${Package}\t${source:Package}\t${Version}\t${Architecture}", name).split("\t"))
    raise SystemExit(f"sbom.py: no package has {file}")


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def compiled_in(build):
    """Packages whose C files were compiled with ours."""
    commands = json.loads((build / "compile_commands.json").read_text())
    files = {os.path.realpath(os.path.join(entry["directory"], entry["file"])) for entry in commands}
    return {owner(file) for file in files if file.startswith("/usr/")}


def purl(package):
    name, _, version, architecture = package
    system = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    distribution = f"{system['ID']}-{system.get('VERSION_ID', '').strip(chr(34))}"
    return f"pkg:deb/{system['ID']}/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}&distro={distribution}"


def component(package, kind="library", **more):
    name, source, version, _ = package
    return {"type": kind, "bom-ref": purl(package), "name": name, "version": version, "purl": purl(package),
            "properties": [{"name": "debian:source", "value": source}], **more}


def built(source):
    """The packages that were built here, each with its files that are programs or libraries."""
    for control in sorted(source.glob("debian/*/DEBIAN/control")):
        fields = dict(re.findall(r"^(\S+): (.*)$", control.read_text(), re.M))
        tree = control.parents[1]
        files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path))
        yield (fields["Package"], "purlin", fields["Version"], fields["Architecture"]), files


def document(source, build, epoch):
    own = {}  # file name of a library of ours -> its package
    packages = dict(built(source))
    for package, files in packages.items():
        own |= {re.sub(r"(\.so\.\d+).*", r"\1", path.name): package for path in files if ".so." in path.name}
    depends, waiting = {}, []

    def note(package, file):
        for name in needed(file):
            target = own.get(name) or owner(libraries()[name])
            if name not in own:
                waiting.append((target, libraries()[name]))
            if target != package:
                depends.setdefault(package, set()).add(target)

    for package, files in packages.items():
        depends.setdefault(package, set())
        for file in files:
            note(package, file)
    inside = compiled_in(build)
    main = next(package for package in packages if package[0] == "purlin")
    depends[main] |= inside
    seen = set()
    while waiting:
        package, file = waiting.pop()
        depends.setdefault(package, set())
        if file not in seen:
            seen.add(file)
            note(package, file)
    for package in inside:
        depends.setdefault(package, set())
    components = [component(package, "application" if package in packages else "library",
                            **({"licenses": [{"license": {"id": "Apache-2.0"}}]} if package in packages else {}),
                            **({"description": "compiled in"} if package in inside else {}))
                  for package in sorted(depends) if package != main]
    body = {
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
                     "component": component(main, "application", licenses=[{"license": {"id": "Apache-2.0"}}])},
        "components": components,
        "dependencies": [{"ref": purl(package), "dependsOn": sorted(map(purl, depends[package]))} for package in sorted(depends)],
    }
    serial = uuid.UUID(bytes=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()[:16], version=4)
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1, **body}


def main():
    source, build = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    json.dump(document(source, build, int(sys.argv[3])), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
