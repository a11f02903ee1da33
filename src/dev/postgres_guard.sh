# Ends what it runs when standard input ends, that is, when our process has ended in any way: the
# kernel closes the pipe even after SIGKILL. Sets rc to the exit code of what it ran.
#
# INT is PostgreSQL's fast shutdown, and TERM ends what ignores INT (a shell's background jobs are
# born ignoring it). QUIT drops everything, KILL is for what hangs.
exec 3<&0 </dev/null
PATH=${PATH:-/usr/bin}:/usr/bin:/bin
pid=
trap '[ -z "$pid" ] || kill -INT "$pid"' HUP INT TERM

run() {
  "$@" 3<&- & pid=$!
  {
    while read -r line; do :; done <&3
    kill -INT "$pid"; kill -TERM "$pid"
    sleep 5; kill -QUIT "$pid"
    sleep 10; kill -KILL "$pid"
  } 2>/dev/null & watch=$!
  wait "$pid"; rc=$?
  # A trapped signal interrupts the wait.
  while kill -0 "$pid" 2>/dev/null; do wait "$pid"; rc=$?; done
  pid=
  # KILL: a shell that was forked a moment ago still has our handlers, and would lose a TERM.
  kill -KILL "$watch"; wait "$watch" 2>/dev/null
}

# Leaves no helper of ours (the sleeps above) and, unless it is empty, not the directory "$1".
finish() {
  trap '' HUP INT TERM
  kill -TERM 0
  [ -z "$1" ] || rm -rf "$1" || { sleep 1; rm -rf "$1"; }
  exit "$rc"
}
