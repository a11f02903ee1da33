# Makes the cluster and serves it until it ends; then the whole directory goes.
# Arguments: the directory, PostgreSQL's bin directory, arguments for postgres.
d=$1 bin=$2
shift 2
umask 077

run "$bin/initdb" -D "$d/data" -U postgres --auth-local=trust --auth-host=scram-sha-256 \
  --pwfile="$d/password" -E UTF8 --no-locale -N --wal-segsize=1
while [ "$rc" -eq 0 ] || [ -e "$d/held" ]; do
  rm -f "$d/held"
  run "$bin/postgres" -D "$d/data" "$@"
  # `hold` asks to keep the data when the server ends; a line on standard input starts it again.
  [ -e "$d/hold" ] || break
  mv "$d/hold" "$d/held"
  read -r line <&3 || break
done
finish "$d"
