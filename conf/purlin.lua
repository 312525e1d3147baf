-- /etc/purlin/purlin.lua: the configuration of purlind. `purlind --check` says what is wrong, with file and line.
-- Everything that is left out has the default that is shown here.

server {
  address = "127.0.0.1",
  port = 8080,
  state = "/var/lib/purlin",
  -- loops = 0,                          -- event-loop threads; 0: one per core
  -- url = "https://purlin.example.org",  -- where trainers on other machines reach this server
}

database {
  socket = "/run/mysqld/mysqld.sock",
  user = "purlin",
  name = "purlin",
  -- host = "db.example.org", port = 3306, password = env("PURLIN_DB_PASSWORD"),
}

log { level = "info", format = "auto", access = "off" }

jobs { concurrency = 64, lease_seconds = 30 }

lua { policies = "/etc/purlin/policies", library = "/usr/share/purlin/lua" }

plugins {
  folders = { "/usr/lib/purlin/plugins" },
  -- disabled = { "drift" },
}

-- A plugin is configured by its name; `purlin plugin show FILE.so` lists its settings.
-- plugin "storage-fs" { root = "/srv/blobs" }
