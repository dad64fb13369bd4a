/*
** The end of a download: digests, names, and what a crash leaves between.
*/
#include "bits_finish_case.h"

/* ------------------------------------------------------------------
** Digests
** ---------------------------------------------------------------- */

TEST(nothing_is_said_of_it) {
  make();
  CHECK_INT(verify(), BITS_END_WHOLE);
  CHECK(!r.verified);
  bed_end(&b);
}

TEST(it_is_what_the_caller_says) {
  make();
  caller_says(ABC);
  CHECK_INT(verify(), BITS_END_WHOLE);
  CHECK(r.verified);
  CHECK_INT(b.f->marks, BITS_FILE_VERIFIED);
  CHECK_INT(name(), BITS_END_WHOLE);
  CHECK(file_has(b.path, "abc", 3));
  bed_end(&b);
}

TEST(it_is_not) {
  make();
  caller_says(NOT);
  CHECK_INT(verify(), BITS_END_AT_ONCE); /* once more */
  CHECK(!r.verified && b.f->known == NULL);
  CHECK_INT(atomic_load(&b.f->have), 0);
  CHECK_INT(place_names(&b.p), 0);
  bits_file *again = put("file", 0, "abc");
  b.f->known = again->known;
  again->known = NULL;
  atomic_store(&b.f->have, 3);
  file_end(again);
  CHECK_INT(verify(), BITS_END_FAILED);
  CHECK_INT(r.code, BG_E_VALIDATION_FAILED);
  CHECK(strstr(r.why, ABC) != NULL && strstr(r.why, NOT) != NULL);
  CHECK_INT(place_names(&b.p), 0);
  bed_end(&b);
}

TEST(what_the_server_says) {
  static const char *const right[] = {
      "sha-256:" ABC, "md5:900150983cd24fb0d6963f7d28e17f72",
      "sha-512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
      "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
      "sha-256:"
      "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"};
  for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
    make();
    b.f->known->digest = mem_text(right[i]);
    CHECK_INT(verify(), BITS_END_WHOLE);
    CHECK(r.verified);
    b.f->known->digest[strlen(right[i]) - 1] ^= 1;
    CHECK_INT(verify(), BITS_END_AT_ONCE);
    bed_end(&b);
  }
  make();
  b.f->known->digest = mem_text("nobody-knows:00");
  CHECK_INT(verify(), BITS_END_WHOLE);
  CHECK(!r.verified);
  bed_end(&b);
  /* Of ranges nobody knows: it is of the whole. */
  make();
  b.f->known->digest = mem_text("sha-256:" NOT);
  caller_says(ABC);
  b.f->extra->ranges = mem_zero(sizeof *b.f->extra->ranges);
  *b.f->extra->ranges = (bits_range){100, 3};
  b.f->extra->range_count = 1;
  CHECK_INT(verify(), BITS_END_WHOLE);
  CHECK(r.verified);
  bed_end(&b);
}

/* ------------------------------------------------------------------
** Names
** ---------------------------------------------------------------- */

TEST(it_is_as_if_the_caller_had_made_it) {
  static const bits_durability all[] = {BITS_DURABLE_NONE, BITS_DURABLE_GROUP,
                                        BITS_DURABLE_FILE};
  struct stat about;
  for (size_t i = 0; i < 3; i++) {
    make();
    b.terms->durability = all[i];
    CHECK(stat(b.part, &about) == 0 && (about.st_mode & 0777) == 0600);
    mode_t mask = umask(027);
    CHECK_INT(name(), BITS_END_WHOLE);
    umask(mask);
    CHECK(stat(b.path, &about) == 0 && (about.st_mode & 0777) == 0640);
    CHECK(file_has(b.path, "abc", 3));
    CHECK_INT(place_names(&b.p), 1);
    CHECK_INT(name(), BITS_END_WHOLE); /* once more does no harm */
    bed_end(&b);
  }
}

TEST(who_has_the_name_keeps_it) {
  make();
  file_put(b.path, "mine", 4);
  CHECK_INT(name(), BITS_END_FAILED);
  is_local(WIN32_ALREADY_EXISTS);
  CHECK(strstr(r.why, b.path) != NULL);
  CHECK(file_has(b.path, "mine", 4));
  CHECK(file_has(b.part, "abc", 3)); /* kept */
  CHECK(b.f->known != NULL);
  b.terms->overwrite = true;
  CHECK_INT(name(), BITS_END_WHOLE);
  CHECK(file_has(b.path, "abc", 3));
  CHECK_INT(place_names(&b.p), 1);
  bed_end(&b);
  make();
  CHECK_INT(mkdir(b.path, 0700), 0);
  CHECK_INT(name(), BITS_END_FAILED);
  is_local(WIN32_ALREADY_EXISTS);
  b.terms->overwrite = true;
  CHECK_INT(name(), BITS_END_FAILED);
  CHECK_INT(r.context, BITS_CONTEXT_LOCAL);
  CHECK(file_has(b.part, "abc", 3));
  bed_end(&b);
}

TEST(the_part_is_not_the_one) {
  make();
  unlink(b.part);
  CHECK_INT(name(), BITS_END_AT_ONCE);
  CHECK(b.f->known == NULL && atomic_load(&b.f->have) == 0);
  bed_end(&b);
  make();
  char *other = place_path(&b.p, "other");
  file_put(other, "xyz", 3);
  CHECK_INT(rename(other, b.part), 0);
  CHECK_INT(name(), BITS_END_AT_ONCE);
  CHECK(access(b.path, F_OK) != 0);
  CHECK_INT(name(), BITS_END_FAILED); /* twice is too often */
  is_local(WIN32_FILE_NOT_FOUND);
  free(other);
  bed_end(&b);
  make();
  other = place_path(&b.p, "precious");
  file_put(other, "abc", 3);
  chmod(other, 0600);
  unlink(b.part);
  CHECK_INT(symlink(other, b.part), 0);
  CHECK_INT(name(), BITS_END_AT_ONCE);
  struct stat about;
  CHECK(stat(other, &about) == 0 && (about.st_mode & 0777) == 0600);
  free(other);
  bed_end(&b);
  make();
  CHECK_INT(truncate(b.part, 2), 0);
  CHECK_INT(name(), BITS_END_AT_ONCE);
  CHECK(access(b.path, F_OK) != 0);
  bed_end(&b);
}

TEST(no_directory) {
  make();
  place_wipe(AT_FDCWD, b.p.root);
  CHECK_INT(name(), BITS_END_AT_ONCE); /* its bytes are gone with it */
  bed_end(&b);
}

TEST(many_together) {
  enum { COUNT = 80 }; /* two work at them, where nothing is synced */
  static const bits_durability all[] = {BITS_DURABLE_GROUP, BITS_DURABLE_FILE,
                                        BITS_DURABLE_NONE};
  for (size_t d = 0; d < 3; d++) {
    bits_file *files[COUNT];
    bits_result results[COUNT];
    make();
    b.terms->durability = all[d];
    char *below = place_path(&b.p, "below");
    mkdir(below, 0700);
    for (uint32_t i = 0; i < COUNT; i++) {
      char at_name[64];
      snprintf(at_name, sizeof at_name, "%sf%u", i % 10 < 5 ? "" : "below/", i);
      files[i] = put(at_name, i + 1, at_name);
    }
    for (uint32_t i = 7; i < COUNT; i += 60) {
      char *gone = bits_part_name(files[i]);
      unlink(gone);
      mem_free(gone);
      file_put(files[i + 1]->path, "mine", 4);
    }
    bits_finish_name(files, b.terms, COUNT, results);
    for (uint32_t i = 0; i < COUNT; i++) {
      bits_end right = i % 60 == 7   ? BITS_END_AT_ONCE
                       : i % 60 == 8 ? BITS_END_FAILED
                                     : BITS_END_WHOLE;
      CHECK_INT(results[i].end, right);
      const char *text = files[i]->path + strlen(b.p.root) + 1;
      CHECK_INT(file_has(files[i]->path, text, strlen(text)),
                right == BITS_END_WHOLE);
      file_end(files[i]);
    }
    free(below);
    bed_end(&b);
  }
}

/* ------------------------------------------------------------------
** Crashes
** ---------------------------------------------------------------- */

TEST(it_had_its_name_already) {
  make();
  CHECK(!bits_finish_appeared(b.f)); /* it is a part */
  CHECK_INT(name(), BITS_END_WHOLE);
  b.f->marks = 0;
  CHECK(bits_finish_appeared(b.f));
  b.f->known->inode++;
  CHECK(!bits_finish_appeared(b.f)); /* another */
  b.f->known->inode--;
  b.f->known->total++;
  CHECK(!bits_finish_appeared(b.f)); /* of another length */
  b.f->known->total = BITS_UNKNOWN;
  CHECK(!bits_finish_appeared(b.f)); /* who knows */
  CHECK(file_has(b.path, "abc", 3));
  b.f->known->total = 3;
  caller_says(NOT); /* which is looked at all the same */
  CHECK_INT(verify(), BITS_END_AT_ONCE);
  bed_end(&b);
}

/* The name came to the disk, and nobody knows whether the bytes did. */
TEST(a_name_before_its_bytes) {
  make();
  CHECK_INT(name(), BITS_END_WHOLE);
  b.f->known->boot[0] ^= 1;
  CHECK(!bits_finish_appeared(b.f));
  CHECK(access(b.path, F_OK) != 0);
  CHECK(file_has(b.part, "abc", 3)); /* a part again */
  bed_end(&b);
  make();
  CHECK_INT(name(), BITS_END_WHOLE);
  b.f->known->boot[0] ^= 1;
  b.f->known->durable = 3;
  CHECK(bits_finish_appeared(b.f));
  CHECK(file_has(b.path, "abc", 3));
  bed_end(&b);
}

TEST(booted_before_it_was_on_the_disk) {
  make();
  caller_says(ABC);
  b.f->known->boot[0] ^= 1;
  b.f->known->durable = 2;
  CHECK_INT(verify(), BITS_END_AT_ONCE);
  CHECK_INT(name(), BITS_END_AT_ONCE);
  CHECK(b.f->known != NULL); /* two of them are gone on with */
  CHECK(access(b.path, F_OK) != 0);
  b.p.job.marks = BITS_JOB_DURABLE;
  CHECK_INT(verify(), BITS_END_WHOLE);
  CHECK_INT(name(), BITS_END_WHOLE);
  bed_end(&b);
}

/* Disks have other numbers now. */
TEST(booted_with_another_device) {
  make();
  caller_says(ABC);
  uint64_t device = b.f->known->device++;
  CHECK_INT(verify(), BITS_END_AT_ONCE); /* in one boot they have not */
  bed_end(&b);
  make();
  caller_says(ABC);
  b.f->known->device++;
  b.f->known->boot[0] ^= 1;
  b.f->known->durable = 3;
  CHECK_INT(verify(), BITS_END_WHOLE);
  CHECK_INT(b.f->known->device, device);
  b.f->known->device++;
  CHECK_INT(name(), BITS_END_WHOLE);
  CHECK_INT(name(), BITS_END_WHOLE);
  CHECK(file_has(b.path, "abc", 3));
  bed_end(&b);
}

TEST(it_is_dropped) {
  make();
  CHECK(bits_finish_drop(b.f));
  CHECK_INT(place_names(&b.p), 0);
  CHECK(bits_finish_drop(b.f)); /* there is none: as it should be */
  CHECK_INT(mkdir(b.part, 0700), 0);
  CHECK(!bits_finish_drop(b.f));
  CHECK(errno == EISDIR || errno == EPERM);
  bed_end(&b);
}

/* Wherever memory runs out: no crash, and no success that is none. */
TEST(no_memory) {
  for (long n = 1;; n++) {
    make();
    caller_says(ABC);
    mem_fail_at(n);
    bits_end end = verify();
    if (end == BITS_END_WHOLE) end = name();
    long left = mem_fail_left();
    mem_fail_at(0);
    CHECK_INT(file_has(b.path, "abc", 3), end == BITS_END_WHOLE);
    if (end != BITS_END_WHOLE) {
      CHECK_INT(r.end, BITS_END_FAILED);
      CHECK_INT(verify(), BITS_END_WHOLE);
      CHECK_INT(name(), BITS_END_WHOLE);
      CHECK(file_has(b.path, "abc", 3));
    }
    bed_end(&b);
    if (left > 0) break;
  }
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  long blocks = least_blocks();
  GATE_RUN(nothing_is_said_of_it);
  GATE_RUN(it_is_what_the_caller_says);
  GATE_RUN(it_is_not);
  GATE_RUN(what_the_server_says);
  GATE_RUN(it_is_as_if_the_caller_had_made_it);
  GATE_RUN(who_has_the_name_keeps_it);
  GATE_RUN(the_part_is_not_the_one);
  GATE_RUN(no_directory);
  GATE_RUN(many_together);
  GATE_RUN(it_had_its_name_already);
  GATE_RUN(a_name_before_its_bytes);
  GATE_RUN(booted_before_it_was_on_the_disk);
  GATE_RUN(booted_with_another_device);
  GATE_RUN(it_is_dropped);
  GATE_RUN(no_memory);
  http_settle();
  CHECK(has_no_more_blocks(blocks));
  return check_end();
}
