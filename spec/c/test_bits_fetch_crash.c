/*
** What happens to the part between two tries, to the process and to the
** machine.
** The file is one version of what the server has, whole; the row is never of
** another than the bytes.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "bits/fetch_parts.h"
#include "bits_fetch_case.h"

static bed b;

/* ------------------------------------------------------------------
** What happens to the part
** ---------------------------------------------------------------- */

static void begin_part(const char *name) {
  char query[128];
  snprintf(query, sizeof query, "size=60000&plan=drop:30000,ok");
  bed_make(&b, name, query);
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
}

TEST(the_part_is_another) {
  char *precious = NULL;
  struct stat about;
  begin_part("link");
  precious = place_path(&b.p, "precious");
  file_put(precious, "precious", 8);
  unlink(b.part);
  CHECK_INT(symlink(precious, b.part), 0);
  CHECK_INT(bed_carry(&b, 2), BITS_END_WHOLE);
  CHECK_INT(bed_finish(&b), BITS_END_WHOLE);
  CHECK(bed_has(&b, 60000, 0));
  CHECK(file_has(precious, "precious", 8));
  CHECK(lstat(b.path, &about) == 0 && S_ISREG(about.st_mode));
  free(precious);
  bed_end(&b);

  begin_part("other");
  char *other = place_path(&b.p, "x");
  file_put(other, "some other file, with other bytes", 33);
  CHECK_INT(rename(other, b.part), 0);
  CHECK(bed_comes(&b, 2, 60000, 0));
  CHECK_INT(ranges_asked("other"), 0);
  CHECK_INT(b.commits, 1);
  free(other);
  bed_end(&b);

  begin_part("gone");
  unlink(b.part);
  CHECK(bed_comes(&b, 2, 60000, 0));
  CHECK_INT(b.commits, 1);
  bed_end(&b);
}

TEST(the_part_is_shorter) {
  begin_part("shorter");
  CHECK_INT(truncate(b.part, 20000), 0);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK(log_has("shorter", "\"range\": \"bytes=15904-\""));
  bed_end(&b);
  begin_part("empty");
  CHECK_INT(truncate(b.part, 0), 0);
  CHECK(bed_comes(&b, 2, 60000, 0));
  bed_end(&b);
}

static void write_into(uint64_t at, const char *text) {
  int fd = open(b.part, O_WRONLY | O_CLOEXEC);
  CHECK(pwrite(fd, text, strlen(text), (off_t)at) > 0);
  close(fd);
}

TEST(somebody_writes_to_the_part) {
  begin_part("tail");
  write_into(29990, "0123456789");
  CHECK(bed_comes(&b, 3, 60000, 0));
  CHECK_INT(b.commits, 1);
  bed_end(&b);
  begin_part("more");
  write_into(30000, "and something behind its end");
  CHECK(bed_comes(&b, 3, 60000, 0));
  bed_end(&b);
  begin_part("longer");
  CHECK_INT(truncate(b.part, 70000), 0); /* than the file is */
  CHECK(bed_comes(&b, 3, 60000, 0));
  CHECK_INT(ranges_asked("longer"), 0);
  bed_end(&b);
}

/* ------------------------------------------------------------------
** Crashes
** ---------------------------------------------------------------- */

TEST(a_process_dies) {
  begin_part("dies"); /* its row is there */
  b.row.have = 12345; /* as of a while ago */
  bed_crash(&b);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK(log_has("dies", "\"range\": \"bytes=25904-\""));
  bed_end(&b);
  bed_make(&b, "rowless", "size=60000&plan=drop:30000,version:1");
  b.eager = false; /* nothing was committed yet */
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  bed_crash(&b);
  CHECK(bed_comes(&b, 1, 60000, 1));
  CHECK_INT(ranges_asked("rowless"), 0);
  bed_end(&b);
}

TEST(a_process_dies_when_it_has_its_name) {
  bed_make(&b, "named", "size=60000");
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK_INT(bed_finish(&b), BITS_END_WHOLE);
  bed_crash(&b);
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK_INT(atomic_load(&b.f->have), 60000);
  CHECK_INT(bed_finish(&b), BITS_END_WHOLE);
  CHECK_INT(server_count("/f/named"), 1);
  CHECK(bed_has(&b, 60000, 0));
  /* And the machine, too, with nothing of it on the disk. */
  b.row.known->boot[0] ^= 1;
  bed_crash(&b);
  CHECK(bed_comes(&b, 2, 60000, 0));
  CHECK_INT(server_count("/f/named"), 2);
  bed_end(&b);
}

TEST(the_machine_dies) {
  begin_part("machine");
  b.row.known->durable = 10000;
  bed_power_cut(&b);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK(log_has("machine", "\"range\": \"bytes=5904-\""));
  bed_end(&b);
  /* The disk has another number now, and its file is known by that. */
  bed_make(&b, "renumbered", "size=60000&plan=drop:30000,drop:9000,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  uint64_t device = b.row.known->device++;
  b.row.known->durable = 10000;
  bed_power_cut(&b);
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(b.row.known->device, device);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK_INT(ranges_asked("renumbered"), 2);
  bed_end(&b);
  begin_part("nothing");
  bed_power_cut(&b);
  CHECK(bed_comes(&b, 2, 60000, 0));
  CHECK_INT(ranges_asked("nothing"), 0);
  bed_end(&b);
}

TEST(what_is_durable_is_noted) {
  fetch_sync_bytes = 100000;
  bed_make(&b, "noted", "size=3000000&plan=slow:50000:1+drop:2500000,ok");
  b.terms->durability = BITS_DURABLE_GROUP;
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(b.syncs > 0);
  uint64_t durable = b.row.known->durable;
  CHECK(durable >= 100000 && durable <= 2500000);
  bed_power_cut(&b);
  CHECK(bed_comes(&b, 1, 3000000, 0));
  char range[64];
  snprintf(range, sizeof range, "\"range\": \"bytes=%llu-\"",
           (unsigned long long)durable - 4096);
  CHECK(log_has("noted", range));
  bed_end(&b);
  bed_make(&b, "nobody", "size=1000000");
  CHECK_INT(bed_try(&b), BITS_END_WHOLE); /* who wants none pays for none */
  CHECK_INT(b.syncs, 0);
  bed_end(&b);
  bed_make(&b, "bare", "size=1000000&all=bare");
  b.terms->durability = BITS_DURABLE_GROUP;
  CHECK_INT(bed_try(&b), BITS_END_WHOLE); /* it could not go on anyway */
  CHECK_INT(b.syncs, 0);
  bed_end(&b);
  fetch_sync_bytes = (uint64_t)64 << 20;
}

/* The disk says once that it has lost bytes, and never again. */
TEST(what_the_disk_has_lost) {
  fetch_sync_bytes = 100000;
  bed_make(&b, "disk", "size=1000000");
  b.terms->durability = BITS_DURABLE_GROUP;
  b.sync_fails = EIO;
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK_INT(b.result.context, BITS_CONTEXT_LOCAL);
  CHECK(b.row.known == NULL && b.f->known == NULL);
  CHECK_INT(b.commits, 1);
  b.sync_fails = 0;
  CHECK(bed_comes(&b, 1, 1000000, 0));
  CHECK_INT(ranges_asked("disk"), 0);
  bed_end(&b);
  fetch_sync_bytes = (uint64_t)64 << 20;
}

TEST(it_is_stopped_while_it_is_synced) {
  fetch_sync_bytes = 20000;
  bed_make(&b, "synced", "size=2000000&all=slow:30000:1");
  b.terms->durability = BITS_DURABLE_FILE;
  for (unsigned i = 0; i < 10; i++) {
    bed_begin(&b);
    usleep(i * 2000); /* any moment */
    bed_stop(&b);
    if (bed_wait(&b) == BITS_END_WHOLE) break;
  }
  CHECK(bed_comes(&b, 5, 2000000, 0));
  bed_end(&b);
  fetch_sync_bytes = (uint64_t)64 << 20;
}

/* Before the first byte of another representation comes the row is gone. */
TEST(a_row_is_forgotten_first) {
  bed_make(
      &b, "first",
      "size=60000&plan=drop:30000,version:1,version:1+drop:5000,version:1");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(b.row.known != NULL);
  b.eager = false;
  CHECK_INT(bed_try(&b), BITS_END_AT_ONCE);
  CHECK_INT(b.commits, 1);
  CHECK(b.row.known == NULL);
  CHECK_INT(bed_try(&b), BITS_END_AGAIN); /* other bytes, without a row */
  bed_crash(&b);
  CHECK(bed_comes(&b, 2, 60000, 1));
  CHECK_INT(ranges_asked("first"), 1);
  bed_end(&b);
}

TEST(it_cannot_be_forgotten) {
  begin_part("queue");
  mem_free(b.f->url);
  b.f->url = mem_text(at("f/queue?size=60000&version:1&all=version:1"));
  b.refusals = 2;
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK_INT(b.result.context, BITS_CONTEXT_QUEUE);
  CHECK(strstr(b.result.why, "the queue is gone") != NULL);
  struct stat about;
  CHECK(stat(b.part, &about) == 0 && about.st_size == 30000);
  bed_end(&b);
}

/* Everything at once, seeded: what comes is whole and of one version. */
static void storm(unsigned seed) {
  static const char *const ways[] = {"drop:20000",
                                     "reset:50000",
                                     "version:1+drop:30000",
                                     "version:2+drop:9",
                                     "if-range:refused+drop:9000",
                                     "bytes:1+drop:700",
                                     "range:shift",
                                     "no-range+drop:40000",
                                     "503",
                                     "range:lie:3",
                                     "bare+drop:30000",
                                     "chunked+drop:8000",
                                     "range:short:9000",
                                     "version:1+if-range:ignored"};
  char query[1024] = "size=90000&plan=", name[32];
  unsigned x = seed;
  for (int i = 0; i < 10; i++) {
    x = x * 1103515245 + 12345;
    strcat(query, ways[(x >> 16) % (sizeof ways / sizeof ways[0])]);
    strcat(query, ",");
  }
  unsigned version = (x >> 9) % 3;
  snprintf(query + strlen(query), 32, "version:%u", version);
  snprintf(name, sizeof name, "storm%u", seed);
  bed_make(&b, name, query);
  b.terms->length_required = false;
  bits_end end = BITS_END_AGAIN;
  for (int i = 0; i < 60 && end != BITS_END_WHOLE; i++) {
    x = x * 1103515245 + 12345;
    b.eager = (x >> 20) & 1;
    bed_begin(&b);
    if (((x >> 21) & 3) == 0) {
      usleep((x >> 8) % 3000);
      bed_stop(&b);
    }
    end = bed_wait(&b);
    if (end == BITS_END_WHOLE) break;
    if (end == BITS_END_FAILED) {
      atomic_store(&b.f->have, 0); /* somebody begins it anew */
      b.f->wrongs = 0;
    }
    if (((x >> 23) & 3) == 0) bed_crash(&b);
    if (((x >> 25) & 7) == 0) bed_power_cut(&b);
  }
  if (end != BITS_END_WHOLE || bed_finish(&b) != BITS_END_WHOLE) {
    check_bad++;
    printf("%s: %d %s\n", query, (int)end, b.result.why);
  } else if (!bed_has(&b, 90000, 0) && !bed_has(&b, 90000, 1) &&
             !bed_has(&b, 90000, 2)) {
    check_bad++;
    printf("%s: a wrong file\n", query);
  }
  bed_end(&b);
}

TEST(everything_at_once) {
  long rounds = getenv("SAROS_LONG") != NULL ? 400 : 24;
  for (long i = 0; i < rounds; i++) storm(4711 + (unsigned)i);
}

int main(int argc, char **argv) {
  if (!bed_suite_begin(argc, argv)) return server_missing();
  GATE_RUN(the_part_is_another);
  GATE_RUN(the_part_is_shorter);
  GATE_RUN(somebody_writes_to_the_part);
  GATE_RUN(a_process_dies);
  GATE_RUN(a_process_dies_when_it_has_its_name);
  GATE_RUN(the_machine_dies);
  GATE_RUN(what_is_durable_is_noted);
  GATE_RUN(what_the_disk_has_lost);
  GATE_RUN(it_is_stopped_while_it_is_synced);
  GATE_RUN(a_row_is_forgotten_first);
  GATE_RUN(it_cannot_be_forgotten);
  GATE_RUN(everything_at_once);
  return bed_suite_end();
}
