/*
** Providers: what can take a shadow copy of a path. Each is one file behind
** one small struct. Every function blocks and runs on a lane thread with no
** lock held; a shadow is touched by one of them at a time.
**
** A shadow goes: probe (can it?) → plan (what will be made is named, and put
** on disk by the caller before anything is made) → prepare (as long as it
** takes, nothing is held) → commit (under the hold: quick, no disk write of
** ours, no allocation that could wait for a frozen disk) → finish (after the
** thaw: mounting and the like; now it can be read at s->path). What fails or
** is abandoned at any point is taken away by forget and then destroy, which
** knows the record alone, because its maker may be dead.
*/
#ifndef SAROS_VSS_PROVIDER_H
#define SAROS_VSS_PROVIDER_H

#include <time.h>

#include "vss/origin.h"
#include "vss/vss.h"

typedef enum provider_freeze {
  FREEZE_NONE,  /* nobody freezes; only the writers hold still */
  FREEZE_SELF,  /* it does so itself: a freeze around it would block it */
  FREEZE_CALLER /* FIFREEZE of origin->root around commit, by us */
} provider_freeze;

/* What is of one instant in its shadow. */
typedef enum provider_atomic {
  ATOMIC_VOLUME,    /* the whole file system */
  ATOMIC_SUBVOLUME, /* one subvolume, without those nested in it */
  ATOMIC_FILE,      /* each file by itself */
  ATOMIC_NOTHING
} provider_atomic;
const char *provider_atomic_name(provider_atomic atomic); /* "volume", … */

typedef struct provider provider;
typedef struct shadow shadow;

struct shadow {
  char id[37], set[37];
  char *given;  /* the path as the requester gave it, absolute */
  origin *from; /* where that really lies */
  const provider *provider;
  uint32_t attributes; /* VSS_ATTR_… */
  char *place;  /* the shadow directory that this provider may make things in:
                   a directory of our own, 0700, on the file system it asked
                   for in place_of; does not exist before prepare */
  value *keep;  /* a map: all that destroy needs. Filled by plan; what prepare
                   and finish add is put on disk by shadow_note before an act
                   that needs it, and by the caller after finish */
  char *path;   /* the counterpart of `given`, readable; set by finish */
  char *device; /* the device or directory of the shadow, for a person */
  value *warnings; /* a list of sentences: nested subvolumes, fragments, … */
  void *self;      /* the provider's own, between prepare and forget */
  error *(*note)(shadow *s); /* puts `keep` on disk, durably */
  void *note_self;
  /* Measured by the coordinator: monotonic nanoseconds; 0: did not happen.
     Who writes has to wait from `stalled_at` on, while the freeze itself still
     takes its time; from `frozen_at` on it is of one instant. */
  uint64_t stalled_at, frozen_at, commit_begin, commit_end, thawed_at;
  uint64_t rehearsed;   /* how long they waited before, at the rehearsal */
  struct timespec made; /* by the calendar */
};

struct provider {
  const char *name; /* "btrfs" */
  const char *id;   /* a GUID of its own, for ever */
  provider_freeze freeze;
  provider_atomic atomic;
  const char *worth; /* what its shadow is worth, in a person's words */
  int rank;          /* of those that can, the highest is taken; < 0: only
                        when it is asked for by name */
  bool late; /* prepare makes nothing that destroy would have to take away:
                what plan named is put on disk beside it, before commit */
  /* NULL, or why it cannot (VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
     SAROS_E_ACCESSDENIED naming the capability, …). Changes nothing. */
  error *(*probe)(const origin *from);
  error *(*plan)(shadow *s);
  /* Asks saros_op_cancelled(op) now and then; may tell saros_op_progress. */
  error *(*prepare)(shadow *s, saros_op *op);
  error *(*commit)(shadow *s);
  error *(*finish)(shadow *s, saros_op *op);
  /* Takes away everything that `keep` names; what is not there (any more) is
     no error; what is there but is not what we made is not touched, and is
     an error. May be called again after it failed. */
  error *(*destroy)(const value *keep, saros_op *op);
  /* Closes and frees what the shadow's self holds. Once, never fails. */
  void (*forget)(shadow *s);
  /* Whether what `keep` names is still there as it was made: NULL, or
     VSS_E_OBJECT_NOT_FOUND and what happened to it. May be NULL. */
  error *(*verify)(const value *keep);
  /* What ends with the machine and not with the shadow: a mount, a loop
     device. Both NULL: there is nothing of that kind.
     surfaced: whether the shadow can be read at its path, by this process,
     now; quick, and nobody need have it for himself.
     surface: makes it so again. What is so already stays as it is; what is
     there but is not what we made, or lies where others could swap it, is not
     touched, and is an error. A death at any point leaves nothing that destroy
     does not take away. *device (allocated) is its device now, or NULL: the
     same as ever. */
  bool (*surfaced)(const value *keep);
  error *(*surface)(const value *keep, saros_op *op, char **device);
  /* Rolls the original back to the shadow; NULL when it cannot. */
  error *(*revert)(const value *keep, saros_op *op);
  /* Makes what is kept plain data that may be written to, for a set that is
     broken up; NULL when it cannot. Called again after it failed or worked, it
     goes on or does nothing. *path (allocated) is where it lies from now on, or
     NULL: where it was, and what device it had. Until the record goes destroy
     can still take it away. */
  error *(*loosen)(const value *keep, char **path);
  /* What stays of it when `path` is a mount, which a restart of the machine
     takes: the file or the device that was mounted (allocated, or NULL without
     memory), for a set that is broken up and that nobody mounts again. NULL:
     the path itself stays. */
  char *(*stays)(const value *keep);
  /* Which directory `place` shall lie in: allocated; NULL: the state
     directory. It must be of the source's file system where a clone must. */
  char *(*place_of)(const origin *from);
};

extern const provider provider_btrfs, provider_image, provider_lvm,
    provider_reflink, provider_copy, provider_live;
extern const provider *const providers[]; /* provider.c; ends with NULL */

#ifdef SAROS_TEST
extern const provider *provider_test; /* found by its name, never chosen */
#endif
const provider *provider_named(const char *name); /* or by its GUID; NULL */
/* The one of the highest rank that can; *e collects why the others cannot. */
const provider *provider_choose(const origin *from, error **e);

/* A new one with an id of its own. `keep` and `warnings` are empty, `place` and
   `note` are the caller's to set. */
shadow *shadow_make(const char *set, const char *given, origin *from,
                    const provider *p); /* takes over `from`; NULL: no memory */
/* Where its place is: <place_of>/<id>, and <state>/<id> for a provider without
   a wish. False: no memory. */
bool shadow_place(shadow *s, const char *state);
error *shadow_note(shadow *s); /* NULL also when nobody set `note` */
void shadow_free(shadow *s);   /* forget is called first when self is there */
bool shadow_warn(shadow *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
