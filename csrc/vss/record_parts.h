/*
** What the files about records and shadows share, and nobody else needs.
*/
#ifndef SAROS_VSS_RECORD_PARTS_H
#define SAROS_VSS_RECORD_PARTS_H

#include "vss/record.h"
#include "vss/shape.h"

#define RECORD_SIZE_MOST ((size_t)1 << 20)
#define RECORD_DEPTH_MOST 32
#define VSS_E_PROVIDER_NOT_REGISTERED 0x80042304u

/* An open directory, registered as ours; -1 and *e. */
int places_shadows(const places *p, error **e);

/* --- record_form.c: what a record looks like --- */

extern const shape record_shape;
/* `id` may be NULL: any. A clause in *why when it is no record. */
bool record_fits(const value *record, const char *id, buffer *why);
/* SAROS_E_DAMAGED when it is none, VSS_E_NOT_SUPPORTED when a newer saros
   wrote it. */
value *record_parse(const char *text, size_t size, const char *id, error **e);
/* The text of a GUID as it names a file; false when it is none. */
bool record_id(const char *text, char id[GUID_TEXT]);
const char *record_text(const value *record, const char *name); /* or "" */
bool record_is(const value *record, const char *state);
bool record_put_text(value *record, const char *name, const char *text);

/* --- record.c --- */

/* Takes away what writers that died left half written. */
void record_tidy(const places *p);

/* --- record_tail.c --- */

#define RECORD_MARK '\x1e' /* before one that is put behind another */
/* Puts the text, which begins with the mark, behind what is in the file. False:
   not so; then the file is as it was, or there is none, and it must be
   replaced. */
bool record_append(int dir, const char *file, const char *text, size_t size);
/* The last one in the text that is whole; else as record_parse. */
value *record_parse_last(const char *text, size_t size, const char *id,
                         error **e);

/* --- claim.c: one at a time for each shadow --- */

/* A descriptor that holds the claim; -1 and *e: VSS_E_PROVIDER_IN_USE when
   somebody has it, in this process or another. It goes with the process. */
int claim_take(const places *p, const char *id, error **e);
/* The claim of the reaper: waits its turn. -1 and *e also when cancelled. */
int claim_reaper(const places *p, saros_op *op, error **e);
void claim_give(int *claim);

/* --- shadows.c --- */

const provider *record_provider(const value *record, error **e);
/* Whether it is there as it was made, and not being broken up. */
error *record_verify(const value *record);
/* Written as being deleted, then really; the caller has the claim. */
error *record_destroy(const places *p, value *record, saros_op *op);
bool shadows_stopped(saros_op *op, error **e);

/* --- shadows_surface.c --- */

/* The boot of the machine that we are in. False: no memory. */
bool record_put_boot(value *record, const char *name);
/* Whether it is still the one that stands there; where none does, that of the
   owner. False: no memory. */
bool record_is_of_boot(const value *record, const char *name, bool *same);
/* Its set is being broken up: it may be writable already. */
bool record_is_loosened(const value *record);
/* Whether the machine was restarted since it was made readable last. */
bool surface_is_due(const value *record);
/* Makes it readable again, if it is not. The caller has the claim; *again: it
   was not; *changed: the record, in memory alone. */
error *surface_in_memory(value *record, saros_op *op, bool *again,
                         bool *changed);
/* The same, and the record is written. */
error *surface_claimed(const places *p, value *record, saros_op *op,
                       bool *again);
/* Readable, and there as it was made. The caller has the claim. */
error *record_ready(const places *p, value *record, saros_op *op);
/* For who has no claim: readable again when that is due, or (`asked`) when it
   is not readable. *record is the new one then, also on an error; NULL: it has
   been deleted meanwhile. */
error *record_surface(const places *p, value **record, bool asked,
                      saros_op *op);

/* --- shadows_expose.c --- */

/* Unmounts what exposes it, if it does; with `force` also what is in use.
   Changes the record in memory alone. The caller has the claim. */
error *exposure_end(value *record, bool force);
/* Mounts again what was mounted before the machine was restarted; *again: it
   was that. */
error *exposure_again(const places *p, value *record, bool *again);

#ifdef SAROS_TEST
extern const provider *const *shadows_test_providers; /* found first */
#endif

#endif
