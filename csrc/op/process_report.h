/*
** What is said about a process that has ended.
*/
#ifndef SAROS_OP_PROCESS_REPORT_H
#define SAROS_OP_PROCESS_REPORT_H

#include <sys/types.h>

#include "op/output.h"

typedef struct process_report {
  const char *program; /* argv[0] */
  pid_t pid;
  int status;   /* 128 + signal when a signal killed it, as a shell has it */
  int signal;   /* 0: none */
  bool stolen;  /* nobody knows */
  bool open[3]; /* of 1 and 2: somebody keeps it open who is none of ours */
  bool captured[3];
  output *outs[3];
} process_report;

/* Its details, for whoever asks for the status of one that failed. Before
   report_output, which takes what was captured. */
void report_details(const process_report *r, saros_op *op);
/* The result; NULL without memory. */
value *report_output(const process_report *r);
/* Why a status or a signal is a failure; NULL when it is none. */
error *report_failure(const process_report *r);
error *report_timeout(const char *program, double seconds);

#endif
