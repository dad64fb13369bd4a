/*
** term: the terminal of the command line. It belongs to a program of our own:
** nothing else of the house may load it, because it takes the signals of the
** process, and a guest in somebody else's process does not.
*/
#ifndef SAROS_TERM_TERM_H
#define SAROS_TERM_TERM_H

#include <stdbool.h>
#include <stddef.h>

/* What a wait ended with. */
typedef enum term_event {
  TERM_TIME,   /* the time is over */
  TERM_READY,  /* the descriptor can be read */
  TERM_SIGNAL, /* a signal came */
  TERM_INPUT,  /* the input can be read */
} term_event;

/* From now on INT, TERM, HUP, WINCH and TSTP are told by term_wait, and a write
   to a closed pipe is an error. When three of the first, or two of the last,
   came that nobody asked for the program hangs: the last of them does what it
   does elsewhere. 0 or errno. */
int term_take_signals(void);

/* Waits until `fd` or `input` (or -1) can be read, a signal came, or `ms` are
   over (-1: never). `*number` is the signal's. */
term_event term_wait(int fd, int input, int ms, int *number);

/* What TSTP does elsewhere: the program stops here, until somebody goes on with
   it. */
void term_suspend(void);

/* Called for each INT, in the handler: only what may be called there. */
void term_on_interrupt(void (*call)(void));
/* Whether one of the signals has come that term_wait has not told, without
   taking it. */
bool term_is_pending(void);

/* What can be read when a signal has come, or -1. */
int term_signal_fd(void);
/* EINTR when one has come that term_wait will tell, ERESTART when it was TSTP,
   which it will not; else 0. WINCH is forgotten. */
int term_interruption(void);
/* False when somebody else has the terminal: we run in the background. */
bool term_is_ours(int fd);

/* Columns and rows of a terminal. */
bool term_size(int fd, int *columns, int *rows);

/* How many columns a text takes on a terminal; what is no text takes one for
   each byte. */
size_t term_columns(const char *text, size_t size);

/* How many bytes of it fit into so many columns. */
size_t term_fit(const char *text, size_t size, size_t columns);

/* Writes all of it. 0 or errno. */
int term_write(int fd, const char *bytes, size_t size);

/* From now on each key is told as it is typed, and nothing is shown by itself;
   or as it was before. 0 or errno. */
int term_keys(int fd, bool on);
/* As it was, for a program that ends now: also in a handler. */
void term_restore(void);
/* And as it was set before that. */
void term_change_again(void);

/* Asks a question on the terminal of the process, whatever its outputs are, and
   reads a line; a hidden one is not shown. 0 or errno: ENXIO when there is no
   terminal, EINTR when a signal came (which term_wait tells), ENODATA at the
   end of the input, EMSGSIZE when it does not fit. */
int term_ask(const char *question, bool hidden, char *line, size_t size);

#endif
