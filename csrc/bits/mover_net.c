/*
** Whether there is a network again. While there is none for somebody, the
** kernel is listened to for addresses, links and routes that come or go: a
** look at the socket now and then, nothing that waits. Where that is not
** allowed, one try every half minute finds it out (mover_host.c).
*/
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits/mover_parts.h"

void net_watch(bits_mover *v) {
  if (v->netlink >= 0) return;
  struct sockaddr_nl a = {.nl_family = AF_NETLINK,
                          .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR |
                                       RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                                       RTMGRP_IPV6_ROUTE};
  int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                 NETLINK_ROUTE);
  if (s >= 0 && bind(s, (struct sockaddr *)&a, sizeof a) != 0) {
    close(s);
    s = -1;
  }
  v->netlink = s;
}

void net_unwatch(bits_mover *v) {
  if (v->netlink >= 0) close(v->netlink);
  v->netlink = -1;
}

/* What has changed does not matter: who waits tries. */
bool net_changed(bits_mover *v) {
  char message[8192];
  bool changed = false;
  if (v->netlink < 0) return false;
  while (recv(v->netlink, message, sizeof message, MSG_DONTWAIT) > 0)
    changed = true;
  return changed;
}
