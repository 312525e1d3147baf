"""A real OpenLDAP server on loopback ports, in a folder of its own."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from daemon import free_port

SLAPD = shutil.which("slapd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/libexec")
SCHEMAS = next((pathlib.Path(f) for f in ("/etc/ldap/schema", "/etc/openldap/schema") if pathlib.Path(f).exists()), None)
MODULES = next((pathlib.Path(f) for f in ("/usr/lib/ldap", "/usr/lib64/openldap", "/usr/lib/openldap") if pathlib.Path(f).exists()), None)
BASE, ROOT, ROOT_PASSWORD = "dc=example,dc=org", "cn=root,dc=example,dc=org", "root's own"
PEOPLE, GROUPS, SEARCHER, SEARCHER_PASSWORD = f"ou=people,{BASE}", f"ou=groups,{BASE}", f"cn=purlin,{BASE}", "search & find"

CONFIGURATION = """
{schemas}
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'userAccountControl' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'accountExpires' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.3 NAME 'nsAccountLock' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.4 NAME 'objectGUID' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'likeActiveDirectory' AUXILIARY MAY ( userAccountControl $ accountExpires $ nsAccountLock $ objectGUID ) )
modulepath {modules}
{loads}
pidfile {folder}/slapd.pid
TLSCACertificateFile {authority}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{root_password}"
directory {folder}/data
maxsize 67108864
dbnosync
index objectClass,uid,member,entryUUID eq
overlay memberof
overlay ppolicy
ppolicy_default "cn=policy,{base}"
"""


def people_ldif():
    person = "objectClass: inetOrgPerson\nobjectClass: likeActiveDirectory\n"
    made = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n",
            *(f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n" for unit in ("people", "groups", "other")),
            f"dn: {SEARCHER}\nobjectClass: simpleSecurityObject\nobjectClass: organizationalRole\ncn: purlin\nuserPassword: {SEARCHER_PASSWORD}\n",
            f"dn: cn=policy,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: policy\npwdAttribute: userPassword\npwdLockout: TRUE\n"
            "pwdMaxFailure: 1000\n"]

    def someone(uid, where=PEOPLE, cn=None, more="", mail=True):
        made.append(f"dn: cn={cn or uid},{where}\n{person}cn: {cn or uid}\nsn: {uid}\nuid: {uid}\nuserPassword: {uid}'s password\n"
                    + (f"mail: {uid}@example.org\n" if mail else "") + more)

    someone("ana", cn="Ana Größe")
    someone("bo", mail=False)
    someone("cy", more="objectGUID:: 3q2+7wECAwQFBgcICQoLDA==\n")
    someone("Eve", cn="Eve")
    someone("disabled", more="userAccountControl: 514\n")
    someone("normal", more="userAccountControl: 512\naccountExpires: 9223372036854775807\nnsAccountLock: false\n")
    someone("expired", more="accountExpires: 132223104000000000\n")
    someone("locked", more="nsAccountLock: TRUE\n")
    someone("shut")
    someone("twin", cn="twin one")
    someone("twin", cn="twin two")
    someone("not a name")
    someone("o*neil(x)")
    someone("both", more="uid: andme\n")
    someone("outside", where=f"ou=other,{BASE}")
    someone("mailless", mail=False, more="mail: no address\n")

    def group(cn, *members, where=GROUPS, more=""):
        made.append(f"dn: cn={cn},{where}\nobjectClass: groupOfNames\ncn: {cn}\n{more}" + "".join(f"member: {m}\n" for m in members))

    ana, bo = f"cn=Ana Größe,{PEOPLE}", f"cn=bo,{PEOPLE}"
    group("ml", ana)
    group("Research", f"cn=ml,{GROUPS}", f"cn=loop,{GROUPS}")
    group("loop", f"cn=Research,{GROUPS}")
    group("staff", ana, bo)
    group("Data Science", ana)
    group("sly", bo, more="cn: owners\n")
    group("admins", bo, where=f"ou=other,{BASE}")
    return "\n".join(made)


class Slapd:
    """Not started yet. `pair` is its certificate and key, `authority` a file."""

    def __init__(self, folder, authority, pair):
        assert SLAPD and SCHEMAS, "install slapd and ldap-utils (Debian), or openldap-servers and openldap-clients (Fedora)"
        self.folder, self.process = pathlib.Path(folder), None
        (self.folder / "data").mkdir(parents=True)
        self.port, self.secure_port = free_port(), free_port()
        self.clear, self.secure = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.secure_port}"
        loads = [f"moduleload {name}" for name in ("back_mdb", "memberof", "ppolicy") if list(MODULES.glob(f"{name}.*"))]
        self.configuration = self.folder / "slapd.conf"
        self.configuration.write_text(CONFIGURATION.format(
            schemas="\n".join(f"include {SCHEMAS}/{name}.schema" for name in ("core", "cosine", "inetorgperson")), modules=MODULES,
            loads="\n".join(loads), folder=self.folder, authority=authority, certificate=pair[0], key=pair[1], base=BASE, root=ROOT,
            root_password=ROOT_PASSWORD))

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([SLAPD, "-f", str(self.configuration), "-h", f"{self.clear} {self.secure}", "-d", "0"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
            try:
                socket.create_connection(("127.0.0.1", self.secure_port), timeout=1).close()
                return self
            except OSError:
                assert time.monotonic() < end, "slapd does not start"
                time.sleep(0.02)

    def fill(self):
        self._client("ldapadd", people_ldif())
        return self

    def _client(self, tool, ldif):
        done = subprocess.run([tool, "-x", "-H", self.clear, "-D", ROOT, "-w", ROOT_PASSWORD], input=ldif, capture_output=True, text=True,
                              env={**os.environ, "LDAPNOINIT": "1"})
        assert done.returncode == 0, done.stderr

    def modify(self, dn, *changes):
        """changes: "add: member" and its value, or "delete: ..." ..."""
        self._client("ldapmodify", f"dn: {dn}\nchangetype: modify\n" + "\n-\n".join(changes) + "\n")

    def delete(self, dn):
        self._client("ldapmodify", f"dn: {dn}\nchangetype: delete\n")

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.go_on()
            self.process.terminate()
            self.process.wait(10)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
