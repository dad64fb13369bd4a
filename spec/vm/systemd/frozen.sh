# A file system is frozen, and the program sleeps in the kernel, where it can
# neither undo anything nor die: it freezes another, whose image lies where
# somebody else has frozen. With its guard beside it, or without anybody.
image /mnt/k /mnt/x/img/k.img 320M 'mkfs.xfs -q'
image /mnt/z /mnt/y/img/z.img 64M 'mkfs.ext4 -q'
install
for m in i k; do
  program "frozen-$m" "held.lua frozen /mnt/$m" TimeoutStopSec=30s \
    ReadWritePaths=/mnt/y
done
program own 'held.lua own /mnt/i' TimeoutStopSec=30s ReadWritePaths=/mnt/y
program late 'held.lua late /mnt/i' TimeoutStopSec=90s
systemctl daemon-reload

sleeps() {
  cat /proc/"$1"/task/*/stat 2>/dev/null | grep -q ') D '
}
is_frozen() {
  timeout -s KILL 5 fsfreeze -f "$1" 2>/dev/null || return 0
  fsfreeze -u "$1" 2>/dev/null # but who lets go may be quicker
  return 1
}
is_thawed() { is_frozen "$1" && echo frozen || echo thawed; }

# Begun, and so far that the main process (in $main) sleeps, for good: asking
# whether it is frozen gets in the way of who is about to freeze.
begin() {
  systemctl start --no-block "saros@$1"
  until main=$(systemctl show -P MainPID "saros@$1") && [ "$main" != 0 ] &&
    [ -s "/run/said-$1" ] && sleeps "$main" && sleep 2 && sleeps "$main" &&
    is_frozen "$2"; do
    [ "$(is "$1")" != failed ] || { cat "/run/said-$1"; exit 1; }
    sleep 0.2
  done
}

# Until it is let go; what is left of the program then.
let_go() {
  while is_frozen "$1"; do sleep 0.2; done
  echo "$(is_thawed "$1"), $(sleeps "$main" && echo asleep || echo awake)"
}

# What it sleeps for comes; then it ends.
finish() {
  fsfreeze -u /mnt/y
  ended "$1"
  echo "$2, then: $(is_thawed "$3"), $(is_thawed /mnt/z), $(left)"
  sed "s/^/$1: /" "/run/said-$1"
  rm -f "/run/said-$1" /tmp/own
}

guarded() {
  for m in /mnt/i /mnt/k; do
    for how in 'kill -s KILL --kill-whom=main' stop; do
      name=frozen-${m#/mnt/}
      phase "$name, $how"
      begin "$name" $m
      # shellcheck disable=SC2086
      systemctl --no-block $how "saros@$name"
      echo "$name, $how: $(let_go $m)"
      finish "$name" "$name, $how" $m
    done
  done
}

# With its guard, which is quick: should the program be killed before it, it has
# thawed.
kill_all() {
  for guard in $(guards); do
    kill -s STOP "$(echo "$guard" | cut -d/ -f3)"
  done
  systemctl kill -s KILL --kill-whom=all "saros@$1"
  until [ "$(guards | wc -l)" = 0 ]; do sleep 0.1; done
}

# It writes to what it has frozen itself, and so hears nothing.
begin_own() {
  begin "$1" /mnt/i
  touch /tmp/own
  until grep -q '^writes' "/run/said-$1"; do sleep 0.1; done
  until [ "$(state "$main")" = D ]; do sleep 0.1; done
}

alone() {
  # Let go when it can die.
  phase all
  begin frozen-i /mnt/i
  kill_all frozen-i
  echo "all, before: $(is_thawed /mnt/i)"
  finish frozen-i all /mnt/i

  phase own
  begin_own own
  systemctl kill -s KILL --kill-whom=main saros@own
  echo "own: $(let_go /mnt/i)"
  finish own own /mnt/i
}

# Without its guard it does not end, and is let go when the service is stopped.
late() {
  phase late
  begin_own late
  kill_all late
  echo "late, before: $(is_thawed /mnt/i), $(is late)"
  systemctl stop --no-block saros@late
  echo "late: $(let_go /mnt/i)"
  fsfreeze -u /mnt/b
  ended late
  saros shadows reap
  echo "late, then: $(is_thawed /mnt/i), $(is_thawed /mnt/b), $(left)"
  cat /run/said-late
}

$2
