/*
** backup_stream: what another operation or a descriptor gives, as a file. Who
** asks for that wants all of it: a stream that fails fails the backup.
*/
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "repository/backup_parts.h"
#include "repository/go.h"

#define LOOK_MS 100 /* how often to look whether it was cancelled */

static const repo_stream *stream_of(const file *f) {
  return &f->d->b->c->streams[f->stream->stream];
}

/* As read; it waits in between, and then the rest of the crew works. */
static ssize_t get(file *f, void *into, size_t size, hand *h) {
  struct pollfd p = {.fd = stream_of(f)->fd, .events = POLLIN};
  for (;;) {
    if (repo_backup_ends(h->b)) {
      errno = ECANCELED;
      return -1;
    }
    int ready = poll(&p, 1, LOOK_MS);
    if (ready < 0 && errno != EINTR) return -1;
    if (ready <= 0) continue;
    ssize_t n = read(p.fd, into, size);
    if (n >= 0 || (errno != EINTR && errno != EAGAIN)) return n;
  }
}

static error *failed(const file *f, uint32_t code, const char *what) {
  return repo_error(code, "the stream %s %s: no version was written",
                    f->stream->shown, what);
}

/* Its end is not enough: a program that fails closes its output, too. */
static error *verdict(const file *f, hand *h) {
  saros_op *op = stream_of(f)->op;
  if (op == NULL) return NULL;
  while (!saros_op_wait(op, LOOK_MS))
    if (repo_backup_ends(h->b))
      return repo_error(SAROS_E_CANCELLED, "the backup was cancelled");
  if (saros_op_state(op) == SAROS_SUCCEEDED) return NULL;
  return failed(f, saros_op_code(op), "failed");
}

static void read_stream(crew_job *job, void *hand_) {
  file *f = (file *)(void *)job;
  hand *h = hand_;
  error *e = repo_backup_read_all(f, get, h);
  if (e != NULL && e->code != SAROS_E_CANCELLED && !h->b->failed)
    e = error_because(failed(f, e->code, "could not be read"), e);
  if (e == NULL) e = verdict(f, h);
  if (e != NULL) repo_backup_file_failed(f, h, e);
  repo_backup_file_leave(f, h);
}

void repo_backup_stream_end(file *f, hand *h) {
  directory *d = f->d;
  backup *b = d->b;
  const entry *at = &d->list.entries[f->at];
  int32_t zone = repo_go_zone(b->o.time.tv_sec);
  repo_node n = {.name = d->list.names + at->name,
                 .name_size = at->size,
                 .type = REPO_NODE_FILE,
                 .mode = 0644,
                 .uid = (uint32_t)getuid(),
                 .gid = (uint32_t)getgid(),
                 .size = f->size,
                 .content = f->ids,
                 .content_count = f->count,
                 .has_content = true};
  n.mtime = n.atime = n.ctime = b->o.time;
  n.mtime_zone = n.atime_zone = n.ctime_zone = zone;
  b->counts.files++;
  *(f->was_there ? &b->counts.files_changed : &b->counts.files_new) += 1;
  repo_backup_node_done(d, f->at, &n, h);
}

void repo_backup_stream(directory *d, size_t at, bool was_there, hand *h) {
  struct statx nothing = {0};
  file *f = repo_backup_file_new(d, at, -1, &nothing, was_there);
  if (f == NULL) {
    repo_backup_node_failed(d, at, h, error_no_memory());
    return;
  }
  f->stream = d->plan->items[at]->leaf;
  f->job.run = read_stream;
  repo_crew_push(d->b->crew, &f->job, CREW_PLAIN);
}
