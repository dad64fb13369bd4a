# Begun by a timer, and by hand: what it may, what it says, what comes of it.
install
program slow slow.lua TimeoutStopSec=20s
systemctl daemon-reload
systemd-analyze verify --man=no saros@nightly.service saros@nightly.timer

phase "random delay"
systemctl show -p RandomizedDelayUSec saros@steps.timer
for time in 1 2 3; do
  systemctl start saros@steps.timer
  echo "next: $(systemctl show -P NextElapseUSecRealtime saros@steps.timer)"
  systemctl stop saros@steps.timer
done

# Its time was while the machine was off.
phase "what was missed"
mkdir -p /var/lib/systemd/timers
touch -d '-3 days' /var/lib/systemd/timers/stamp-saros@nightly.timer
systemctl enable --now --quiet saros@nightly.timer
while :; do
  case $(is nightly) in activating | failed) break ;; esac
  sleep 0.2
done
echo "started by: $(systemctl show -P TriggeredBy saros@nightly)"
systemctl disable --now --quiet saros@nightly.timer
main=$(systemctl show -P MainPID saros@nightly)
for set in Eff Bnd Amb; do
  echo "rights $set: $(capsh --decode="$(sed -n "s/^Cap$set:\t//p" \
    "/proc/$main/status")" | sed 's/.*=//')"
done
grep -E '^(NoNewPrivs|Seccomp):' "/proc/$main/status"
systemctl show -p KillMode saros@nightly
while [ "$(is nightly)" = activating ]; do
  systemctl show -P StatusText saros@nightly
  sleep 0.5
done | grep . | sort -u | sed 's/^/status: /'
echo "result: $(systemctl show -P Result saros@nightly)"
journalctl -q --sync
journalctl -q -o cat --no-pager -a -u saros@nightly | cut -c1-600
saros status | sed 's/^/status of it: /'
grep -c ^saros_ /var/lib/prom/saros.prom

phase "by hand"
systemctl start saros@nightly &&
  echo "started by hand: $(systemctl show -P Result saros@nightly)"

# What it tells systemd only that says, and only when it is asked to. It is given
# time as long as it asks for it.
phase slow
systemctl log-level debug
systemctl log-target journal
systemctl start --no-block saros@slow
until grep -q '^ok begun' /run/said-slow 2>/dev/null; do sleep 0.2; done
systemctl stop --no-block saros@slow
# Longer than it has, and than it asks for at once.
sleep 100
echo "slow: $(is slow)"
touch /tmp/undo
ended slow
systemctl log-level info
journalctl -q --sync
journalctl -q _PID=1 -o cat --no-pager |
  grep -o 'saros@slow.service: Got notification message.*' |
  grep -o '(.*)' | cut -c1-300 | sort -u | sed 's/^/told: /'
sed 's/^/slow: /' /run/said-slow
