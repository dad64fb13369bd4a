/*
** mount: the call. It goes on as long as it is mounted: until it is cancelled,
** or somebody unmounts it. The versions are those that there were when it
** began; a shared lock keeps all of them.
*/
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "repository/mount_parts.h"
#include "repository/version.h"

/* Blobs that are remembered. */
#define KEPT ((size_t)64 << 20)
#define THREADS_LEAST 4u

static bool mounted_stopped(const repo_stop *stop) {
  const mounted *m = (const mounted *)stop;
  return m->gone || repo_stopped(&m->h->stop);
}

static error *choose(mounted *m) {
  size_t count, kept = 0;
  error *e = repo_versions(m->c->r, &m->versions, &count, &m->stop);
  for (size_t i = 0; e == NULL && i < count; i++) {
    if (repo_version_is_wanted(m->versions[i], m->c->options))
      m->versions[kept++] = m->versions[i];
    else
      repo_snapshot_free(m->versions[i]);
  }
  if (e == NULL) m->versions[kept] = NULL;
  m->version_count = kept;
  return e;
}

static error *start_threads(mounted *m) {
  sigset_t all, before;
  unsigned wanted = m->h->store->connections;
  if (wanted < THREADS_LEAST) wanted = THREADS_LEAST;
  if (wanted > MOUNT_THREADS_MOST) wanted = MOUNT_THREADS_MOST;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the host's */
  while (m->thread_count < wanted &&
         pthread_create(&m->threads[m->thread_count], NULL, mount_serve, m) ==
             0)
    m->thread_count++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (m->thread_count > 0) return NULL;
  return repo_error(SAROS_E_OUTOFMEMORY,
                    "no thread can be started: there are too many already");
}

static void end_threads(mounted *m) {
  while (write(m->bell[1], "", 1) < 0 && errno == EINTR) {}
  while (m->thread_count > 0) pthread_join(m->threads[--m->thread_count], NULL);
}

static error *wait_for_the_end(mounted *m) {
  saros_op_phase(m->c->op, "mounted");
  while (repo_pause(&m->stop, 3600000)) {}
  if (m->gone) return NULL;
  saros_op_phase(m->c->op, "unmounting");
  return repo_error(SAROS_E_CANCELLED, "it was unmounted");
}

/* On the way out: first nobody is mounted there, so that all who wait get an
   answer from the kernel; then the threads end, then what they used goes. */
static error *mount_and_wait(mounted *m) {
  const value *o = m->c->options;
  error *e = mount_begin(&m->place, value_chars(value_get(o, "at"), ""),
                         value_boolean(value_get(o, "allow_other"), false));
  if (e != NULL) return e;
  e = start_threads(m);
  if (e == NULL) e = wait_for_the_end(m);
  mount_leave(&m->place, m->gone);
  end_threads(m);
  mount_end(&m->place);
  return e;
}

static error *prepare(mounted *m) {
  if (pipe2(m->bell, O_CLOEXEC) != 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno, "no pipe can be made",
                          NULL);
  error *e = choose(m);
  if (e == NULL) e = repo_index_of(m->h, &m->index);
  if (e == NULL)
    e = mount_layout_make(&m->layout, m->versions, m->version_count);
  if (e == NULL) e = mount_root_make(m);
  if (e != NULL) return e;
  m->blobs =
      repo_blobs_new(m->h->store, repo_tools_of(m->c->r), m->index, KEPT);
  return m->blobs != NULL ? NULL : error_no_memory();
}

static error *tell(mounted *m) {
  value *map = m->c->details = value_map();
  bool good =
      map != NULL &&
      value_put(map, "versions", value_int((int64_t)m->version_count)) &&
      value_put(map, "failures", value_int((int64_t)m->failures));
  return good ? NULL : error_no_memory();
}

error *repo_work_mount(repo_call *c) {
  const char *at = value_chars(value_get(c->options, "at"), NULL);
  mounted m = {.stop = {mounted_stopped},
               .c = c,
               .place = {.fd = -1, .line = -1},
               .bell = {-1, -1}};
  if (at == NULL)
    return repo_error(SAROS_E_INVALIDARG,
                      "at: the directory to mount at expected");
  error *e = repo_call_hold(c, REPO_READS, &m.h);
  if (e != NULL) return e;
  pthread_mutex_init(&m.lock, NULL);
  e = prepare(&m);
  if (e == NULL) e = mount_and_wait(&m);
  error *why = tell(&m);
  if (e == NULL)
    e = why;
  else
    error_unref(why);
  while (m.open != NULL) mount_handle_close(&m, m.open);
  mount_nodes_free(&m);
  mount_layout_free(&m.layout);
  repo_blobs_free(m.blobs);
  repo_versions_free(m.versions);
  for (int i = 0; i < 2; i++)
    if (m.bell[i] >= 0) close(m.bell[i]);
  pthread_mutex_destroy(&m.lock);
  return repo_call_let_go(c, m.h, e);
}
