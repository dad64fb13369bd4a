/*
** SIGKILL in the middle of transfers: at a call of the system, or behind a byte
** that is on its way to the disk, which a seed has chosen. Whoever is killed is
** a process of its own, with jobs of every kind. Behind each kill every file
** that has its name is whole and right; what the queue says is done is not
** asked for again, and of what was under way only what is not here yet; in the
** end everything is there, and no partial file.
**
** not under valgrind: it kills programs that only run
** not under address: it kills programs, of which ASan would tell nobody
** not under thread: its operations are those of programs that it starts
*/
#include "bits_server_case.h"

#include "bits_case.h"
#include "instant.h"

INSTANT_CALL(fdatasync(int fd), SYS_fdatasync, fd)
INSTANT_CALL(syncfs(int fd), SYS_syncfs, fd)
INSTANT_CALL(unlink(const char *path), SYS_unlink, path)
INSTANT_CALL(rename(const char *from, const char *to), SYS_rename, from, to)
INSTANT_CALL(renameat(int from, const char *name, int to, const char *other),
             SYS_renameat, from, name, to, other)
INSTANT_CALL(renameat2(int from, const char *name, int to, const char *other,
                       unsigned flags),
             SYS_renameat2, from, name, to, other, flags)
INSTANT_CALL(ftruncate(int fd, off_t size), SYS_ftruncate, fd, size)
INSTANT_CALL(ftruncate64(int fd, off64_t size), SYS_ftruncate, fd, size)

static ssize_t instant_pwrite(int fd, const void *data, size_t size,
                              off_t offset) {
  instant_turn t;
  if (!instant_begin(&t, size)) return -1;
  ssize_t n = syscall(SYS_pwrite64, fd, data, t.size, offset);
  instant_end(&t);
  return n;
}

INSTANT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  return instant_pwrite(fd, data, size, offset);
}

INSTANT ssize_t pwrite64(int fd, const void *data, size_t size,
                         off64_t offset) {
  return instant_pwrite(fd, data, size, offset);
}

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

/* ------------------------------------------------------------------
** Jobs
** ---------------------------------------------------------------- */

typedef struct plan {
  const char *name, *options;
  unsigned files;
  size_t size, more; /* of the first, and of each next one */
  const char *how;   /* of the server */
  bool sums, cancelled;
} plan;

static const plan plans[] = {
    {"small", "{'name':'small'", 30, 0, 1777, "", false, false},
    {"large", "{'name':'large','durability':'file'", 2, 3000000, 777777, "",
     false, false},
    {"group", "{'name':'group','group':'11111111-0000-4000-8000-000000000001'",
     12, 10, 20001, "", false, false},
    {"sums", "{'name':'sums','durability':'none'", 5, 50000, 3, "", true,
     false},
    {"gone", "{'name':'gone','priority':'foreground'", 4, 400000, 1, "", false,
     true}};
#define PLANS (sizeof plans / sizeof plans[0])

static size_t size_of(const plan *p, unsigned i) {
  return p->size + i * p->more;
}

static const char *name_of(const plan *p, unsigned i) {
  static _Thread_local char text[2][40];
  static _Thread_local unsigned next;
  char *at = text[next++ % 2];
  snprintf(at, sizeof text[0], "%s-%u", p->name, i);
  return at;
}

/* ------------------------------------------------------------------
** The child
** ---------------------------------------------------------------- */

static bool add(bits_job *j, const plan *p, unsigned i) {
  char url[300], more[100] = "";
  const char *name = name_of(p, i);
  size_t size = size_of(p, i);
  snprintf(url, sizeof url, "http://127.0.0.1:%d/f/%s?size=%zu%s", s.port, name,
           size, p->how);
  if (p->sums) {
    unsigned char sha[32], *data = server_content(name, size, 0);
    EVP_Digest(data, size, sha, NULL, EVP_sha256(), NULL);
    free(data);
    int n = snprintf(more, sizeof more, ",'sha256':'");
    for (int k = 0; k < 32; k++) n += snprintf(more + n, 3, "%02x", sha[k]);
    snprintf(more + n, 2, "'");
  }
  value *v = json_of("{'url':'%s','path':'%s'%s}", url, in_world(name), more);
  error *e = bits_job_add_file(j, v);
  value_free(v);
  return is_fine(e);
}

static bits_job *find(bits_manager *m, const plan *p) {
  size_t count;
  bits_job *found = NULL, **all = bits_manager_jobs(m, &count);
  for (size_t i = 0; i < count; i++) {
    const char *name = value_chars(value_get(all[i]->properties, "name"), "");
    if (found == NULL && strcmp(name, p->name) == 0)
      found = all[i];
    else
      bits_job_unref(all[i]);
  }
  mem_free(all);
  return found;
}

/* Nobody has it in the queue any more, and it has done what it should. */
static bool is_over(const plan *p) {
  char text[60];
  snprintf(text, sizeof text, "over-%s", p->name);
  if (p->cancelled) return is_there(text);
  for (unsigned i = 0; i < p->files; i++)
    if (!is_there(name_of(p, i))) return false;
  return true;
}

static void note_over(const plan *p) {
  char text[60];
  snprintf(text, sizeof text, "over-%s", p->name);
  close(open(in_world(text), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

/* As it was left, or made; NULL: it is over. */
static bits_job *begin(bits_manager *m, const plan *p) {
  uint32_t code;
  char options[300];
  bits_job *j = find(m, p);
  if (j == NULL && is_over(p)) return NULL;
  /* Killed before it had all its files: it was never resumed. */
  if (j != NULL && bits_job_state(j) == BITS_SUSPENDED) {
    if (!is_fine(bits_job_cancel(j, &code))) _exit(5);
    bits_job_unref(j);
    j = NULL;
  }
  if (j != NULL) return j;
  snprintf(options, sizeof options, "%s,'retry_delay':0.01}", p->options);
  j = make_job(m, options);
  for (unsigned i = 0; i < p->files; i++)
    if (!add(j, p, i)) _exit(6);
  if (!is_fine(bits_job_resume(j))) _exit(7);
  return j;
}

/* True: it is over. */
static bool look(bits_job *j, const plan *p) {
  uint32_t code = 0;
  bits_state state = bits_job_state(j);
  if (state == BITS_ERROR) {
    value *v = bits_job_error(j, &code);
    printf("%s: %s\n", p->name, value_chars(value_get(v, "message"), "?"));
    exit(8);
  }
  if (p->cancelled) {
    if (state < BITS_TRANSFERRING) return false;
    error *e = bits_job_cancel(j, &code);
    bool was = state == BITS_CANCELLED; /* by the one before, who was killed */
    if (!was && !is_fine(e)) exit(9);
    if (was) error_unref(e);
    bits_job *there = bits_manager_job(j->m, bits_job_id(j));
    if (there != NULL) bits_job_unref(there);
    if (there != NULL && was) return false;
    note_over(p);
    return true;
  }
  if (state != BITS_TRANSFERRED) return false;
  if (!is_fine(bits_job_complete(j, &code)) || code != 0) exit(10);
  return true;
}

/* It does not come to its end: what a person would want to know. */
static void give_up(bits_job *const *jobs) {
  for (size_t k = 0; k < PLANS; k++) {
    const bits_job *j = jobs[k];
    if (j == NULL) continue;
    pthread_mutex_lock(&j->m->lock);
    printf(
        "%s %s: state %d marks 0x%x, %u of %u, %u at work, next %u, retry "
        "%lld:",
        plans[k].name, j->guid, (int)j->state, j->marks, j->files_done,
        j->file_count, j->running, j->next_file,
        j->retry_at == 0 ? 0LL : (long long)(j->retry_at - bits_now(j->m)));
    for (uint32_t i = 0; i < j->file_count; i++)
      printf(" %u/%x", j->files[i]->state, j->files[i]->marks);
    printf("%s\n", j->m->broken != NULL ? ", broken" : "");
    pthread_mutex_unlock(&j->m->lock);
  }
  exit(11);
}

/* --child FOLDER PORT CALL BYTE: what was counted, when it comes to its end. */
static int child(char **argv) {
  bits_job *jobs[PLANS];
  size_t left = 0;
  saros_api_table = saros_api_own();
  snprintf(world_folder, sizeof world_folder, "%s", argv[0]);
  snprintf(world_queue, sizeof world_queue, "%s/queue.db", argv[0]);
  s.port = atoi(argv[1]);
  instant.call = atol(argv[2]);
  instant.byte = atol(argv[3]);
  instant.armed = true;
  bits_manager *m = open_queue("{}");
  for (size_t i = 0; i < PLANS; i++) {
    jobs[i] = begin(m, &plans[i]);
    left += jobs[i] != NULL;
  }
  for (int turn = 0; left > 0; turn++) {
    if (turn > 120000) give_up(jobs);
    for (size_t i = 0; i < PLANS; i++) {
      if (jobs[i] == NULL || !look(jobs[i], &plans[i])) continue;
      bits_job_unref(jobs[i]);
      jobs[i] = NULL;
      left--;
    }
    usleep(1000);
  }
  shut_queue(m);
  instant.armed = false;
  printf("%ld %ld\n", (long)instant.calls, (long)instant.bytes);
  return check_bad > 0;
}

typedef struct fate {
  bool killed;
  long calls, bytes; /* of one that was not */
} fate;

static fate perform(long call, long byte) {
  char self[300], numbers[3][24], text[4000];
  fate f = {false, 0, 0};
  int out[2], status = -1;
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  CHECK(n > 0 && pipe2(out, O_CLOEXEC) == 0);
  self[n > 0 ? n : 0] = '\0';
  long values[] = {s.port, call, byte};
  for (int i = 0; i < 3; i++)
    snprintf(numbers[i], sizeof numbers[i], "%ld", values[i]);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], 1);
    setenv("SAROS_RETRY_LEAST_MS", "10", 1);
    execl(self, self, "--child", world_folder, numbers[0], numbers[1],
          numbers[2], (char *)NULL);
    _exit(127);
  }
  close(out[1]);
  size_t size = 0;
  while (size + 1 < sizeof text &&
         (n = read(out[0], text + size, sizeof text - 1 - size)) > 0)
    size += (size_t)n;
  text[size] = '\0';
  close(out[0]);
  CHECK(waitpid(pid, &status, 0) == pid);
  f.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  bool good = f.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                           sscanf(text, "%ld %ld", &f.calls, &f.bytes) == 2);
  if (!good) printf("status 0x%x: %s\n", status, text);
  CHECK(good);
  if (!good) f.killed = true; /* what is missing then says nothing */
  return f;
}

/* ------------------------------------------------------------------
** Behind a kill
** ---------------------------------------------------------------- */

/* What the queue and the disk said of a file when somebody was killed. */
typedef struct left {
  bool done;
  uint64_t resumes; /* at least from here; 0: from anywhere */
  long asked;       /* requests until then */
} left;

static left leftovers[PLANS][32];

static left *leftover_of(const char *path, const plan **p, unsigned *i) {
  const char *name = strrchr(path, '/') + 1;
  for (size_t k = 0; k < PLANS; k++)
    for (unsigned n = 0; n < plans[k].files; n++) {
      if (strcmp(name, name_of(&plans[k], n)) != 0) continue;
      *p = &plans[k];
      *i = n;
      return &leftovers[k][n];
    }
  return NULL;
}

static long requests(const char *name) {
  char what[60];
  snprintf(what, sizeof what, "/f/%s?", name);
  return server_count(what);
}

static error *note_file(void *context, const queue_file *row) {
  const plan *p = NULL;
  unsigned i = 0;
  left *l = leftover_of(row->path, &p, &i);
  bits_job *const *of = context;
  CHECK(l != NULL);
  if (l == NULL || *of == NULL) return NULL;
  bits_file f = {
      .job = *of, .number = row->number, .path = (char *)(uintptr_t)row->path};
  struct stat st;
  char *part = bits_part_name(&f);
  bool has_part = stat(part, &st) == 0;
  mem_free(part);
  l->asked = requests(name_of(p, i));
  l->done = row->state == BITS_FILE_DONE || row->state == BITS_FILE_FETCHED;
  /* The part that the row knows. */
  char inode[40];
  snprintf(inode, sizeof inode, "\"inode\":%llu",
           has_part ? (unsigned long long)st.st_ino : 0);
  if (has_part && row->known != NULL && strstr(row->known, inode) != NULL)
    l->resumes = (uint64_t)st.st_size;
  return NULL;
}

static error *note_job(void *context, const queue_job *row) {
  static bits_job shape;
  snprintf(shape.guid, sizeof shape.guid, "%s", row->guid);
  *(bits_job **)context = row->state < BITS_ACKNOWLEDGED ? &shape : NULL;
  return NULL;
}

/* The queue can be read, and what it says is remembered. */
static void look_into_queue(void) {
  static const queue_calls calls = {.job = note_job, .file = note_file};
  bool owner = true;
  bits_job *of = NULL;
  error *said = NULL, *e = NULL;
  memset(leftovers, 0, sizeof leftovers);
  struct stat st;
  if (stat(world_queue, &st) != 0 || st.st_size == 0) return;
  bits_queue *q = bits_queue_open(world_queue, &owner, &said, &e);
  CHECK(is_fine(said) && is_fine(e) && owner);
  if (q == NULL) return;
  CHECK(is_fine(bits_queue_load(q, &calls, &of)));
  bits_queue_close(q);
}

/* Whatever has its name is what it should be. */
static void look_at_files(bool all) {
  for (size_t k = 0; k < PLANS; k++)
    for (unsigned i = 0; i < plans[k].files; i++) {
      const char *name = name_of(&plans[k], i);
      bool there = is_there(name);
      if (there && plans[k].cancelled) printf("%s is there\n", name);
      CHECK(!there || !plans[k].cancelled);
      CHECK(there || plans[k].cancelled || !all);
      if (!there) continue;
      bool right =
          is_content_file(in_world(name), name, size_of(&plans[k], i), 0);
      if (!right) printf("%s is not what it should be\n", name);
      CHECK(right);
    }
}

/* Where the first request behind those that were asked before begins. */
static uint64_t first_range(const char *name, long asked) {
  char what[80];
  error *e = NULL;
  snprintf(what, sizeof what, "!log?of=/f/%s?", name);
  char *text = server_told(what);
  value *v = json_read(text, strlen(text), NULL, &e);
  error_unref(e);
  free(text);
  unsigned long long from = 0;
  if (v != NULL && v->type == VALUE_LIST && v->count > asked) {
    const value *headers = value_get(v->as.items[asked], "headers");
    sscanf(value_chars(value_get(headers, "range"), ""), "bytes=%llu-", &from);
  }
  value_free(v);
  return from;
}

/* What was here is not fetched again. */
static void look_at_requests(void) {
  for (size_t k = 0; k < PLANS; k++)
    for (unsigned i = 0; i < plans[k].files; i++) {
      const left *l = &leftovers[k][i];
      const char *name = name_of(&plans[k], i);
      long now = requests(name);
      if (plans[k].cancelled || now == l->asked) continue;
      if (l->done) printf("%s was done and is asked for again\n", name);
      CHECK(!l->done);
      if (l->resumes == 0) continue;
      uint64_t from = first_range(name, l->asked);
      if (from + 4096 < l->resumes)
        printf("%s: %llu are here, and it is asked for from %llu\n", name,
               (unsigned long long)l->resumes, (unsigned long long)from);
      CHECK(from + 4096 >= l->resumes);
    }
}

/* ------------------------------------------------------------------
** Rounds
** ---------------------------------------------------------------- */

static unsigned long long seed;

static unsigned long pick(unsigned long below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return below > 0 ? (unsigned long)(seed >> 33) % below : 0;
}

static void world_again(void) {
  world_wipe(AT_FDCWD, world_folder);
  CHECK(mkdir(world_folder, 0700) == 0);
  snprintf(world_queue, sizeof world_queue, "%s/queue.db", world_folder);
  server_reset();
  memset(leftovers, 0, sizeof leftovers);
}

static void look_at_the_end(void) {
  look_at_files(true);
  world_print(".part");
  CHECK_INT(world_count(".part"), 0);
}

static fate whole; /* what is counted when nobody is killed */

TEST(nobody_is_killed) {
  world_again();
  whole = perform(0, 0);
  CHECK(!whole.killed && whole.calls > 0);
  look_at_the_end();
}

/* Until so many were killed, and the last one has come to its end. */
TEST(killed_again_and_again) {
  int kills = is_long() ? 300 : 10, most = kills * 3;
  const char *given = getenv("SAROS_SEED");
  seed = given != NULL ? strtoull(given, NULL, 10) : 20261122;
  world_again();
  for (int done = 0, runs = 0; check_bad == 0; runs++) {
    unsigned long long before = seed;
    bool quiet = done >= kills || runs >= most;
    bool by_call = pick(3) > 0;
    /* Early ones more often: a run that is killed late has little left. */
    unsigned long span = 1 + pick(by_call ? (unsigned long)whole.calls
                                          : (unsigned long)whole.bytes);
    long at = quiet ? 0 : 1 + (long)pick(span);
    fate f = perform(by_call ? at : 0, by_call ? 0 : at);
    done += f.killed;
    look_at_files(!f.killed);
    look_at_requests();
    if (check_bad > 0) printf("seed %llu, kill %d\n", before, done);
    if (f.killed) {
      look_into_queue();
      continue;
    }
    look_at_the_end();
    if (quiet) break;
    world_again();
  }
}

int main(int argc, char **argv) {
  if (argc == 6 && strcmp(argv[1], "--child") == 0) return child(argv + 2);
  gate_begin(argc, argv);
  if (!faults_start(false)) return server_missing();
  world_make();
  GATE_RUN(nobody_is_killed);
  GATE_RUN(killed_again_and_again);
  faults_stop();
  return check_end();
}
