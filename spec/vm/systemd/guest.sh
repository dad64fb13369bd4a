# The program of the guest (spec/systemd_spec.lua): real file systems, a database
# and a program of other users, and units that do with them what workflows do.
# CAPABILITIES=1 also takes away each right alone, and shows what fails then.
exec 2>&1
here=/usr/local/test
mkdir -p /mnt/b /mnt/x /mnt/i /mnt/r /run/redis-t /.saros-shadows
chmod 700 /.saros-shadows
mkfs.btrfs -q /dev/vdb && mount /dev/vdb /mnt/b &&
  btrfs -q subvolume create /mnt/b/sub && echo a >/mnt/b/sub/a
mkfs.xfs -q -m reflink=1 /dev/vdc && mount /dev/vdc /mnt/x
mkdir -p /mnt/x/data /mnt/x/img /mnt/x/redis
truncate -s 64M /mnt/x/img/d.img && mkfs.ext4 -q /mnt/x/img/d.img &&
  mount -o loop /mnt/x/img/d.img /mnt/i && echo i >/mnt/i/f
mkfs.ext4 -q /dev/vdd && mount /dev/vdd /mnt/r

# What only root may read, or make again.
cp /bin/sleep /mnt/x/data/sleeper
echo secret >/mnt/x/data/secret
mknod /mnt/x/data/null c 1 3
chown redis: /mnt/x/data/sleeper /mnt/x/data/secret /mnt/x/redis /run/redis-t
chmod 4700 /mnt/x/data/sleeper
chmod 000 /mnt/x/data/secret
chmod 700 /mnt/x/redis /run/redis-t

cp /bin/sleep /usr/sbin/sleeper
su -s /bin/sh redis -c 'exec /usr/sbin/sleeper 100000' >/dev/null &
printf '%s\n' 'port 0' 'unixsocket /run/redis-t/s' 'unixsocketperm 700' \
  'dir /mnt/x/redis' 'daemonize yes' 'save 3600 1' >/mnt/x/redis.conf
su -s /bin/sh redis -c 'redis-server /mnt/x/redis.conf' >/dev/null
until redis-cli -s /run/redis-t/s ping | grep -q PONG; do sleep 0.1; done
redis-cli -s /run/redis-t/s set a b >/dev/null
redis-cli -s /run/redis-t/s save >/dev/null
lua5.4 -e 'require "saros.repository".init { location = "/mnt/r/repo",
  password = "x" }' >/dev/null

# The units are those that the verb writes; what is run is ours.
mkdir -p /etc/saros
cat >/etc/saros/config.lua <<END
repository = "/mnt/r/repo"
password = { file = "/etc/saros/password" }
for _, name in ipairs { "steps", "held" } do
  workflow(name) { to = repository,
    sources = { "/mnt/b/sub", "/mnt/x/data", "/mnt/i", "/etc" } }
end
END
chmod 600 /etc/saros/config.lua
for name in steps held; do
  saros systemd "$name" --install --quiet || echo "no units"
  printf '[Service]\nExecStart=\nExecStart=/usr/local/bin/saros run %s\n' \
    "$here/$name.lua" >"/etc/systemd/system/saros@$name.service.d/zz.conf"
done
systemctl daemon-reload

# The output of one run, by its invocation.
run() {
  systemctl start "saros@$1"
  echo "== $1$2: $(systemctl show -P Result "saros@$1")"
  journalctl -o cat --no-pager -a -u "saros@$1" \
    "_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID "saros@$1")" |
    grep -E '^(ok|FAIL) ' | cut -c1-300
}
run steps
echo "== journal"
journalctl -o json --no-pager SAROS_OPERATION=trial | grep -o '"PRIORITY":"4"' |
  head -n 1
journalctl -o cat --no-pager -a SAROS_OPERATION=large | wc -c

if [ -n "$CAPABILITIES" ]; then
  for one in $(sed -n 's/^CapabilityBoundingSet=//p' \
    /etc/systemd/system/saros@.service); do
    printf '[Service]\nCapabilityBoundingSet=~%s\n' "$one" \
      >/etc/systemd/system/saros@steps.service.d/zzz.conf
    systemctl daemon-reload
    run steps " without $one" | grep -v '^ok'
  done
fi

# Somebody is stopped, and who holds him is ended in three ways.
sleeper=$(grep -lx sleeper /proc/[0-9]*/comm | head -n 1)
state() { sed 's/.*) //; s/ .*//' "${sleeper%/comm}/stat"; }
for how in 'kill -s KILL --kill-whom=all' 'kill -s KILL --kill-whom=main' stop; do
  systemctl start --no-block saros@held
  n=0
  until [ "$(state)" = T ] || [ $n = 600 ]; do sleep 0.1; n=$((n + 1)); done
  echo "== held: $(state)"
  systemctl $how saros@held
  while systemctl is-active saros@held | grep -q ing; do sleep 0.1; done
  echo "== $how: $(state), $(ls /run/saros/frozen | wc -l) left"
  systemctl reset-failed saros@held 2>/dev/null
done
echo "== end"
