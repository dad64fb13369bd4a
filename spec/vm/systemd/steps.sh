# What workflows may want to do is possible under the unit, and nothing else.
lvm
touch /tmp/file /root/file
mkdir -p /usr/lib/modules
touch /usr/lib/modules/file
install
mkdir -p $units/saros@steps.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/local/bin/saros run %s\n' \
  "$here/steps.lua" >$units/saros@steps.service.d/zz.conf
systemctl daemon-reload

phase steps
systemctl start saros@steps
echo "steps: $(systemctl show -P Result saros@steps)"
journalctl -q --sync
journalctl -q -o cat --no-pager -a -u saros@steps | cut -c1-600
journalctl -o json --no-pager SAROS_OPERATION=trial | grep -o '"PRIORITY":"4"' |
  head -n 1
echo "large: $(journalctl -o cat --no-pager -a SAROS_OPERATION=large | wc -c)"
echo "kernel: $(cat /sys/kernel/rcu_expedited)"
