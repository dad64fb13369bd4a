/*
** What the files of this folder share.
*/
#ifndef SAROS_HTTP_PARTS_H
#define SAROS_HTTP_PARTS_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http/http.h"

#define http_error(code, ...) error_make(SAROS_FACADE_SAROS, code, __VA_ARGS__)

/* ------------------------------------------------------------------
** head.c
** ---------------------------------------------------------------- */

/* Of one answer, its trailers and all interim ones before it. */
#define HTTP_HEAD_BYTES ((size_t)64 << 10)
#define HTTP_HEAD_FIELDS 256
#define HTTP_HEAD_INTERIM 16

typedef struct http_line {
  char *name, *value;
} http_line;

typedef struct http_head {
  char *text; /* names and values, each with a NUL */
  size_t used, room;
  size_t bytes; /* that came, also of interim answers and trailers */
  http_line lines[HTTP_HEAD_FIELDS];
  size_t count;
  unsigned interim;
  unsigned status;
  bool begun, whole;
} http_head;

/* What a body of this answer will be like. */
typedef struct http_frame {
  uint64_t length; /* or HTTP_UNKNOWN */
  bool chunked;
  bool bodiless; /* HEAD, 204, 304: whatever its length says */
  uint64_t from, last, total;
} http_frame;

void http_head_clear(http_head *h); /* as new; keeps its memory */
void http_head_free(http_head *h);
/* One line as it came. A literal that says what is wrong with it, or NULL;
   http_no_memory when that is it. */
const char *http_head_line(http_head *h, const char *line, size_t size);
extern const char http_no_memory[];
extern const char http_head_too_large[];
/* The n-th value of a name, or NULL. */
const char *http_head_get(const http_head *h, const char *name, size_t n);
/* Holds a whole header against what was asked. A literal, or NULL. */
const char *http_head_judge(const http_head *h, const char *method,
                            const http_ask *ask, http_frame *f);

/* ------------------------------------------------------------------
** One request
** ---------------------------------------------------------------- */

typedef struct http_loop http_loop;

/* How many go to one host at once. Only the I/O thread's. */
typedef struct http_origin {
  char *name; /* "https://host:443" */
  struct http_origin *next;
  unsigned active;
  unsigned held;               /* somebody looks at it: it stays */
  http_request *first, **last; /* those that wait */
} http_origin;

typedef enum http_state {
  HTTP_GIVEN,  /* in the inbox */
  HTTP_WAITS,  /* for its turn with its host */
  HTTP_RUNS,   /* libcurl has it */
  HTTP_IS_OVER /* `done` was called, or is about to be */
} http_state;

/* What somebody wishes of a request. */
typedef struct http_wish {
  bool cancel, resume, limit;
  uint64_t down, up;
} http_wish;

struct http_request {
  _Atomic unsigned refs; /* the caller's and the loop's */
  unsigned generation;
  http_loop *loop;
  /* Under the door's lock. */
  http_request *next_in_box;
  bool in_box, over;
  http_wish wish;
  pthread_cond_t ended;
  /* Constant. */
  http_ask ask; /* texts of it are copies */
  char *method_text, *url_text, *cacert_text, *proxy_text, *login_text;
  http_field *fields;
  size_t field_room;
  uint64_t body_size;
  bool has_body;
  /* The I/O thread's. */
  http_state state;
  http_request *next, **link; /* among those that run, or wait */
  http_origin *origin;
  char *origin_name;
  CURL *easy;
  struct curl_slist *lines;
  bool away;  /* at another origin than the first */
  bool fresh; /* was sent again over a new connection */
  size_t piece, piece_at;
  http_head head;
  http_frame frame;
  http_answer answer;
  bool judged;   /* its header was */
  bool dropping; /* the body is a redirect's: nobody's */
  bool paused;
  bool behind; /* libcurl has lost what it was given of the body */
  bool ending; /* `verdict` counts, whatever libcurl says */
  http_end verdict;
  uint64_t moved;                     /* bytes, either way */
  uint64_t since, moved_since;        /* the window */
  uint64_t burst;                     /* what libcurl may carry at once */
  uint64_t lowered_at, lowered_moved; /* its limit; 0: long ago */
  bool lowered_twice;                 /* what was under way came behind that */
  bool loose;                         /* for a moment it has none */
  bool limited;
  char why[320];
  char shown[320];
  char curl_text[CURL_ERROR_SIZE];
};

/* Ends it this way, as soon as libcurl lets go. The first word counts. */
void http_condemn(http_request *r, http_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* carry.c: makes r->easy ready to go. False: it is condemned. */
bool http_carry_begin(http_request *r, CURLSH *share);
/* Behind it: the handle is free to be used again. */
void http_carry_end(http_request *r);
/* The body is to be sent from its start. */
bool http_carry_rewind(http_request *r);
void http_carry_limit(http_request *r);
void http_carry_loosen(http_request *r); /* none, until it is limited again */

/* verdict.c: fills r->answer, once libcurl has let go. */
void http_verdict(http_request *r, CURLcode rc);
/* Whether nothing was wrong but a connection that was dead already. */
bool http_verdict_again(const http_request *r, CURLcode rc);

/* redirect.c: whether this answer leads on (the request is changed then), is
   the end (condemned), or is an answer like others. */
typedef enum http_way { HTTP_STAYS, HTTP_LEADS, HTTP_LOST } http_way;
http_way http_redirect(http_request *r);
bool http_redirect_is_one(const http_request *r);
/* Checks a URL; its origin, mem_alloc'd. NULL and a literal in *why. */
char *http_origin_of(const char *url, const char **why);
extern const char http_origin_no_memory[]; /* a reason of it */

/* gate.c */
bool http_gate_enter(http_origin **all, http_request *r); /* false: memory */
/* The next that may go, or NULL; it is counted. */
http_request *http_gate_next(http_origin *o);
void http_gate_leave(http_origin **all, http_origin *o);
void http_gate_abandon(http_origin **all, http_request *r); /* it waited */
void http_gate_hold(http_origin *o); /* while one looks at it */
void http_gate_let_go(http_origin **all, http_origin *o);

/* ------------------------------------------------------------------
** loop.c and http.c
** ---------------------------------------------------------------- */

#define HTTP_SPARE 32    /* easy handles that wait to be used again */
#define HTTP_SOCKETS 512 /* one more is inherited by a child: a descriptor */

/* What is to be called on the thread. */
typedef struct http_errand {
  struct http_errand *next;
  void (*call)(void *context);
  void *context;
} http_errand;

/* A thread and what is on it: the one that all share, or a lane. */
struct http_loop {
  CURLM *multi;
  CURLSH *share;
  bool is_lane;        /* constant */
  unsigned generation; /* constant */
  char name[16];       /* constant */
  /* Its thread's, while it does anything. */
  pthread_mutex_t turn;
  int sockets[HTTP_SOCKETS];
  unsigned socket_count;
  /* Under the register's lock. */
  http_loop *next;
  bool stopped; /* by a fork that goes on: its turn is taken */
  /* Under the door's lock. */
  http_errand *errands, **errands_end;
  bool kept; /* a lane that was not dropped */
  http_request *box, **box_end;
  bool woken;
  unsigned requests; /* that are not over */
  /* The I/O thread's. */
  http_origin *origins;
  http_request *running;
  CURL *spare[HTTP_SPARE];
  unsigned spares;
  uint64_t look_at; /* when the next window ends */
};

http_loop *http_loop_new(const char *name); /* NULL: memory, descriptors */
void http_loop_free(http_loop *l);
/* One turn: all that can be done now. The milliseconds to wait at most, or -1:
   nobody needs it any more. */
int http_loop_turn(http_loop *l);

/* thread.c -- one at the place of *slot, unless there is one already. */
error *http_thread_begin(http_loop **slot, const char *name, bool is_lane);
bool http_prepare(void); /* false: libcurl cannot be initialised */
bool http_lane_is_inherited(const http_lane *lane);
/* The door's lock, and under it: the loop that all share, and who keeps it. */
extern pthread_mutex_t http_lock;
extern http_loop *http_shared;
extern unsigned http_keepers;
extern _Atomic unsigned http_generation;
extern _Thread_local http_loop *http_here; /* NULL: not one of its threads */
/* With the lock. */
void http_door_wake(http_loop *l);

/* The next that somebody wishes something of, with a reference, or NULL. */
http_request *http_door_take(http_loop *l, http_wish *wish);
/* True: nobody needs the loop, and nobody can from now on. *more: there is
   something to take. */
bool http_door_leave(http_loop *l, bool *more);
/* The next that is to be called, or NULL; to be freed. */
http_errand *http_door_errand(http_loop *l);
/* `done` has returned: the loop's reference goes. */
void http_door_over(http_request *r);

/* wipe.c: initialises libcurl. */
bool http_wipe_begin(void);
/* This thread keeps some of the large blocks that libcurl frees, for its next
   ones, or no longer: those that it has are given back. */
void http_wipe_keep(bool on);

/* Our sockets, which a forked child closes. In a turn; `context` is the
   loop. */
curl_socket_t http_socket_open(void *context, curlsocktype purpose,
                               struct curl_sockaddr *address);
int http_socket_close(void *context, curl_socket_t s);

#endif
