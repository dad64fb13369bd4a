# The program of the guest (spec/systemd_guest_spec.lua): real file systems, a
# database and a program of another user, the units that the verb writes for
# workflows that save them, and one of the parts beside this file, which is named.
# What is said is read there.
exec 2>&1
here=/usr/local/test
units=/etc/systemd/system

# Seconds since the beginning, for whoever wonders what takes so long.
phase() { echo "== $1 ($(cut -d. -f1 /proc/uptime) s)"; }

# The image of a file system: where it is mounted, the file, its size, how it is
# made.
image() {
  mkdir -p "$1" "${2%/*}"
  truncate -s "$3" "$2" && $4 "$2" && mount -o loop "$2" "$1" && echo i >"$1/f"
}

phase volumes
mkdir -p /mnt/b /mnt/x /mnt/y /mnt/r /mnt/l /run/redis-t
mkfs.btrfs -q /dev/vdb >/dev/null && mount /dev/vdb /mnt/b &&
  btrfs -q subvolume create /mnt/b/sub && echo a >/mnt/b/sub/a
for disk in /dev/vdc:/mnt/x /dev/vdd:/mnt/y; do
  mkfs.xfs -q -m reflink=1 "${disk%:*}" && mount "${disk%:*}" "${disk#*:}"
done
mkdir -p /mnt/x/data /mnt/x/redis
image /mnt/i /mnt/x/img/d.img 64M 'mkfs.ext4 -q'
mkfs.ext4 -q /dev/vde && mount /dev/vde /mnt/r

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

phase programs
cp /bin/sleep /usr/sbin/sleeper
su -s /bin/sh redis -c 'exec /usr/sbin/sleeper 100000' >/dev/null &
sleeper=$!
printf '%s\n' 'port 6379' 'bind 127.0.0.1' 'unixsocket /run/redis-t/s' \
  'unixsocketperm 700' 'dir /mnt/x/redis' 'daemonize yes' 'save 3600 1' \
  >/mnt/x/redis.conf
su -s /bin/sh redis -c 'redis-server /mnt/x/redis.conf' >/dev/null
until redis-cli -s /run/redis-t/s ping | grep -q PONG; do sleep 0.1; done
redis-cli -s /run/redis-t/s set a b >/dev/null
redis-cli -s /run/redis-t/s save >/dev/null
sqlite3 /mnt/b/sub/app.db 'PRAGMA journal_mode = wal; CREATE TABLE t (n);
  INSERT INTO t VALUES (1)' >/dev/null
lua5.4 -e 'require "saros.repository".init { location = "/mnt/r/repo",
  password = "x" }' >/dev/null

mkdir -p /etc/saros /var/lib/prom
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
chmod 700 /etc/saros
chmod 600 /etc/saros/*

# LVM wants most of the time, so only who needs it has it; before the units are
# written, which say which disks there are.
lvm() {
  pvcreate -q /dev/vdf >/dev/null && vgcreate -q g /dev/vdf >/dev/null &&
    lvcreate -qq -L 64M -n v g >/dev/null && mkfs.ext4 -q /dev/g/v &&
    mount /dev/g/v /mnt/l && echo l >/mnt/l/f
}

install() {
  saros systemd nightly --install --quiet --delay 0s
  saros systemd steps --install --quiet
}

# The unit NAME, which runs a program of ours instead of a workflow; the rest is
# more of its settings. What it says is in /run/said-NAME.
program() {
  directory=$units/saros@$1.service.d
  mkdir -p "$directory"
  cp "$units/saros@steps.service.d/saros.conf" "$directory/"
  {
    echo '[Service]'
    echo 'ExecStart='
    echo "ExecStart=/usr/local/bin/saros run $here/$2"
    echo "StandardOutput=append:/run/said-$1"
    shift 2
    for setting; do echo "$setting"; done
  } >"$directory/zz.conf"
}

# How a unit is: a word.
is() { systemctl show -P ActiveState "saros@$1"; }

# Until it has ended, however.
ended() {
  while is "$1" | grep -q ing; do sleep 0.2; done
  systemctl reset-failed "saros@$1" 2>/dev/null
}

state() { sed 's/.*) //; s/ .*//' "/proc/$1/stat"; }
# Those that live: one that was killed is there until its parent has ended.
guards() {
  grep -ls '^[0-9]* (saros-guard) [^Z]' /proc/[0-9]*/stat
}

# What is left of it all.
left() {
  echo "$(ls /run/saros/frozen 2>/dev/null | wc -l) records," \
    "$(grep -c saros /proc/self/mounts) mounts," \
    "$(losetup -n -O BACK-FILE | grep -vc '^ */mnt/[xy]/img/[a-z]*.img$') loops," \
    "$(guards | wc -l) guards"
}

. "$here/$1.sh" # which may look at $2
echo "== end ($(cut -d. -f1 /proc/uptime) s)"
