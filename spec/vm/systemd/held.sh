# A program is stopped, and who holds it is ended in every way.
install
program process 'held.lua process'
program busy 'held.lua busy'
systemctl daemon-reload

# The one process, which has slept before.
sleeper=$(grep -lx sleeper /proc/[0-9]*/comm | head -n 1)
sleeper=${sleeper#/proc/}
sleeper=${sleeper%/comm}

for how in 'kill -s KILL --kill-whom=all' 'kill -s KILL --kill-whom=main' stop; do
  phase "$how"
  systemctl start --no-block saros@process
  until [ "$(state "$sleeper")" = T ]; do sleep 0.1; done
  guard=$(guards | head -n 1)
  echo "guard: nice $(sed 's/.*) //' "${guard%/stat}/stat" | cut -d' ' -f17)," \
    "$(sed 's/.*\///' "${guard%/stat}/cgroup")"
  # shellcheck disable=SC2086
  systemctl $how saros@process
  ended process
  echo "process, $how: $(state "$sleeper"), $(left)"
done

# It is told to stop, and hears nothing: its guard and its helper, which nobody
# has told, are there, until it is killed.
phase busy
systemctl start --no-block saros@busy
until grep -q '^helper' /run/said-busy 2>/dev/null &&
  [ "$(state "$sleeper")" = T ]; do sleep 0.1; done
guard=$(guards | head -n 1)
touch /tmp/busy
until grep -q '^busy' /run/said-busy; do sleep 0.1; done
systemctl stop --no-block saros@busy
until [ "$(is busy)" = deactivating ]; do sleep 0.1; done
sleep 2
echo "busy: $(is busy), sleeper $(state "$sleeper"), guard" \
  "$(cat "${guard%/stat}/comm"), $(grep -c '^told' /run/said-busy) told"
systemctl kill -s KILL --kill-whom=main saros@busy
until [ "$(state "$sleeper")" = S ]; do sleep 0.1; done
ended busy
echo "busy, then: $(state "$sleeper"), $(left)"
