/*
** Work that sleeps in the kernel: watched, stopped; and btrfs, which gets
** another size while it is in use.
**
** not under valgrind: it knows nothing of what btrfs is told; ASan runs it
*/
#include "vds_plex_case.h"

#include "vds/btrfs_extents.h"
#include "vds/fs_parts.h"
#include "vds/watch.h"


/* ------------------------------------------------------------------
** The watch
** ---------------------------------------------------------------- */

static sem_t goes_on; /* the work waits for it */
static atomic_int looks, stops;
static bool waits_for_looks; /* else it waits to be stopped */

static int watched_work(void *context) {
  (void)context;
  while (sem_wait(&goes_on) != 0) continue;
  return waits_for_looks ? 7 : -ECANCELED;
}

static void watched_look(void *context) {
  vds_call *c = context;
  int n = atomic_fetch_add(&looks, 1) + 1;
  vds_progress(c, (uint64_t)n, 10);
  if (waits_for_looks && n == 3) sem_post(&goes_on);
}

/* The kernel may not hear it at once. */
static void watched_stop(void *context) {
  (void)context;
  if (atomic_fetch_add(&stops, 1) + 1 == 2) sem_post(&goes_on);
}

static error *watched(vds_call *c) {
  int result = 0;
  const vds_watched w = {watched_work, watched_look,
                         vds_flag(c, "deaf") ? NULL : watched_stop, c};
  error *e = vds_watched_run(c, &w, &result);
  vds_detail(c, "result", value_int(result));
  if (e == NULL && vds_stopped(c, &e)) return e;
  if (e == NULL && result != 7) e = vds_error(SAROS_E_FAIL, "%d", result);
  return e;
}

static const vds_work watched_call = {
    "watched", VDS_UNKNOWN, VDS_CLAIMS_NOTHING,
    VDS_KIND("watched", SAROS_CANCELLABLE), watched};

static saros_op *begin_watched(bool by_looks, const char *options) {
  uint32_t why = 0;
  value *v = value_map();
  if (options != NULL) value_put(v, options, value_bool(true));
  sem_init(&goes_on, 0, 0);
  atomic_store(&looks, 0);
  atomic_store(&stops, 0);
  waits_for_looks = by_looks;
  saros_api_table = saros_api_own();
  saros_op *op = vds_call_begin(&watched_call, v, NULL, &why);
  CHECK_INT(why, 0);
  return op;
}

TEST(what_lasts_is_looked_at) {
  CHECK_ANSWER(end_of(begin_watched(true, NULL)), 0);
  CHECK(atomic_load(&looks) >= 3);
  CHECK_INT(atomic_load(&stops), 0);
}

TEST(a32_a33_a43_a45_while_it_sleeps_one_may_ask) {
  hold_at("watch: looks");
  saros_op *op = begin_watched(true, NULL);
  await_held();
  uint32_t hr = 0, percent = 100;
  CHECK_INT(saros_vds_query_status(op, &hr, &percent), 0);
  CHECK_INT(hr, 0x80042409u);
  CHECK(percent <= 99);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
}

TEST(cancelled_it_is_stopped_until_it_hears) {
  hold_at("watch: looks");
  saros_op *op = begin_watched(false, NULL);
  await_held();
  CHECK_INT(saros_vds_cancel(op), 0);
  CHECK_INT(saros_op_wait(op, 0), 0); /* it sleeps still */
  let_on();
  CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
  CHECK(atomic_load(&stops) >= 2);
}

TEST(what_cannot_be_stopped_is_waited_for) {
  hold_at("watch: looks");
  saros_op *op = begin_watched(true, "deaf");
  await_held();
  CHECK_INT(saros_vds_cancel(op), 0);
  let_on();
  CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
  CHECK(atomic_load(&looks) >= 3);
}


/* ------------------------------------------------------------------
** btrfs gets another size
** ---------------------------------------------------------------- */

static error *resize_or_label(vds_call *c) {
  vds_identity who;
  vds_target t = VDS_TARGET_NONE;
  vds_btrfs *b = mem_alloc(sizeof *b);
  error *e = NULL;
  if (!vds_identity_get(value_get(c->options, "object"), &who))
    e = vds_error(SAROS_E_INVALIDARG, "no object");
  if (e == NULL) e = vds_target_open(&who, VDS_OPEN_WRITE, &t);
  if (e == NULL) {
    e = vds_btrfs_open(t.is.dev, b);
    const char *label = vds_text(c, "label");
    if (e == NULL && label != NULL)
      e = vds_btrfs_label(c, &t, b->mount, label);
    else if (e == NULL)
      e = vds_btrfs_resize(c, &t, b->mount,
                           (uint64_t)vds_integer(c, "size", 0));
    vds_btrfs_close(b);
  }
  vds_target_close(&t);
  mem_free(b);
  return e;
}

static const vds_work resize_call = {"resize", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
                                     VDS_KIND("resize", SAROS_CANCELLABLE),
                                     resize_or_label};

__attribute__((format(printf, 1, 2))) static saros_op *begin_resize(
    const char *format, ...) {
  va_list args;
  uint32_t why = 0;
  va_start(args, format);
  value *options = vds_json(format, args);
  va_end(args);
  saros_api_table = saros_api_own();
  saros_op *op = vds_call_begin(&resize_call, options, NULL, &why);
  CHECK_INT(why, 0);
  return op;
}

static vds_space space_of(const disk *d) {
  vds_space s = {0};
  vds_target t = VDS_TARGET_NONE;
  vds_identity who = identity_of(d);
  error *e = vds_target_open(&who, VDS_OPEN_WRITE, &t);
  if (e == NULL) e = vds_btrfs_space(NULL, &t, &s);
  if (e != NULL) printf("%s\n", e->message);
  CHECK(e == NULL);
  error_unref(e);
  vds_target_close(&t);
  return s;
}

static const uint64_t mib = 1 << 20;

TEST(btrfs_shrinks_and_grows_while_it_is_used) {
  NEED_DISKS();
  disk d = make_disk(600);
  const char *at = place("resize");
  const char *why = make_btrfs(&d, NULL, at);
  if (why != NULL) SKIP(why);
  fill_file(at, "one", 1, 48);
  vds_space s = space_of(&d);
  CHECK_INT(s.size, 600 * mib);
  CHECK(s.minimum >= 256 * mib && s.minimum < 600 * mib);
  CHECK(s.used >= 48 * mib && s.used <= s.size);
  int in_use = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK_ANSWER(end_of(begin_resize("{'object':%s,'size':%llu}", object(&d),
                                   (unsigned long long)s.minimum)),
               0);
  CHECK_INT(space_of(&d).size, s.minimum);
  CHECK_ANSWER(end_of(begin_resize("{'object':%s,'size':%llu}", object(&d),
                                   600 * (unsigned long long)mib)),
               0);
  CHECK_INT(space_of(&d).size, 600 * mib);
  /* Not smaller than what it holds, not larger than what there is. */
  CHECK_ANSWER(
      end_of(begin_resize("{'object':%s,'size':16777216}", object(&d))),
      VDS_E_SHRINK_SIZE_TOO_BIG);
  CHECK_ANSWER(end_of(begin_resize("{'object':%s,'size':%llu}", object(&d),
                                   700 * (unsigned long long)mib)),
               VDS_E_CANNOT_EXTEND);
  CHECK_INT(space_of(&d).size, 600 * mib);
  close(in_use);
  CHECK(is_filled(at, "one", 1, 48));
  check_btrfs(&d, at);
  CHECK_ANSWER(end_of(begin_resize("{'object':%s,'size':%llu}", object(&d),
                                   300 * (unsigned long long)mib)),
               VDS_E_VOLUME_NOT_MOUNTED);
  CHECK_INT(space_of(&d).size, 600 * mib); /* that needs no place */
  drop_disk(&d);
}

/* Wherever the cancel meets it: it has its old size. */
TEST(a_cancelled_shrink_never_was) {
  NEED_DISKS();
  static const char *const steps[] = {"btrfs: resizes", "watch: looks",
                                      "btrfs: resized"};
  disk d = make_disk(600);
  const char *at = place("cancelled");
  const char *why = make_btrfs(&d, NULL, at);
  if (why != NULL) SKIP(why);
  fill_file(at, "one", 1, 48);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    hold_at(steps[i]);
    saros_op *op = begin_resize("{'object':%s,'size':%llu}", object(&d),
                                300 * (unsigned long long)mib);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK_INT(space_of(&d).size, 600 * mib);
  }
  CHECK(is_filled(at, "one", 1, 48));
  check_btrfs(&d, at);
  drop_disk(&d);
}

TEST(btrfs_is_labelled) {
  NEED_DISKS();
  disk d = make_disk(300);
  const char *at = place("label");
  char label[300];
  const char *why = make_btrfs(&d, NULL, at);
  if (why != NULL) SKIP(why);
  memset(label, 'x', sizeof label);
  label[256] = '\0';
  CHECK_ANSWER(
      end_of(begin_resize("{'object':%s,'label':'%s'}", object(&d), label)),
      VDS_E_BAD_LABEL);
  label[255] = '\0';
  CHECK_ANSWER(
      end_of(begin_resize("{'object':%s,'label':'%s'}", object(&d), label)), 0);
  vds_probe p;
  check_btrfs(&d, at);
  error *e = vds_probe_fd(d.fd, &p);
  CHECK(e == NULL);
  error_unref(e);
  CHECK_TEXT(p.label, label);
  drop_disk(&d);
}

static void all(void) {
  RUN(what_lasts_is_looked_at);
  RUN(a32_a33_a43_a45_while_it_sleeps_one_may_ask);
  RUN(cancelled_it_is_stopped_until_it_hears);
  RUN(what_cannot_be_stopped_is_waited_for);
  RUN(btrfs_shrinks_and_grows_while_it_is_used);
  RUN(a_cancelled_shrink_never_was);
  RUN(btrfs_is_labelled);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
