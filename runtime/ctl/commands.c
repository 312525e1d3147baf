/* commands.c: the table of everything that `purlin` does by itself: its help, its manual page and the completion of shells are this. */
#include "care/care.h"
#include "ctl/ctl.h"
#include "ctl/credentials.h"

static const manual_option OPTIONS[] = {
    {"--server", "URL", .text = "The server; default $PURLIN_SERVER, http://127.0.0.1:8080"},
    {"--token-file", "FILE",
     .text =
         "A file that holds a token; default $PURLIN_TOKEN, the file $PURLIN_TOKEN_FILE, the session of `purlin login`; for a server of this "
         "machine also var/admin.token and /var/lib/purlin/admin.token",
     .kind = MANUAL_FILE},
    {"--ca-file", "FILE",
     .text = "Who vouches for an https server; default $PURLIN_CA_FILE, those that this machine trusts",
     .kind = MANUAL_FILE},
    {"--workspace", "NAME",
     .text = "Where to act; default $PURLIN_WORKSPACE, that of the key or the one in which you have a role"},
    {"--project", "NAME", .text = "Where what is made belongs, by id or name; default $PURLIN_PROJECT, that of the key"},
    {"--json", NULL, .text = "Print the answer as JSON, never as a table"},
    {"--version", NULL, .text = "Print the version"},
    {"--help", NULL, .text = "Print this; behind a command or an operation, what that one takes"},
};

static const manual_option DEPLOY[] = {
    {"--endpoint", "ENDPOINT", .text = "Where it is served; default the model's name"},
    {"--cause", "WORDS", .text = "Why, for the history of the endpoint"},
};
static const manual_option LOGIN[] = {
    {"--sso", NULL, .text = "Log in with a browser, on any device, at the provider that the server trusts"},
};
/* Commands of care.h: they read their arguments by care_arguments. */
#define CARE(name)                                                                                                         \
  static int name##_command(void *to, const manual_command *about, int count, char **arguments) {                          \
    (void)about;                                                                                                           \
    return care_##name(((const session *)to)->json, count, arguments);                                                     \
  }
CARE(setup)
CARE(doctor)
CARE(upgrade)
CARE(backup)
CARE(backup_list)
CARE(backup_verify)
CARE(restore)

static const manual_option SETUP[] = {
    {"--check", .text = "Only look; exit with 1 when something is missing"},
    {"--config", "FILE", .text = "Another configuration than /etc/purlin/purlin.lua", .kind = MANUAL_FILE},
    {"--json", .text = "One JSON object instead of lines"},
};
static const manual_option DOCTOR[] = {
    {"--config", "FILE", .text = "Another configuration than /etc/purlin/purlin.lua", .kind = MANUAL_FILE},
    {"--json", .text = "One JSON object instead of lines"},
};
static const manual_option UPGRADE[] = {
    {"--to", "apt|FILE.deb|FOLDER", .text = "A package, a folder of packages, or what apt has; again for more",
     .kind = MANUAL_FILE},
    {"--check", .text = "Only try; nothing is changed"},
    {"--resume", .text = "Go on with an upgrade that was interrupted"},
    {"--rollback", .text = "Back to the release before: of an interrupted upgrade, or of the last one"},
    {"--status", .text = "What the last upgrade did, or where an interrupted one is"},
    {"--backup", "DIR", .text = "Where the backup goes; default /var/backups/purlin", .kind = MANUAL_FOLDER},
    {"--without-backup", .text = "Make none"},
    {"--token-file", "FILE",
     .text = "Whose token asks the server before and after; again for other workspaces; default STATE/admin.token",
     .kind = MANUAL_FILE},
    {"--without-answers", .text = "Compare nothing; then the server need not run"},
    {"--old", "FILE.deb", .text = "A copy of an installed package, where apt has none; again for more",
     .kind = MANUAL_FILE},
    {"--breaking", .text = "Go on although the installed release cannot work with what the new one makes of the database"},
    {"--wait", "SECONDS", .text = "How long the daemon may take to be ready; default 300"},
    {"--service", "PROGRAM", .text = "Is called as PROGRAM start|stop|status purlin, where there is no systemd",
     .kind = MANUAL_FILE},
    {"--config", "FILE", .text = "Another configuration than /etc/purlin/purlin.lua", .kind = MANUAL_FILE},
    {"--json", .text = "One JSON object at the end, instead of lines"},
};
static const manual_option BACKUP[] = {
    {"--to", "DIR", .text = "A folder of backups; made when it is not there", .kind = MANUAL_FOLDER, .required = true},
    {"--encrypt-to", "KEY",
     .text = "Encrypted by age to this recipient (age1...); nothing lies there in the clear but names and sizes"},
    {"--with-secrets",
     .text = "Keys, the first administrator's token, purlin.lua and policies too, though it is not encrypted"},
    {"--keep", "N", .text = "Then only the N newest backups stay"},
    {"--config", "FILE", .text = "Another configuration than /etc/purlin/purlin.lua", .kind = MANUAL_FILE},
    {"--json", .text = "One JSON object instead of lines"},
};
static const manual_option BACKUP_LIST[] = {
    {"--json", .text = "One JSON object instead of lines"},
};
static const manual_option BACKUP_VERIFY[] = {
    {"--name", "NAME", .text = "Only this one"},
    {"--identity", "FILE", .text = "The age identity: what is encrypted is decrypted and looked at, too",
     .kind = MANUAL_FILE},
    {"--json", .text = "One JSON object instead of lines"},
};
static const manual_option RESTORE[] = {
    {"--name", "NAME", .text = "This one; default the newest"},
    {"--until", "TIME",
     .text = "Not the backup's moment but this one (2026-11-21T19:00:00Z, whole seconds), by MariaDB's binary logs"},
    {"--identity", "FILE", .text = "The age identity, where the backup is encrypted", .kind = MANUAL_FILE},
    {"--force", .text = "Though there are data: tables are replaced, folders of files are put aside"},
    {"--configuration-to", "DIR", .text = "purlin.lua and policies too, where the backup has them, to this folder",
     .kind = MANUAL_FOLDER},
    {"--config", "FILE", .text = "Another configuration than /etc/purlin/purlin.lua: it says where the data go",
     .kind = MANUAL_FILE},
    {"--json", .text = "One JSON object instead of lines"},
};
static const manual_option RECOVER[] = {
    {"--state", "DIR", .text = "The server's state directory; default /var/lib/purlin", .kind = MANUAL_FOLDER},
};
static const manual_option VERIFY[] = {
    {"--head", "RECEIPT",
     .text = "What `purlin audit head` answered, or STATE/audit.heads: nothing may be missing or changed since",
     .kind = MANUAL_FILE},
    {"--key", "PEM", .text = "The public key by which the heads must be signed", .kind = MANUAL_FILE},
};

static const manual_command COMMANDS[] = {
    {"", .summary = "This, and the plugins of the server", .group = "Operations of the server"},
    {"", "PLUGIN", .summary = "Its operations"},
    {"", "PLUGIN OPERATION --help", .summary = "Its fields"},
    {"models deploy", "NAME@ALIAS | NAME/VERSION | NAME", "Serve a model of the registry", MANUAL_OPTIONS(DEPLOY)},

    {"login", "[NAME]", "Log in with a password, once for many commands",
     "Asks for the password, or reads it from standard input. Keeps the session's tokens in "
     "`~/.config/purlin/credentials.json`; they renew themselves.",
     MANUAL_OPTIONS(LOGIN), .group = "Who you are", .run = login_command},
    {"logout", .summary = "End the session that `purlin login` began, and delete its tokens here", .run = logout_command},

    {"setup", .summary = "Make the server's database and that database's user",
     .text =
         "Makes them in the MariaDB of this machine, as root over its Unix socket: nothing is asked, and what is there stays. Where the "
         "database is elsewhere, it prints what its administrator has to run.",
     MANUAL_OPTIONS(SETUP), .group = "On the server's host", .run = setup_command},
    {"doctor", .summary = "Whether the installation is well, and what mends it",
     .text =
         "Looks at the configuration, plugins, permissions, certificates, disks, the clock, the database, units, the server that answers, and "
         "what an upgrade has left. Each line says ok, warning or problem, why, and the command that mends it. Root sees all; others are "
         "told what they could not look at. Nothing is changed.\n"
         "\n"
         "Exit codes: 0 no problem, though there may be warnings; 1 problems; 2 wrong arguments",
     MANUAL_OPTIONS(DOCTOR), .run = doctor_command},
    {"upgrade", .summary = "Another release in the place of the installed one, or everything as it was",
     .text =
         "First the new release is tried as far as that goes without changing anything: its packages, what it thinks of the configuration, "
         "the policies and the plugins, what it would do to the database. Then a backup is made, what the server answers is remembered, "
         "the packages are installed, and the server must answer the same as before: an operation of each plugin, a prediction of each "
         "model. Whatever fails after that, the release of before comes back by itself.\n"
         "\n"
         "What has begun and what is done stands in `/var/lib/purlin-upgrade`: an upgrade that was killed is gone on with by `--resume`.\n"
         "\n"
         "Exit codes: 0 done; 1 it failed, and what is installed is as it was, unless it says otherwise; 2 wrong arguments",
     MANUAL_OPTIONS(UPGRADE), .run = upgrade_command},
    {"backup", .summary = "Take database and files along, while the server serves",
     .text = "Of files only what is new since the last backup in the folder is copied.", MANUAL_OPTIONS(BACKUP),
     .run = backup_command},
    {"backup list", "DIR", "The backups in a folder", MANUAL_OPTIONS(BACKUP_LIST), .operand_kind = MANUAL_FOLDER,
     .run = backup_list_command},
    {"backup verify", "DIR", "Whether all that backups need is there and unchanged", MANUAL_OPTIONS(BACKUP_VERIFY),
     .operand_kind = MANUAL_FOLDER, .run = backup_verify_command},
    {"restore", "DIR", "Bring a backup back",
     "Onto a machine without data, while its server is stopped: the database, compared with the backup table by table, and files, each with "
     "its SHA-256. Killed, it is run again.",
     MANUAL_OPTIONS(RESTORE), .operand_kind = MANUAL_FOLDER, .run = restore_command},
    {"admin recover", .summary = "A new administrator's key, at the server's next start",
     .text = "On the server's host, as who may write its state directory.", MANUAL_OPTIONS(RECOVER),
     .run = recover_command},

    {"plugin show", "FILE.so", "A plugin's manifest as documentation", .operand_kind = MANUAL_FILE,
     .group = "Plugins and what they bring", .run = plugin_show_command},
    {"plugin manual", "FILE.so", "The same as a manual page, in roff", .operand_kind = MANUAL_FILE,
     .run = plugin_manual_command},
    {"plugin check", "FILE.so", "Whether this release can load it", .operand_kind = MANUAL_FILE,
     .run = plugin_check_command},
    {"plugin new", "NAME", "A plugin to begin with, in the folder NAME", .run = plugin_new_command},
    {"import", "mlflow URL [OPTION ...]", "Copy what an MLflow server holds into this one",
     "`purlin import mlflow --help` tells more.", .choices = "mlflow", .run = import_command, .raw = true},
    {"audit verify", "FILE", "Whether an exported audit log is whole, without a server",
     "Checks an exported audit log (GET /api/v1/audit/export) without a server: that no entry was changed, moved, taken away or cut off "
     "since RECEIPT was kept, and that both are signed with the key PEM.\n"
     "\n"
     "Exit codes: 0 whole; 1 not, or it cannot be read; 2 wrong arguments",
     MANUAL_OPTIONS(VERIFY), .operand_kind = MANUAL_FILE, .run = audit_command, .shared = true},
};

static const char *const SYNOPSIS[] = {"[OPTION ...] PLUGIN OPERATION [--FIELD VALUE ...]",
                                       "[OPTION ...] COMMAND [ARGUMENT ...]"};

static const manual_term ENVIRONMENT[] = {
    {"PURLIN_SERVER", "The server, where `--server` does not name it."},
    {"PURLIN_TOKEN", "A token."},
    {"PURLIN_TOKEN_FILE", "A file that holds one."},
    {"PURLIN_CA_FILE", "Who vouches for an https server."},
    {"PURLIN_WORKSPACE", "Where to act."},
    {"PURLIN_PROJECT", "Where what is made belongs."},
    {"XDG_CONFIG_HOME", "Where `purlin login` keeps tokens; default `~/.config`."},
    {"XDG_CACHE_HOME", "Where completion keeps what it was told of servers, for a minute; default `~/.cache`."},
    {"NO_COLOR", "Set to anything: no colours."},
};
static const manual_term FILES[] = {
    {"~/.config/purlin/credentials.json", "The tokens of `purlin login`; nobody else may read it."},
    {"/var/lib/purlin/admin.token", "The first administrator's token, which the daemon writes at its first start."},
};
static const manual_chapter CHAPTERS[] = {
    {"FIELDS OF OPERATIONS",
     "A field is a flag: `--keep-days 30`, or `--keep-days=30`; one that is true or false may stand alone. A list is a flag for each item, or "
     "JSON. Instead of flags the whole input may be given as one argument of JSON that begins with `{`, or on standard input with `-`.\n"
     "\n"
     "What is printed is a table where an answer is one list, else JSON; `--json` is always JSON.",
     .terms = NULL},
    {"ENVIRONMENT", NULL, MANUAL_ALL(ENVIRONMENT)},
    {"FILES", NULL, MANUAL_ALL(FILES)},
    {"EXAMPLES",
     "What the server can do, and what one operation takes:\n"
     "\n"
     "    purlin\n"
     "    purlin registry create-model --help\n"
     "\n"
     "A model is registered, and a version of it is served:\n"
     "\n"
     "    purlin registry create-model --name churn --description 'Who leaves'\n"
     "    purlin models deploy churn@champion",
     .terms = NULL},
};

const manual_program ctl_manual = {
    .name = "purlin",
    .section = "1",
    .summary = "the command line of Purlin",
    .synopsis = SYNOPSIS,
    .synopsis_count = sizeof SYNOPSIS / sizeof SYNOPSIS[0],
    .text =
        "Calls the operations of a Purlin server. It knows none of them by itself: which there are and what they take it reads from the "
        "server, so each plugin that runs there is here, too. A plugin's own page is `purlin-PLUGIN`(1), that "
        "of what each server can do `purlin-runtime`(1).",
    .options = OPTIONS,
    .option_count = sizeof OPTIONS / sizeof OPTIONS[0],
    .commands = COMMANDS,
    .command_count = sizeof COMMANDS / sizeof COMMANDS[0],
    .chapters = CHAPTERS,
    .chapter_count = sizeof CHAPTERS / sizeof CHAPTERS[0],
    .exits = "0 done; 1 refused or failed; 2 wrong arguments; 3 no server answered",
    .see_also = "`purlin-runtime`(1), `purlind`(8), `purlin.lua`(5)",
};

bool ctl_is_own_word(const char *word) {
  size_t size = strlen(word);
  bool own = false;
  for (size_t i = 0; i < ctl_manual.command_count && size > 0; i++) {
    const manual_command *about = &ctl_manual.commands[i];
    if (strncmp(about->words, word, size) != 0 || about->words[size] != ' ') continue;
    if (!about->run || about->shared) return false;
    own = true;
  }
  return own;
}
