/*
** Commands as writers: a shell script that does as it is told by its verb, and
** what it leaves in a file is what was done.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "op/process.h"
#include "wire_case.h"

extern _Atomic unsigned command_patience_ms;

static char script[128], journal[128];

static void write_script(void) {
  static const char text[] =
      "#!/bin/sh\n"
      "echo \"$1\" >>\"$JOURNAL\"\n"
      "read -r line\n"
      "case \"$line\" in *\"$SESSION\"*) ;; *) exit 3 ;; esac\n"
      "case \"$1-$MODE\" in\n"
      "identify-wrong) echo '{\"name\":7}' ;;\n"
      "identify-garbage) echo hello ;;\n"
      "identify-much) head -c 300000 /dev/zero ;;\n"
      "identify-unknown) exit 64 ;;\n"
      "identify-*) echo '{\"name\":\"script\"}' ;;\n"
      "freeze-unknown) exit 64 ;;\n"
      "freeze-veto) echo 'the disk' >&2; echo 'is full' >&2; exit 1 ;;\n"
      "freeze-later) exit 75 ;;\n"
      "freeze-silent) exit 0 ;;\n"
      "freeze-stuck) echo frost; trap '' TERM\n"
      "  sleep 1000 & echo $! >>\"$JOURNAL\"; wait; sleep 1000 ;;\n"
      "freeze-gone) echo frozen ;;\n"
      "freeze-chatty) echo cooling; echo frozen\n"
      "  while read -r line; do :; done\n"
      "  head -c 300000 /dev/zero; echo thawed >>\"$JOURNAL\" ;;\n"
      "freeze-deaf) echo frozen; trap '' TERM\n"
      "  while :; do sleep 1000; done ;;\n"
      "freeze-broken) echo frozen; cat >/dev/null\n"
      "  echo 'cannot thaw' >&2; exit 5 ;;\n"
      "freeze-*) echo frozen; cat >/dev/null\n"
      "  echo thawed >>\"$JOURNAL\" ;;\n"
      "*-unknown) exit 64 ;;\n"
      "*-slow) sleep 1000 ;;\n"
      "*) [ \"$LANGUAGE\" = inherited ] || exit 4 ;;\n"
      "esac\n";
  snprintf(script, sizeof script, "%s/script", place());
  snprintf(journal, sizeof journal, "%s/journal", place());
  int fd = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
  CHECK_INT(write(fd, text, sizeof text - 1), sizeof text - 1);
  close(fd);
  setenv("LANGUAGE", "inherited", 1);
  setenv("MODE", "to be overridden", 1);
}

/* What was done so far, as one line; lives until the next call. */
static const char *done(void) {
  static char text[4096];
  int fd = open(journal, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  for (char *c = text; *c != '\0'; c++)
    if (*c == '\n') *c = ' ';
  return text;
}

typedef struct scene {
  writer *w;
  writer_link *link;
} scene;

static scene begin(const char *mode) {
  error *e = NULL;
  char set_mode[64], set_journal[160];
  unlink(journal);
  snprintf(set_mode, sizeof set_mode, "MODE=%s", mode);
  snprintf(set_journal, sizeof set_journal, "JOURNAL=%s", journal);
  const char *const argv[] = {script, NULL};
  const char *const env[] = {set_mode, set_journal, "SESSION=" SESSION, NULL};
  scene s = {.w = command_writer(
                 &(command_options){.id = ID, .argv = argv, .env = env}, &e)};
  CHECK(s.w != NULL);
  s.link = s.w->way->connect(s.w, SESSION, &e);
  CHECK(s.link != NULL);
  return s;
}

static void end(scene *s) {
  if (s->link != NULL) s->w->way->hang_up(s->link);
  writer_unref(s->w);
}

static void told(scene *s, writer_event event) {
  ends_with(tell(s->w, s->link, event, FOR_EVER), 0, NULL);
}

WHOLE(every_verb) {
  scene s = begin("good");
  saros_op *op = tell(s.w, s.link, EVENT_IDENTIFY, FOR_EVER);
  CHECK_INT(ended(op), 0);
  CHECK_TEXT(value_chars(value_get(op_output(op), "name"), NULL), "script");
  CHECK_TEXT(value_chars(value_get(op_output(op), "id"), NULL), ID);
  saros_op_unref(op);
  told(&s, EVENT_PREPARE_BACKUP);
  told(&s, EVENT_PREPARE_SNAPSHOT);
  told(&s, EVENT_FREEZE);
  CHECK_TEXT(done(), "identify prepare-backup prepare-snapshot freeze ");
  told(&s, EVENT_THAW);
  CHECK_TEXT(done(), "identify prepare-backup prepare-snapshot freeze thawed ");
  told(&s, EVENT_POST_SNAPSHOT);
  told(&s, EVENT_BACKUP_COMPLETE);
  told(&s, EVENT_BACKUP_SHUTDOWN);
  told(&s, EVENT_PRE_RESTORE);
  told(&s, EVENT_POST_RESTORE);
  CHECK_TEXT(done(),
             "identify prepare-backup prepare-snapshot freeze thawed "
             "post-snapshot backup-complete backup-shutdown pre-restore "
             "post-restore ");
  end(&s);
}

WHOLE(verbs_that_it_does_not_know) {
  scene s = begin("unknown");
  told(&s, EVENT_PREPARE_BACKUP);
  told(&s, EVENT_FREEZE);
  told(&s, EVENT_THAW);
  told(&s, EVENT_ABORT);
  ends_with(tell(s.w, s.link, EVENT_IDENTIFY, FOR_EVER),
            VSS_E_UNEXPECTED_WRITER_ERROR, "no metadata were given");
  end(&s);
}

static void check_freeze(const char *mode, uint32_t code, const char *says) {
  scene s = begin(mode);
  ends_with(tell(s.w, s.link, EVENT_FREEZE, FOR_EVER), code, says);
  told(&s, EVENT_THAW); /* nothing is held */
  end(&s);
}

WHOLE(vetoes) {
  check_freeze("veto", VSS_E_WRITERERROR_NONRETRYABLE,
               "exited with status 1: the disk\\nis full");
  check_freeze("later", VSS_E_WRITERERROR_RETRYABLE, "status 75");
  check_freeze("silent", VSS_E_WRITERERROR_NONRETRYABLE,
               "without having printed \"frozen\"");
}

static void check_identify(const char *mode, const char *says) {
  scene s = begin(mode);
  ends_with(tell(s.w, s.link, EVENT_IDENTIFY, FOR_EVER),
            VSS_E_UNEXPECTED_WRITER_ERROR, says);
  end(&s);
}

WHOLE(metadata_that_are_none) {
  check_identify("wrong", "no metadata");
  check_identify("garbage", "no metadata");
  check_identify("much", "more than 128 KiB");
}

WHOLE(metadata_that_are_given) {
  value *m = value_map();
  CHECK(value_put(m, "name", value_text("given")));
  error *e = NULL;
  const char *const argv[] = {"/nonexistent/program", NULL};
  command_options o = {.id = ID, .argv = argv, .metadata = m};
  scene s = {.w = command_writer(&o, &e)};
  CHECK(s.w != NULL);
  s.link = s.w->way->connect(s.w, SESSION, &e);
  saros_op *op = tell(s.w, s.link, EVENT_IDENTIFY, FOR_EVER);
  CHECK_INT(ended(op), 0);
  CHECK_TEXT(value_chars(value_get(op_output(op), "name"), NULL), "given");
  saros_op_unref(op);
  ends_with(tell(s.w, s.link, EVENT_FREEZE, FOR_EVER),
            VSS_E_UNEXPECTED_WRITER_ERROR, "cannot start");
  end(&s);
  CHECK(value_put(m, "name", value_int(1)));
  CHECK(command_writer(&o, &e) == NULL);
  check_error(e, SAROS_E_INVALIDARG, "name");
  e = NULL;
  CHECK(command_writer(&(command_options){.id = ID}, &e) == NULL);
  check_error(e, SAROS_E_INVALIDARG, "argv");
  e = NULL;
  CHECK(command_writer(&(command_options){.id = "x", .argv = argv}, &e) ==
        NULL);
  check_error(e, SAROS_E_INVALIDARG, "GUID");
  value_free(m);
}


/* ------------------------------------------------------------------
** Holding
** ---------------------------------------------------------------- */

/* What it prints while it holds and after does not make it wait. */
WHOLE(a_chatty_freeze) {
  scene s = begin("chatty");
  told(&s, EVENT_FREEZE);
  error *e = NULL;
  saros_op *op = tell_or(s.w, s.link, EVENT_FREEZE, FOR_EVER, &e);
  error_unref(e);
  ends_with(op, VSS_E_BAD_STATE, "frozen already");
  told(&s, EVENT_THAW);
  CHECK_TEXT(done(), "freeze thawed ");
  end(&s);
}

/* Without taking anybody's status. */
static bool no_child_is_left(void) {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
         errno == ECHILD;
}

WHOLE(a_freeze_that_ended_by_itself) {
  scene s = begin("gone");
  told(&s, EVENT_FREEZE);
  GATE_UNTIL(no_child_is_left());
  ends_with(tell(s.w, s.link, EVENT_THAW, FOR_EVER),
            VSS_E_WRITERERROR_NONRETRYABLE, "before its thaw");
  end(&s);
}

WHOLE(a_thaw_that_fails) {
  scene s = begin("broken");
  told(&s, EVENT_FREEZE);
  ends_with(tell(s.w, s.link, EVENT_THAW, FOR_EVER),
            VSS_E_WRITERERROR_NONRETRYABLE, "status 5: cannot thaw");
  end(&s);
}

WHOLE(an_abort_lets_go_and_says_so) {
  scene s = begin("good");
  told(&s, EVENT_FREEZE);
  told(&s, EVENT_ABORT);
  CHECK_TEXT(done(), "freeze thawed abort ");
  told(&s, EVENT_THAW);
  told(&s, EVENT_ABORT); /* nothing is held: the verb alone */
  CHECK_TEXT(done(), "freeze thawed abort abort ");
  end(&s);
}

/* Gone, or a zombie that somebody has not reaped yet. */
static bool is_gone(long pid) {
  char name[64], text[256];
  snprintf(name, sizeof name, "/proc/%ld/stat", pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  const char *at = strrchr(text, ')');
  return at == NULL || at[2] == 'Z' || at[2] == 'X';
}

/* The whole group ends, also when it does not want to. */
WHOLE(a_freeze_that_is_cancelled) {
  scene s = begin("stuck");
  saros_op *op = tell(s.w, s.link, EVENT_FREEZE, FOR_EVER);
  GATE_UNTIL(strlen(done()) > strlen("freeze "));
  long pid = strtol(done() + strlen("freeze "), NULL, 10);
  CHECK(pid > 0 && !is_gone(pid));
  CHECK_INT(op_try_cancel(op), CANCEL_DONE);
  saros_op *abort = tell(s.w, s.link, EVENT_ABORT, FOR_EVER);
  ends_with(op, SAROS_E_CANCELLED, NULL);
  ends_with(abort, 0, NULL);
  CHECK(is_gone(pid));
  CHECK(strstr(done(), "abort ") != NULL);
  end(&s);
}

WHOLE(deadlines) {
  scene s = begin("slow");
  ends_with(tell(s.w, s.link, EVENT_PREPARE_BACKUP, 100),
            VSS_E_WRITER_NOT_RESPONDING, "not done in time");
  end(&s);
}

WHOLE(a_thaw_that_takes_too_long) {
  scene s = begin("deaf");
  told(&s, EVENT_FREEZE);
  ends_with(tell(s.w, s.link, EVENT_THAW, 100), VSS_E_WRITER_NOT_RESPONDING,
            "not done in time");
  CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
  end(&s);
}

/* The link goes, and with it what it holds: by itself, or after a while. */
WHOLE(hanging_up_thaws) {
  scene s = begin("good");
  told(&s, EVENT_FREEZE);
  s.w->way->hang_up(s.link);
  s.link = NULL;
  GATE_UNTIL(strcmp(done(), "freeze thawed ") == 0);
  end(&s);
  atomic_store(&command_patience_ms, 50);
  s = begin("deaf");
  told(&s, EVENT_FREEZE);
  s.w->way->hang_up(s.link);
  s.link = NULL;
  end(&s);
  GATE_UNTIL(no_child_is_left());
  atomic_store(&command_patience_ms, 10000);
}

/* Our death is its thaw. */
WHOLE(a_requester_that_is_killed) {
  int gate[2];
  CHECK_INT(pipe2(gate, O_CLOEXEC), 0);
  unlink(journal);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    scene s = begin("good");
    told(&s, EVENT_FREEZE);
    ssize_t n = write(gate[1], "x", 1);
    for (;;) pause();
    _exit((int)n);
  }
  char byte;
  CHECK_INT(read(gate[0], &byte, 1), 1);
  CHECK_TEXT(done(), "freeze ");
  kill(pid, SIGKILL);
  CHECK_INT(waitpid(pid, NULL, 0), pid);
  GATE_UNTIL(strcmp(done(), "freeze thawed ") == 0);
  close(gate[0]);
  close(gate[1]);
}

/* A child that was forked while it is held does not keep it. */
WHOLE(a_forked_child_does_not_hold) {
  scene s = begin("good");
  told(&s, EVENT_FREEZE);
  int gate[2];
  CHECK_INT(pipe2(gate, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    close(gate[1]);
    end(&s);
    char byte;
    _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
  }
  CHECK_TEXT(done(), "freeze ");
  told(&s, EVENT_THAW); /* though the child lives */
  CHECK_TEXT(done(), "freeze thawed ");
  close(gate[0]);
  close(gate[1]);
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  end(&s);
}

WHOLE(making_without_memory) {
  bool good = false;
  int failures = 0;
  const char *const argv[] = {"/bin/true", NULL};
  const char *const env[] = {"A=b", NULL};
  command_options o = {.id = ID, .argv = argv, .env = env, .cwd = "/"};
  for (long i = 1; !good && i < 1000; i++) {
    error *e = NULL;
    mem_fail_at(i);
    writer *w = command_writer(&o, &e);
    mem_fail_at(0);
    CHECK((w == NULL) == (e != NULL));
    good = w != NULL;
    failures += !good;
    error_unref(e);
    writer_unref(w);
  }
  CHECK(good && failures > 5);
}

WHOLE(telling_without_memory) {
  static const writer_event events[] = {EVENT_IDENTIFY, EVENT_FREEZE};
  for (int k = 0; k < 2; k++) {
    bool good = false;
    int failures = 0;
    for (long i = 1; !good && i < 400; i++) {
      scene s = begin("good");
      error *e = NULL;
      tell_fail_at = i;
      saros_op *op = tell_or(s.w, s.link, events[k], FOR_EVER, &e);
      tell_fail_at = 0;
      good = op != NULL && ended(op) == 0;
      mem_fail_at(0);
      CHECK((op == NULL) == (e != NULL));
      failures += !good;
      error_unref(e);
      if (op != NULL) saros_op_unref(op);
      if (events[k] == EVENT_FREEZE) told(&s, EVENT_ABORT);
      end(&s);
    }
    CHECK(good && failures > 10);
  }
}


/* ------------------------------------------------------------------
** Input that is held open
** ---------------------------------------------------------------- */

WHOLE(a_process_is_fed) {
  error *e = NULL;
  const char *const argv[] = {"cat", NULL};
  saros_op *op = process_start(&(process_options){.argv = argv,
                                                  .input = "one ",
                                                  .input_size = 4,
                                                  .input_hold = true,
                                                  .limit = (size_t)1 << 24},
                               &e);
  CHECK(op != NULL);
  CHECK(process_feed(op, "two ", 4));
  char *much = calloc(1, 1 << 20); /* more than a pipe holds */
  CHECK(process_feed(op, much, 1 << 20));
  CHECK(process_feed(op, "end", 3));
  process_end_input(op);
  process_feed(op, "late", 4);
  CHECK_INT(ended(op), 0);
  const value *out = value_get(op_output(op), "stdout");
  CHECK_INT(out->as.string.size, 8 + (1 << 20) + 3);
  CHECK(memcmp(out->as.string.data, "one two ", 8) == 0);
  free(much);
  saros_op_unref(op);
}

WHOLE(a_process_that_ignores_its_food) {
  error *e = NULL;
  const char *const argv[] = {"true", NULL};
  saros_op *op =
      process_start(&(process_options){.argv = argv, .input_hold = true}, &e);
  CHECK(op != NULL);
  CHECK_INT(ended(op), 0); /* though its input was never closed */
  CHECK(process_feed(op, "x", 1));
  process_end_input(op);
  saros_op_unref(op);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  write_script();
  GATE_RUN(every_verb);
  GATE_RUN(verbs_that_it_does_not_know);
  GATE_RUN(vetoes);
  GATE_RUN(metadata_that_are_none);
  GATE_RUN(metadata_that_are_given);
  GATE_RUN(a_chatty_freeze);
  GATE_RUN(a_freeze_that_ended_by_itself);
  GATE_RUN(a_thaw_that_fails);
  GATE_RUN(an_abort_lets_go_and_says_so);
  GATE_RUN(a_freeze_that_is_cancelled);
  GATE_RUN(deadlines);
  GATE_RUN(a_thaw_that_takes_too_long);
  GATE_RUN(hanging_up_thaws);
  GATE_RUN(a_requester_that_is_killed);
  GATE_RUN(a_forked_child_does_not_hold);
  GATE_RUN(making_without_memory);
  GATE_RUN(telling_without_memory);
  GATE_RUN(a_process_is_fed);
  GATE_RUN(a_process_that_ignores_its_food);
  unlink(script);
  unlink(journal);
  place_gone();
  return check_end();
}
