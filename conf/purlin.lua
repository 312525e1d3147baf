-- /etc/purlin/purlin.lua: the configuration of purlind. `purlind --check` says what is wrong, with file and line.
-- Everything that is left out has the default that is shown here.

server {
  address = "127.0.0.1",
  port = 8080,
  state = "/var/lib/purlin",
  -- loops = 0,                          -- event-loop threads; 0: one per core
  idle_timeout_ms = 75000,               -- how long a connection may wait for its next request
  write_timeout_ms = 30000,              -- a client that takes nothing of an answer for so long is cut off
  max_connections = 10000,
  max_connections_per_address = 512,     -- but for trusted proxies; of IPv6 for each /64; 0: no limit
  -- trusted_proxies = { "10.0.0.0/8" },  -- whose X-Forwarded-For counts
  -- monitors = { "10.0.3.7" },          -- who reads /metrics and the details of /readyz without a credential
  -- url = "https://purlin.example.org",  -- where trainers on other machines reach this server
}

-- tls {                                  -- the port speaks TLS 1.2 and 1.3; changed files are used without a restart
--   certificate = "/etc/purlin/tls/server.pem", key = "/etc/purlin/tls/server.key",
--   minimum = "1.2",
--   redirect_port = 80, redirect_health = false,  -- a port in the clear that sends browsers to https
--   hsts_days = 180,
--   client_ca = "/etc/purlin/tls/clients.pem", client_certificate = "optional",
-- }

database {
  socket = "/run/mysqld/mysqld.sock",
  user = "purlin",
  name = "purlin",
  -- host = "db.example.org", port = 3306, password = file("/etc/purlin/db.password"),
  -- tls_ca = "/etc/purlin/db-ca.pem",    -- who vouches for MariaDB's certificate; then nothing goes in the clear
  -- tls_certificate = "/etc/purlin/db.pem", tls_key = "/etc/purlin/db.key",  -- our own, where MariaDB wants one
}
-- A password comes from elsewhere: env("NAME"), file("PATH"), which others may not be able to read, or credential("NAME") of systemd.

-- Keys that seal secrets in the database: the first seals, each opens. The same on all nodes. Default: STATE/secrets.key, made at the
-- first start. A new one: `openssl rand -hex 32`; put it first, restart, wait until `purlin secrets status` tells 0 left, take the old away.
-- secrets { keys = { "/etc/purlin/secrets.key" } }        -- or "credential:NAME" of systemd, or env("NAME")

log { level = "info", format = "auto", access = "off" }

jobs { concurrency = 64, lease_seconds = 30 }

lua {
  policies = "/etc/purlin/policies",
  library = "/usr/share/purlin/lua",
  writers = {},                          -- scripts that may change rows by purlin.db.execute: { "cleanup.lua" }
}

-- How often somebody may ask: per address, actor, credential or workspace. All rules that fit hold.
-- limits { rules = {
--   { name = "addresses", per = "address", requests = 600, seconds = 60 },
--   { name = "writes", per = "actor", operations = "registry.*", requests = 100, seconds = 60, burst = 20 },
-- } }

-- cors { origins = { "https://app.example.org" } }   -- whose pages may call this server from a browser;
                                                      -- credentials = true: and read what its session sees

-- Where calls to others may go beside public addresses: addresses, networks and hosts inside, with a port or without.
-- outbound { allow = { "10.1.0.0/16", "[fd00::1]:443", "mail.internal:25" }, environment_proxies = false }

plugins {
  folders = { "/usr/lib/purlin/plugins" },
  -- disabled = { "drift" },
}

-- A plugin is configured by its name; `purlin plugin show FILE.so` lists its settings.
-- plugin "storage-fs" { root = "/srv/blobs" }
-- plugin "accounts" { registration = "verified", registration_role = "viewer",  -- "closed", "open"; the policy accounts.register decides
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
