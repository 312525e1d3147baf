-- /etc/purlin/purlin.lua: the configuration of purlind. `purlind --check` says what is wrong, with file and line.
-- Every setting of the daemon is here, with its default. What has none, and what is an example ("such as"), is commented out or says so.

server {
  address = "127.0.0.1",
  port = 8080,
  state = "/var/lib/purlin",
  loops = 0,                             -- event-loop threads; 0: one per core
  drain_seconds = 10,                    -- how long requests in flight may take when the daemon stops
  request_timeout_ms = 30000,            -- deadline of a request, where it names none
  idle_timeout_ms = 75000,               -- how long a connection may wait for its next request
  write_timeout_ms = 30000,              -- a client that takes nothing of an answer for so long is cut off
  max_body_bytes = 8388608,              -- largest body, where a route names no limit
  max_connections = 10000,
  max_connections_per_address = 512,     -- but for trusted proxies; of IPv6 for each /64; 0: no limit
  trusted_proxies = {},                  -- whose X-Forwarded-For counts, such as "10.0.0.0/8"
  monitors = {},                         -- who reads /metrics and the details of /readyz without a credential, such as "10.0.3.7"
  -- url = "https://purlin.example.org", -- where others reach this server: letters, single sign-on; default http(s)://ADDRESS:PORT
}

-- tls {                                  -- the port speaks TLS 1.2 and 1.3; changed files are used without a restart
--   certificate = "/etc/purlin/tls/server.pem", key = "/etc/purlin/tls/server.key",
--   minimum = "1.2",
--   ciphers = "...", ciphersuites = "...",              -- of TLS 1.2 and 1.3, as `openssl ciphers` takes them; default the safe ones
--   redirect_port = 0, redirect_health = false,         -- a port in the clear that sends browsers to https, such as 80; 0: none
--   hsts_days = 180, hsts_subdomains = false,
--   client_ca = "/etc/purlin/tls/clients.pem", client_certificate = "optional",     -- or "required"
-- }

database {
  socket = "/run/mysqld/mysqld.sock",    -- Debian's; without it, host and port
  -- host = "127.0.0.1", port = 3306, password = file("/etc/purlin/db.password"),
  user = "purlin",
  name = "purlin",
  connections = 16,                      -- in all, beside four of each event loop (leases and health, many rows at once)
  -- tls_ca = "/etc/purlin/db-ca.pem",   -- with host: who vouches for MariaDB's certificate; then nothing goes in the clear
  -- tls_certificate = "/etc/purlin/db.pem", tls_key = "/etc/purlin/db.key",  -- our own, where MariaDB wants one
}
-- A password comes from elsewhere: env("NAME"), file("PATH"), which others may not be able to read, or credential("NAME") of systemd.

-- Keys that seal secrets in the database: the first seals, each opens. The same on all nodes. Default: STATE/secrets.key, made at the
-- first start. A new one: `openssl rand -hex 32`; put it first, restart, wait until `purlin secrets status` tells 0 left, take the old away.
-- secrets { keys = { "/etc/purlin/secrets.key" } }        -- or "credential:NAME" of systemd, or env("NAME")

log { level = "info", format = "auto", access = "off" }    -- access: off, stderr, or a file

jobs { concurrency = 64, lease_seconds = 30 }              -- on this node; those of a node that is gone start elsewhere after the lease

audit { retention_days = 0, head_seconds = 5 }             -- after so many days the content of entries goes, 0: never; between signed heads

lua {
  policies = "/etc/purlin/policies",
  library = "/usr/share/purlin/lua",
  writers = {},                          -- scripts that may change rows by purlin.db.execute, such as "cleanup.lua"
  memory_mb = 16,                        -- of a script on a loop
  timeout_ms = 60000,                    -- of a run of an event rule, and of what comes round
}

-- How often somebody may ask: per address, actor, credential or workspace. All rules that fit hold; default none.
-- limits { rules = {
--   { name = "addresses", per = "address", requests = 600, seconds = 60 },
--   { name = "writes", per = "actor", operations = "registry.*", requests = 100, seconds = 60, burst = 20 },
-- } }

-- Whose pages may call this server from a browser, such as "https://app.example.org"; with credentials they also read what its session sees.
cors { origins = {}, credentials = false, max_age_seconds = 600 }

-- Where calls to others may go beside public addresses: addresses, networks and hosts inside, with a port or without.
-- outbound { allow = { "10.1.0.0/16", "[fd00::1]:443", "mail.internal:25" }, environment_proxies = false }

plugins {
  folders = { "/usr/lib/purlin/plugins" },
  disabled = {},                         -- by name, such as "drift"
}

-- A plugin is configured by its name; `purlin plugin show FILE.so` lists all its settings.
-- plugin "storage-fs" { root = "/srv/blobs",               -- default STATE/blobs
--   grace_s = 86400, collect_every_s = 3600,               -- bytes that nothing names any more go; 0: they stay
--   verify_again_s = 3600 }                                -- how long a file that was found right is not hashed again; 0: it is each time
-- plugin "tracking" { keep_deleted_days = 0 }              -- deleted runs and experiments are purged after so many; 0: never
-- plugin "training" { memory_mb = 0 }                      -- of each process of a training, in a control group of all; 0: three quarters of the machine's
-- plugin "trainer-process" { allow = { "/opt/training/bin/" } }  -- which programs may run; default none
-- plugin "serving" { prediction_days = 90, prediction_rows = 0 } -- how long predictions are kept, and how many; 0: no limit
-- plugin "traces" { keep_days = 90 }                       -- after which traces go; 0, the default: never
-- plugin "accounts" { registration = "verified", registration_role = "viewer",  -- or "closed" (the default), "open"
--   smtp_url = "smtp://mail.example.org:587", smtp_user = "purlin", smtp_password = env("PURLIN_SMTP_PASSWORD"), mail_from = "purlin@example.org" }
-- plugin "auth-ldap" {                                     -- people of LDAP or Active Directory log in with their password there
--   urls = { "ldaps://ldap1.example.org", "ldaps://ldap2.example.org" },
--   bind_dn = "cn=purlin,dc=example,dc=org", bind_password = env("PURLIN_LDAP_PASSWORD"),
--   base = "ou=people,dc=example,dc=org", group_base = "ou=groups,dc=example,dc=org",
--   groups = { { dn = "cn=ml,ou=groups,dc=example,dc=org", name = "research" } },  -- roles are granted to "group:research"
-- }
-- plugin "auth-oidc" {                                     -- single sign-on: Keycloak, Entra ID, Okta, Google, Authentik, ...
--   issuer = "https://sso.example.org/realms/acme", client_id = "purlin", client_secret = env("PURLIN_OIDC_SECRET"),
--   groups_claim = "groups", group_prefix = "sso-",        -- roles are granted to "group:sso-ml"
--   required_groups = { "purlin-users" }, email_domains = { "example.org" },
-- }
