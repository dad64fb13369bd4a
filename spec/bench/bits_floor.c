/*
** What no program that downloads with libcurl can do without, and what it is
** measured with.
**
**   bits_floor get LIST COUNT ROOM     a bare loop of libcurl: the files of the
**       list, lines of a URL and a path, COUNT at a time, HTTP/1.1, received
**       into ROOM bytes and written where they come in; nothing is checked but
**       that each is whole
**   bits_floor run COMMAND…            a command: its wall and CPU seconds, MB
**                                      of memory, and how it ended
**   bits_floor scratch DIR COMMAND…    a command that finds a directory of its
**       own below DIR in SAROS_BENCH_DIR, and in SAROS_BENCH_URL nginx, which
**       gives what lies in its folder `data`. Both are gone when it ends, or
**       when this is told to
*/
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static _Noreturn void die(const char *what) {
  fprintf(stderr, "bits_floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}


/* ------------------------------------------------------------------
** The bare loop
** ---------------------------------------------------------------- */

static size_t store(char *data, size_t size, size_t count, void *context) {
  const int *fd = context;
  size_t all = size * count, done = 0;
  while (done < all) {
    ssize_t n = write(*fd, data + done, all - done);
    if (n <= 0) return 0;
    done += (size_t)n;
  }
  return all;
}

typedef struct slot {
  CURL *curl;
  int fd;
} slot;

/* The next line of the list into this slot; false: there is none. */
static bool begin(slot *s, FILE *list, CURLM *multi) {
  char line[8192], *path;
  if (fgets(line, sizeof line, list) == NULL) return false;
  line[strcspn(line, "\n")] = '\0';
  path = strchr(line, '\t');
  if (path == NULL) die("a line without a path");
  *path++ = '\0';
  s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (s->fd < 0) die(path);
  curl_easy_setopt(s->curl, CURLOPT_URL, line);
  curl_multi_add_handle(multi, s->curl);
  return true;
}

static int get(const char *path, int count, long room) {
  FILE *list = fopen(path, "r");
  if (list == NULL) die(path);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURLM *multi = curl_multi_init();
  slot *slots = calloc((size_t)count, sizeof *slots);
  int running = 0, left;
  for (int i = 0; i < count; i++) {
    slot *s = &slots[i];
    s->curl = curl_easy_init();
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, store);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, &s->fd);
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->curl, CURLOPT_BUFFERSIZE, room);
    curl_easy_setopt(s->curl, CURLOPT_HTTP_VERSION,
                     (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(s->curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(s->curl, CURLOPT_PROXY, "");
    if (begin(s, list, multi)) running++;
  }
  while (running > 0) {
    CURLMsg *m;
    curl_multi_perform(multi, &left);
    bool again = false;
    while ((m = curl_multi_info_read(multi, &left)) != NULL) {
      slot *s = NULL;
      if (m->data.result != CURLE_OK) {
        fprintf(stderr, "bits_floor: %s\n", curl_easy_strerror(m->data.result));
        return 1;
      }
      curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
      curl_multi_remove_handle(multi, s->curl);
      close(s->fd);
      running--;
      if (begin(s, list, multi)) {
        running++;
        again = true;
      }
    }
    if (running > 0 && !again) curl_multi_poll(multi, NULL, 0, 1000, NULL);
  }
  for (int i = 0; i < count; i++) curl_easy_cleanup(slots[i].curl);
  curl_multi_cleanup(multi);
  free(slots);
  fclose(list);
  return 0;
}


/* ------------------------------------------------------------------
** A command, measured
** ---------------------------------------------------------------- */

static int run(char **words) {
  struct rusage used;
  int status;
  double begun = seconds();
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execvp(words[0], words);
    _exit(127);
  }
  if (wait4(pid, &status, 0, &used) != pid) die("wait4");
  double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  printf("%.4f %.4f %.1f %d\n", seconds() - begun, cpu,
         (double)used.ru_maxrss * 1024 / 1e6,
         WIFEXITED(status) ? WEXITSTATUS(status) : 255);
  return 0;
}


/* ------------------------------------------------------------------
** A directory and a server
** ---------------------------------------------------------------- */

static void put(const char *dir, const char *name, const char *text) {
  char path[4300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) die(path);
}

/* A socket that listens already: nginx is given it as if an older one had
   handed it over, so nobody can take the port meanwhile. */
static int listen_somewhere(int *port) {
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 ||
      listen(fd, 511) != 0 ||
      getsockname(fd, (struct sockaddr *)&at, &size) != 0)
    die("listen");
  *port = ntohs(at.sin_port);
  return fd;
}

static pid_t serve(const char *dir, const sigset_t *before) {
  char text[8192], path[4300], env[64], url[64];
  int port, fd = listen_somewhere(&port);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
  setenv("SAROS_BENCH_URL", url, 1);
  snprintf(path, sizeof path, "%s/data", dir);
  if (mkdir(path, 0755) != 0) die(path);
  snprintf(
      text, sizeof text,
      "daemon off; user root; worker_processes 1; error_log /dev/stderr crit;\n"
      "pid nginx.pid; events { worker_connections 512; }\n"
      "http { access_log off; sendfile on; tcp_nopush on;\n"
      "  keepalive_requests 1000000000; keepalive_timeout 600;\n"
      "  client_body_temp_path nginx1; proxy_temp_path nginx2;\n"
      "  fastcgi_temp_path nginx3; uwsgi_temp_path nginx4;\n"
      "  scgi_temp_path nginx5;\n"
      "  server { listen 127.0.0.1:%d; root data; } }\n",
      port);
  put(dir, "nginx.conf", text);
  snprintf(path, sizeof path, "%s/nginx.conf", dir);
  pid_t pid = fork();
  if (pid != 0) {
    close(fd);
    return pid;
  }
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigprocmask(SIG_SETMASK, before, NULL);
  snprintf(env, sizeof env, "%d;", fd);
  setenv("NGINX", env, 1);
  const char *folders = getenv("PATH");
  snprintf(text, sizeof text, "%s:/usr/sbin:/usr/local/sbin",
           folders != NULL ? folders : "/usr/bin");
  setenv("PATH", text, 1);
  execlp("nginx", "nginx", "-e", "/dev/null", "-p", dir, "-c", path,
         (char *)NULL);
  _exit(127);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *at) {
  (void)st, (void)at;
  return type == FTW_DP ? rmdir(path) : unlink(path);
}

static int scratch(const char *below, char **words) {
  char dir[4000];
  sigset_t ends, before;
  int status = 255, number;
  snprintf(dir, sizeof dir, "%s/saros-bench-XXXXXX", below);
  if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0) die(dir);
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGHUP);
  sigaddset(&ends, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ends, &before);
  pid_t server = serve(dir, &before), pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    setenv("SAROS_BENCH_DIR", dir, 1);
    execvp(words[0], words);
    _exit(127);
  }
  if (pid > 0) setpgid(pid, pid);
  while (pid > 0 && sigwait(&ends, &number) == 0) {
    /* The server has ended before its time: then nothing can be measured. */
    int end = 0;
    bool alone = server > 0 && waitpid(server, &end, WNOHANG) == server;
    if (alone) server = 0;
    if (alone && WIFEXITED(end) && WEXITSTATUS(end) == 127)
      fprintf(stderr, "SKIPPED: there is no nginx to download from\n");
    if (alone || number != SIGCHLD) kill(-pid, SIGKILL);
    if (waitpid(pid, &status, alone || number != SIGCHLD ? 0 : WNOHANG) ==
        pid) {
      if (alone && WIFEXITED(end) && WEXITSTATUS(end) == 127) status = 0;
      break;
    }
  }
  if (server > 0) {
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
  }
  /* What it started may be writing still, for a moment. */
  for (int i = 0; i < 50; i++) {
    nftw(dir, remove_one, 64, FTW_PHYS | FTW_DEPTH);
    if (access(dir, F_OK) != 0) break;
    usleep(100000);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

int main(int argc, char **argv) {
  if (argc > 4 && strcmp(argv[1], "get") == 0)
    return get(argv[2], atoi(argv[3]), atol(argv[4]));
  if (argc > 2 && strcmp(argv[1], "run") == 0) return run(argv + 2);
  if (argc > 3 && strcmp(argv[1], "scratch") == 0)
    return scratch(argv[2], argv + 3);
  fprintf(stderr, "see spec/bench/bits_floor.c\n");
  return 2;
}
