"""exports.py LIBRARY FOLDER: what the library exports and what the headers below FOLDER declare are the same, and each declaration has a
comment: above it, or above the lines that it stands in, or behind it."""
import pathlib
import re
import subprocess
import sys

# The main() of each of our programs: declared in runtime/, for nobody else.
PROGRAMS = {"purlin_daemon_main", "purlin_control_main", "purlin_runner_main"}
DECLARED = re.compile(r"^PURLIN_API\b[^;{]*?\b(purlin_\w+)\([^;]*;(?P<behind>[ \t]*/\*)?", re.MULTILINE)


def declarations(folder):
    """name: where it has no comment, or None."""
    found = {}
    for path in sorted(folder.rglob("*.h")):
        text = path.read_text()
        for match in DECLARED.finditer(text):
            paragraph = text[: match.start()].rpartition("\n\n")[2]
            described = match["behind"] or "*/" in paragraph
            found[match[1]] = None if described else f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
    return found


def exports(library):
    lines = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout.splitlines()
    names = (line.split()[-1].partition("@")[0] for line in lines)
    return {name for name in names if name.startswith("purlin_")}


def main(library, folder):
    declared, exported = declarations(pathlib.Path(folder)), exports(library) - PROGRAMS
    complaints = [f"{where}: {name} has no comment" for name, where in declared.items() if where]
    complaints += [f"{name} is exported, but no header of the SDK declares it" for name in sorted(exported - set(declared))]
    complaints += [f"{name} is declared, but the library does not have it" for name in sorted(set(declared) - exported)]
    if not exported:
        complaints.append(f"{library} exports nothing")
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
