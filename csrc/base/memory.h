/*
** Memory, in one place, so that a test build can count it and make the n-th
** request fail. A release build calls malloc and nothing else.
*/
#ifndef SAROS_BASE_MEMORY_H
#define SAROS_BASE_MEMORY_H

#include <stddef.h>
#include <stdlib.h>

#ifdef SAROS_TEST

void *mem_alloc(size_t size);
void *mem_zero(size_t size);
void *mem_grow(void *block, size_t size);
void mem_free(void *block);

/* The n-th request from now fails, once; 0 disarms. */
void mem_fail_at(long n);
/* How many requests that one is away; 0: it has failed, or none was to. */
long mem_fail_left(void);
/* Blocks that are allocated and not yet freed. */
long mem_blocks(void);

#else

#define mem_alloc(size) malloc(size)
#define mem_zero(size) calloc(1, size)
#define mem_grow(block, size) realloc(block, size)
#define mem_free(block) free(block)

#endif

/* A copy of a string, or NULL when memory ran out or `text` is NULL. */
char *mem_text(const char *text);
/* A copy of `size` bytes with a NUL behind it. */
char *mem_bytes(const void *bytes, size_t size);

#endif
