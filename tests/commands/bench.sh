# ./dev bench tls [--seconds N] [--repetitions N]: handshakes, and TLS against plain, beside nginx.
# ./dev bench mlflow [--seconds N] [--repetitions N] [--markdown FILE] [--large]: beside MLflow's own server, see docs/benchmarks.md.
# ./dev bench audit [--seconds N] [--repetitions N]: changes with their entry in the audit log, and without.
# ./dev bench backup [--runs N] [--gib N]: a backup and a restore beside mariadb-dump and cp.
# ./dev bench [--seconds N] [--repetitions N] [--no-queue]: CPU per request beside nginx, nginx's Lua module and FastAPI; the queue,
# memory, start. A peer that cannot be installed is left out, and the report says so.

bench_python() { # a Python with the packages of FastAPI's side; prints nothing when they cannot be had
  local folder=build/bench-venv
  if ! cmp -s tests/bench/requirements.txt "$folder/installed"; then
    { python3 -m venv "$folder" &&
      "$folder/bin/pip" install -q --disable-pip-version-check -r tests/bench/requirements.txt &&
      cp tests/bench/requirements.txt "$folder/installed"; } > build/bench-venv.log 2>&1 || return 0
  fi
  echo "$folder/bin/python"
}

command_bench() {
  need build run bench
  build ON
  ninja -C build --quiet bench
  case "${1:-}" in
    tls | audit | backup | mlflow)
      local what=$1
      shift
      [ "$what" = mlflow ] && { say "Installing MLflow"; tests/clients/install.sh 3; }
      say "Measuring"
      PYTHONDONTWRITEBYTECODE=1 python3 "tests/bench/$what.py" --build build "$@"
      return
      ;;
  esac
  say "Installing the peer of predictions into build/bench-venv"
  local python
  python=$(bench_python)
  say "Measuring"
  PYTHONDONTWRITEBYTECODE=1 python3 tests/bench/bench.py --build build ${python:+--python "$python"} "$@"
}
