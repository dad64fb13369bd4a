# The program of the guest (spec/systemd_spec.lua): real file systems, databases
# and a program of other users, and the units that the verb writes for a workflow
# that saves them. Each line that begins with "==" or with a word and a name is
# read there. The file "tried" has lines "UNIT STEP SETTING;…": a unit with these
# settings more, in which that step is taken.
exec 2>&1
here=/usr/local/test
units=/etc/systemd/system
mkdir -p /mnt/b /mnt/x /mnt/i /mnt/r /mnt/l /run/redis-t /.saros-shadows
chmod 700 /.saros-shadows
mkfs.btrfs -q /dev/vdb >/dev/null && mount /dev/vdb /mnt/b &&
  btrfs -q subvolume create /mnt/b/sub && echo a >/mnt/b/sub/a
mkfs.xfs -q -m reflink=1 /dev/vdc && mount /dev/vdc /mnt/x
mkdir -p /mnt/x/data /mnt/x/img /mnt/x/redis
truncate -s 64M /mnt/x/img/d.img && mkfs.ext4 -q /mnt/x/img/d.img &&
  mount -o loop /mnt/x/img/d.img /mnt/i && echo i >/mnt/i/f
mkfs.ext4 -q /dev/vdd && mount /dev/vdd /mnt/r
pvcreate -q /dev/vde >/dev/null && vgcreate -q g /dev/vde >/dev/null &&
  lvcreate -qq -L 64M -n v g >/dev/null && mkfs.ext4 -q /dev/g/v &&
  mount /dev/g/v /mnt/l && echo l >/mnt/l/f

# What only root may read, or make again.
cp /bin/sleep /mnt/x/data/sleeper
cp /bin/sleep /mnt/x/data/capable && setcap cap_net_raw+ep /mnt/x/data/capable
echo secret >/mnt/x/data/secret
mknod /mnt/x/data/null c 1 3
chown redis: /mnt/x/data/sleeper /mnt/x/data/secret /mnt/x/redis /run/redis-t
chmod 6755 /mnt/x/data/sleeper
chmod 000 /mnt/x/data/secret
chmod 700 /mnt/x/redis /run/redis-t
touch -d 2001-02-03 /mnt/x/data/secret /mnt/x/data/sleeper

mkdir -p /usr/lib/modules
touch /tmp/file /root/file /usr/lib/modules/file

cp /bin/sleep /usr/sbin/sleeper
su -s /bin/sh redis -c 'exec /usr/sbin/sleeper 100000' >/dev/null &
printf '%s\n' 'port 0' 'unixsocket /run/redis-t/s' 'unixsocketperm 700' \
  'dir /mnt/x/redis' 'daemonize yes' 'save 3600 1' >/mnt/x/redis.conf
su -s /bin/sh redis -c 'redis-server /mnt/x/redis.conf' >/dev/null
until redis-cli -s /run/redis-t/s ping | grep -q PONG; do sleep 0.1; done
redis-cli -s /run/redis-t/s set a b >/dev/null
redis-cli -s /run/redis-t/s save >/dev/null
sqlite3 /mnt/b/sub/app.db 'PRAGMA journal_mode = wal; CREATE TABLE t (n);
  INSERT INTO t VALUES (1)' >/dev/null
lua5.4 -e 'require "saros.repository".init { location = "/mnt/r/repo",
  password = "x" }' >/dev/null

mkdir -p /etc/saros
echo x >/etc/saros/password
cat >/etc/saros/config.lua <<END
repository = "/mnt/r/repo"
password = { file = "/etc/saros/password" }
metrics = "/var/lib/prom/saros.prom"
workflow "nightly" { to = repository, provider = {
    ["/mnt/b/sub"] = "btrfs", ["/mnt/x/redis"] = "reflink" },
  writers = { sqlite = { databases = { "/mnt/b/sub/app.db" } },
    redis = { socket = "/run/redis-t/s" } },
  sources = { "/mnt/b/sub", "/mnt/x/redis" },
  keep = { last = 3 }, verify = "10%", drill = "weekly" }
workflow "steps" { to = repository,
  sources = { "/mnt/b/sub", "/mnt/x/data", "/mnt/i", "/mnt/l", "/etc" } }
END
mkdir -p /var/lib/prom
chmod 700 /etc/saros
chmod 600 /etc/saros/*

# Seconds since the beginning, for whoever wonders what takes so long.
phase() { echo "== $1 ($(cut -d. -f1 /proc/uptime) s)"; }

# What a unit has said since it was marked.
said() {
  journalctl -q --sync
  journalctl -q -o cat --no-pager -a -u "$1" --since "$(cat "/run/mark-$1")" |
    cut -c1-600
}
mark() { date '+%Y-%m-%d %H:%M:%S.%6N' >"/run/mark-$1"; }

# The unit NAME, which runs a program of ours instead of a workflow; the rest is
# more of its settings.
program() {
  mkdir -p "$units/saros@$1.service.d"
  cp "$units/saros@steps.service.d/saros.conf" "$units/saros@$1.service.d/" \
    2>/dev/null
  { echo '[Service]'; echo 'ExecStart='; echo "ExecStart=/usr/local/bin/saros run $2"; } \
    >"$units/saros@$1.service.d/zz.conf"
  shift 2
  for setting; do echo "$setting" >>"$units/saros@$name.service.d/zz.conf"; done
}

phase install
saros systemd nightly --install --quiet --delay 0s --calendar '*:*:0/10'
saros systemd steps --install --quiet
name=steps program steps "$here/steps.lua"
for what in process frozen; do
  name=$what program $what "$here/held.lua $what"
done
name=slow program slow "$here/slow.lua" TimeoutStopSec=4s
while read -r name step settings; do
  (
    IFS=';'
    # shellcheck disable=SC2086
    program "$name" "$here/steps.lua $step" $settings
  )
done <$here/tried
mkdir -p "$units/saros@nightly.timer.d"
printf '[Timer]\nAccuracySec=1s\n' >"$units/saros@nightly.timer.d/zz.conf"
systemctl daemon-reload
systemd-analyze verify --man=no saros@nightly.service saros@nightly.timer

phase timer
mark saros@nightly
systemctl enable --now --quiet saros@nightly.timer
systemctl list-timers --no-pager --no-legend saros@nightly.timer | wc -l
until [ "$(systemctl show -P ActiveState saros@nightly)" = activating ]; do
  sleep 0.2
done
echo "started by: $(systemctl show -P TriggeredBy saros@nightly)"
systemctl disable --now --quiet saros@nightly.timer
while [ "$(systemctl show -P ActiveState saros@nightly)" = activating ]; do
  systemctl show -P StatusText saros@nightly
  sleep 0.5
done | grep . | sort -u | sed 's/^/status: /'
echo "result: $(systemctl show -P Result saros@nightly)"
said saros@nightly
saros status | sed 's/^/status of it: /'
grep -c ^saros_ /var/lib/prom/saros.prom
phase "by hand"
systemctl start saros@nightly && echo "started by hand: $(systemctl show -P Result saros@nightly)"
journalctl -o json --no-pager -u saros@nightly | grep -c SAROS_OPERATION

phase steps
mark saros@steps
systemctl start saros@steps
echo "steps: $(systemctl show -P Result saros@steps)"
said saros@steps | grep -E '^(ok|FAIL) '
journalctl -o json --no-pager SAROS_OPERATION=trial | grep -o '"PRIORITY":"4"' |
  head -n 1
journalctl -o cat --no-pager -a SAROS_OPERATION=large | wc -c

phase tried
while read -r name step settings; do
  mark "saros@$name"
  systemctl start "saros@$name" </dev/null
  echo "tried $name: $(said "saros@$name" | grep -E '^(ok|FAIL) ' || systemctl show -P Result "saros@$name")"
done <$here/tried

# What it tells systemd only that says, and only when it is asked to.
phase slow
systemctl log-level debug
systemctl log-target journal
mark saros@slow
systemctl start --no-block saros@slow
until said saros@slow | grep -q '^ok begun'; do sleep 0.2; done
systemctl stop --no-block saros@slow
sleep 1
echo "slow: $(systemctl show -P StatusText saros@slow)"
while systemctl is-active saros@slow | grep -q ing; do sleep 0.2; done
systemctl log-level info
journalctl -q --sync
journalctl -q _PID=1 -o cat --no-pager |
  grep -o 'saros@slow.service: Got notification message.*' |
  grep -o '(.*)' | cut -c1-300 | sort -u | sed 's/^/told: /'
said saros@slow | sed 's/^/slow: /'
systemctl reset-failed saros@slow 2>/dev/null

# What is left of it all.
left() {
  echo "$(ls /run/saros/frozen 2>/dev/null | wc -l) records," \
    "$(grep -c saros /proc/self/mounts) mounts," \
    "$(losetup -n -O BACK-FILE | grep -vc '^ */mnt/x/img/d.img$') loops," \
    "$(grep -l saros-guard /proc/[0-9]*/comm 2>/dev/null | wc -l) guards"
}

# Somebody is stopped, and who holds him is ended in three ways.
sleeper=$(grep -lx sleeper /proc/[0-9]*/comm | head -n 1)
sleeper=${sleeper#/proc/}
sleeper=${sleeper%/comm}
state() { sed 's/.*) //; s/ .*//' "/proc/$sleeper/stat"; }
for how in 'kill -s KILL --kill-whom=all' 'kill -s KILL --kill-whom=main' stop; do
  phase "$how"
  systemctl start --no-block saros@process
  until [ "$(state)" = T ]; do sleep 0.1; done
  guard=$(grep -l saros-guard /proc/[0-9]*/comm | head -n 1)
  echo "guard: nice $(sed 's/.*) //' "${guard%/comm}/stat" | cut -d' ' -f17)," \
    "$(sed 's/.*\///' "${guard%/comm}/cgroup")"
  systemctl $how saros@process
  while systemctl is-active saros@process | grep -q ing; do sleep 0.1; done
  echo "process, $how: $(state), $(left)"
  systemctl reset-failed saros@process 2>/dev/null
done

# An image is frozen, and the program sleeps in the kernel: it can neither undo
# anything, nor die.
sleeps() {
  main=$(systemctl show -P MainPID saros@frozen)
  [ "$main" != 0 ] && cat /proc/$main/task/*/stat 2>/dev/null | grep -q ') D '
}
is_frozen() {
  timeout -s KILL 2 fsfreeze -f /mnt/i 2>/dev/null || return 0
  ! fsfreeze -u /mnt/i
}
for how in 'kill -s KILL --kill-whom=all' 'kill -s KILL --kill-whom=main' stop; do
  phase "frozen, $how"
  mark saros@frozen
  systemctl start --no-block saros@frozen
  until sleeps; do sleep 0.1; done
  is_frozen && echo "frozen, $how, before: frozen"
  systemctl $how --no-block saros@frozen 2>/dev/null || systemctl $how saros@frozen
  n=0
  while is_frozen && [ $n -lt 300 ]; do sleep 0.2; n=$((n + 1)); done
  sleeps && asleep="it sleeps still" || asleep="it has ended"
  is_frozen && now=frozen || now=thawed
  echo "frozen, $how: $now, $asleep"
  fsfreeze -u /mnt/x
  while systemctl is-active saros@frozen | grep -q ing; do sleep 0.1; done
  echo "frozen, $how, then: $(is_frozen && echo frozen || echo thawed), $(left)"
  said saros@frozen
  systemctl reset-failed saros@frozen 2>/dev/null
done
echo "== end"
