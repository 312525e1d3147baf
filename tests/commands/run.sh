# ./dev run [--no-demo] [--again]: the daemon with a private MariaDB on 127.0.0.1:8080, and the demonstration.

RUN_ADDRESS=127.0.0.1:8080

stop_daemon() { # stop_daemon PID: asks, and waits
  trap - INT TERM EXIT
  kill -TERM "$1" 2>/dev/null || return 0
  say "Stopping"
  wait "$1" 2>/dev/null || true
}

wait_ready() { # wait_ready PID
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    curl --silent --fail --output /dev/null "http://$RUN_ADDRESS/readyz" && return
    if ! kill -0 "$1" 2>/dev/null; then
      echo "purlind ended. Its log, var/purlind.log, ends with:" >&2
      tail -n 15 var/purlind.log >&2
      return 1
    fi
    sleep 0.1
  done
  echo "purlind is not ready after a minute:" >&2
  curl --silent "http://$RUN_ADDRESS/readyz" >&2
  return 1
}

command_run() {
  local demo=yes again="" option daemon
  for option in "$@"; do
    case "$option" in
      --no-demo) demo=no ;;
      --again) again=--again ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  if (exec 3<> "/dev/tcp/${RUN_ADDRESS%:*}/${RUN_ADDRESS#*:}") 2>/dev/null; then
    echo "Something listens on $RUN_ADDRESS already: another ./dev run? Stop it first; 'ss -ltnp' tells what it is." >&2
    exit 1
  fi
  [ "$demo" = yes ] && need demo
  build
  mkdir -p var
  say "Starting purlind on $RUN_ADDRESS (its log: var/purlind.log)"
  # In a session of its own: Ctrl-C reaches this script, which stops the daemon in order.
  setsid build/bin/purlind --dev --state var --plugins build/plugins --policies conf/policies --library lua \
    --address "${RUN_ADDRESS%:*}" --port "${RUN_ADDRESS#*:}" >> var/purlind.log 2>&1 &
  daemon=$!
  # shellcheck disable=SC2064
  trap "stop_daemon $daemon; exit 130" INT TERM
  # shellcheck disable=SC2064
  trap "stop_daemon $daemon" EXIT
  wait_ready "$daemon"
  if [ "$demo" = yes ]; then
    say "The demonstration: train, serve, drift, retrain"
    python3 tests/demo/elec2.py --address "$RUN_ADDRESS" --state var $again
  fi
  say "Purlin is running"
  cat <<TEXT
API      http://$RUN_ADDRESS
Docs     http://$RUN_ADDRESS/docs
Token    var/admin.token
         curl -H "Authorization: Bearer \$(cat var/admin.token)" http://$RUN_ADDRESS/api/v1/models
Stop     Ctrl-C
TEXT
  wait "$daemon"
}
