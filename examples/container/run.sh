#!/bin/sh
# A container of nothing but unshare(1), for where there is no docker or podman:
#
#     run.sh SOCKETS DATA APP COMMAND ARGUMENT…
#
# runs COMMAND with users, processes, mounts, a network and a name of its own,
# in a root directory that has the programs of this machine, DATA (where it is
# outside, too), APP as /app, and SOCKETS as /run/saros/writers. When this is
# killed all of it is. Needs root, or a kernel that lets users be that.

set -eu
[ $# -ge 4 ] || {
  echo "run.sh SOCKETS DATA APP COMMAND ARGUMENT…" >&2
  exit 2
}
sockets=$(cd "$1" && pwd -P) data=$(cd "$2" && pwd -P) app=$(cd "$3" && pwd -P)
shift 3
# Nothing is there but what is mounted on it, which is seen in the container alone
# and gone when that ends, however it ends.
for root in /mnt /media /srv /opt /home ''; do
  [ -z "$root" ] || { [ -d "$root" ] && [ -z "$(ls -A "$root")" ] && break; }
done
[ -n "$root" ] || {
  echo "run.sh: there is no empty directory (/mnt, say) to mount a root on" >&2
  exit 1
}

# shellcheck disable=SC2016 # it is for another shell
BUILD='
  root=$1 sockets=$2 data=$3 app=$4
  shift 4
  PATH=/usr/sbin:/usr/bin:/sbin:/bin
  mount -t tmpfs -o mode=755 container "$root"
  cd "$root"
  for name in usr bin sbin lib lib32 lib64; do
    if [ -L "/$name" ]; then
      ln -s "$(readlink "/$name")" "$name"
    elif [ -d "/$name" ]; then
      mkdir "$name"
      mount --rbind "/$name" "$name"
    fi
  done
  mkdir -p proc dev etc tmp app run/saros/writers ".$data"
  chmod 1777 tmp
  if [ -d /etc/alternatives ]; then # where Debian has its interpreters
    mkdir etc/alternatives
    mount --rbind /etc/alternatives etc/alternatives
  fi
  mount -t proc proc proc
  : >dev/null
  mount --bind /dev/null dev/null
  mount --bind "$sockets" run/saros/writers
  mount --bind "$data" ".$data"
  mount --rbind "$app" app
  hostname container 2>/dev/null || :
  exec chroot . env -i PATH=/usr/bin:/bin HOME=/ "$@"'

exec unshare --user --map-root-user --mount --pid --fork --kill-child --uts --ipc \
  --net sh -ec "$BUILD" sh "$root" "$sockets" "$data" "$app" "$@"
