# Runs npm in the staging directory "$1"; the directory goes unless npm has succeeded.
d=$1
shift
umask 022
run "$@"
[ "$rc" -ne 0 ] || d=
finish "$d"
