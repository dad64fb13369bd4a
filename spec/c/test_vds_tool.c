/*
** Programs that a call runs: what they say and how they end, what a cancel does
** to them, and what is said without them.
*/
#include "vds_case.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "vds/tool.h"

static const char *script;
static unsigned good_ends;
static int lock_fd = -1;
static char heard[2000];
static int got_status;

static void hear(void *context, int which, const char *text, size_t size) {
  (void)context;
  size_t n = strlen(heard);
  snprintf(heard + n, sizeof heard - n, "%d[%.*s]", which, (int)size, text);
}

static error *run(vds_call *c) {
  const char *const argv[] = {"sh", "-c", script, NULL};
  const char *const none[] = {"mkfs.nothing", NULL};
  const vds_tool tool = {.argv = script != NULL ? argv : none,
                         .package = "nothing-tools",
                         .lock = lock_fd,
                         .good = good_ends,
                         .said = hear};
  heard[0] = '\0';
  got_status = -1;
  return vds_tool_run(c, &tool, &got_status);
}

static const vds_work work = {"tool", VDS_UNKNOWN, VDS_CLAIMS_NOTHING,
                              VDS_KIND("tool", SAROS_CANCELLABLE), run};

static saros_op *start(const char *text, unsigned good) {
  uint32_t why = 0;
  saros_api_table = saros_api_own();
  script = text;
  good_ends = good;
  return vds_call_begin(&work, value_map(), NULL, &why);
}

TEST(what_it_says_comes_in_pieces) {
  CHECK_ANSWER(end_of(start("printf 'a\\n10%%\\r20%%\\b\\b\\b30%%'", 0)), 0);
  CHECK_TEXT(heard, "1[a]1[10%]1[20%]1[30%]");
  CHECK_INT(got_status, 0);
  CHECK_ANSWER(end_of(start("echo bad >&2", 0)), 0);
  CHECK_TEXT(heard, "2[bad]");
}

TEST(how_it_ends_is_told) {
  answer a = end_of(start("echo one >&2; printf 'two\\033' >&2; exit 3", 0));
  CHECK_INT(a.code, SAROS_E_EXIT);
  CHECK(strstr(a.message, "failed with 3: one; two\\x1b") != NULL);
  if (strstr(a.message, "one; two") == NULL) printf("%s\n", a.message);
  forget(&a);
  CHECK_ANSWER(end_of(start("exit 3", 1u | 1u << 3)), 0);
  CHECK_INT(got_status, 3);
  CHECK_ANSWER(end_of(start("kill -9 $$", 0)), SAROS_E_SIGNAL);
}

TEST(a_missing_one_names_its_package) {
  answer a = end_of(start(NULL, 0));
  CHECK_INT(a.code, 0x80070002u);
  CHECK(strstr(a.message, "mkfs.nothing") != NULL);
  CHECK(strstr(a.message, "nothing-tools") != NULL);
  forget(&a);
}

/* It is told by a file that it runs; then it and what it started are gone when
   the wait is over, also where they do not listen. */
static void cancel_it(const char *text) {
  char pid_file[300], line[40] = "";
  snprintf(pid_file, sizeof pid_file, "%s/pid", volumes_scratch);
  unlink(pid_file);
  setenv("PID_FILE", pid_file, 1);
  saros_op *op = start(text, 0);
  for (int i = 0; i < 6000 && strchr(line, '\n') == NULL; i++) {
    FILE *f = fopen(pid_file, "re");
    if (f == NULL || fgets(line, sizeof line, f) == NULL) usleep(10000);
    if (f != NULL) fclose(f);
  }
  CHECK(strchr(line, '\n') != NULL);
  CHECK_INT(saros_vds_cancel(op), 0);
  CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
  /* A corpse may wait for init to look at it. */
  char stat_file[64], state = 'Z';
  snprintf(stat_file, sizeof stat_file, "/proc/%d/stat", atoi(line));
  for (int i = 0; i < 6000; i++) {
    FILE *f = fopen(stat_file, "re");
    state = 'Z';
    if (f != NULL && fscanf(f, "%*d (%*[^)]) %c", &state) != 1) state = 'Z';
    if (f != NULL) fclose(f);
    if (state == 'Z') break;
    usleep(10000);
  }
  CHECK_INT(state, 'Z');
}

TEST(a_cancel_ends_its_group) {
  cancel_it("sleep 1000 & echo $! >$PID_FILE; wait");
  cancel_it("trap '' TERM; sleep 1000 & echo $! >$PID_FILE; wait");
}

static bool forbid_pidfd_open(void) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {.len = 4, .filter = rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static char go_file[300];
static atomic_int looks;

/* It is looked at for the third time: nobody has given it up. */
static void let_it_go(const char *step) {
  if (strcmp(step, "tool: looked") != 0 || atomic_fetch_add(&looks, 1) != 2)
    return;
  int fd = open(go_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
}

/* As in a container whose rules are older than it: it is read all the same,
   more than its pipe holds. */
TEST(it_is_read_where_no_pidfd_can_be_had) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    if (!forbid_pidfd_open()) _exit(90);
    snprintf(go_file, sizeof go_file, "%s/go", volumes_scratch);
    setenv("GO_FILE", go_file, 1);
    atomic_store(&vds_hook, let_it_go);
    answer a =
        end_of(start("until test -e $GO_FILE; do sleep 0.01; done; "
                     "head -c 300000 /dev/zero; exit 3",
                     1u << 3));
    if (a.code != 0) printf("it said: %s\n", a.message);
    fflush(stdout);
    _exit(a.code == 0 && got_status == 3 ? 0 : 1);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  volumes_run(": >'%s/go'", volumes_scratch);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 90)
    SKIP("no call can be forbidden here (seccomp)");
  CHECK_INT(status, 0);
}

TEST(it_holds_the_lock_it_is_given) {
  value *record = vds_record_new("test");
  error *e = NULL;
  mkdir(state_place(), 0700);
  char *at = vds_records_at(state_place(), &e);
  CHECK(at != NULL);
  lock_fd = vds_record_lock(at, record, &e);
  CHECK(lock_fd >= 0);
  CHECK_INT(vds_record_lock(at, record, &e), -1);
  CHECK(e != NULL && e->code == SAROS_E_LOCKED);
  error_unref(e);
  CHECK_ANSWER(end_of(start("test -f /dev/stdin -o -e /proc/self/fd/0; "
                            "ls -l /proc/self/fd/0 | grep -q lock",
                            0)),
               0);
  close(lock_fd);
  lock_fd = vds_record_lock(at, record, &e);
  CHECK(lock_fd >= 0);
  close(lock_fd);
  lock_fd = -1;
  CHECK(vds_record_remove(at, record) == NULL);
  value_free(record);
  mem_free(at);
}

static void all(void) {
  RUN(what_it_says_comes_in_pieces);
  RUN(how_it_ends_is_told);
  RUN(a_missing_one_names_its_package);
  RUN(a_cancel_ends_its_group);
  RUN(it_is_read_where_no_pidfd_can_be_had);
  RUN(it_holds_the_lock_it_is_given);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
