/*
** The freeze protocol as a model: coordinator, guard, writers, the kernel, and
** somebody who kills the requester at any instant. Searched wholly by spin
** (spec/model_spec.lua): when everything has come to rest, no file system is
** frozen, every writer that was told to hold still has heard of the end, and a
** set that was called good was held while its shadows were taken.
**
** Each -DNO_… takes one safeguard away; the search must then find a fault:
** that is how it is known that the model looks where it should.
*/

#define DISKS 2
#define WRITERS 2

/* ---- the kernel ---- */
bool frozen[DISKS];
/* A FIFREEZE that was entered and has not returned: a process that is killed
   meanwhile is not gone before it has. */
bool entering[DISKS];

/* ---- the requester ---- */
bool killed;          /* SIGKILL was sent */
bool good;            /* the set was called good */
bool over;            /* the coordinator has come to its end */
bool marked[DISKS];   /* what the guard was told may be held */
bool ours[DISKS];     /* FIFREEZE returned well */
bool let_go[DISKS];   /* its thread thaws it */
bool given_up;        /* a late FIFREEZE is thawed by its own job */
bool taking, taken;   /* shadows are being taken, were taken */
bool torn;            /* something was thawed while they were taken */
#define gone (killed && !entering[0] && !entering[1])

/* ---- the guard ---- */
bool armed, disarmed;
bool acted[DISKS];

/* ---- writers ---- */
mtype = { IDLE, HELD };
mtype writer[WRITERS] = IDLE;
bool told[WRITERS];     /* to hold still */
bool heard[WRITERS];    /* of the end: thaw, abort or end of file */

#define all_free (!frozen[0] && !frozen[1])

inline thaw_disk(d, well) {
  atomic {
    well = frozen[d];
    if
    :: frozen[d] && taking && !taken -> torn = true
    :: else
    fi;
    frozen[d] = false
  }
}

/* FIFREEZE runs on a thread of its own; the kernel finishes it in its own
   time, also when the process was killed meanwhile. */
proctype freezer(byte d) {
  bool well;
  atomic { entering[d] -> frozen[d] = true }
  atomic {
    if
#ifndef NO_LATE_THAW
    :: !killed && given_up -> frozen[d] = false
#endif
    :: !killed && !given_up -> ours[d] = true
#ifdef NO_LATE_THAW
    :: !killed && given_up -> ours[d] = true
#endif
    :: killed
    fi;
    entering[d] = false
  }
}

/* What ends the hold by itself: end-of-file, our death, the deadline. */
active proctype guard() {
  byte d;
  bool well;
#ifdef NO_GUARD
  goto out;
#endif
  if
  :: armed
  :: over && !armed -> goto out /* killed before there was one */
  fi;
wait:
  if
  :: disarmed -> goto out
  :: killed -> goto act       /* the pipe says end-of-file */
  :: !disarmed && (marked[0] || marked[1]) -> goto act   /* the deadline */
  fi;
act:
  d = 0;
  do
  :: d < DISKS ->
     if
     :: marked[d] ->
        thaw_disk(d, well);
        if
        :: well -> acted[d] = true
        :: else
        fi
     :: else
     fi;
     d++
  :: else -> break
  od;
  if
  :: disarmed -> goto out
#ifndef NO_SECOND_LOOK
  /* What was on its way into the kernel when we acted came to be frozen only
     then: once more when the owner is gone for sure. */
  :: gone ->
     d = 0;
     do
     :: d < DISKS ->
        if
        :: marked[d] -> thaw_disk(d, well)
        :: else
        fi;
        d++
     :: else -> break
     od;
     goto out
#else
  :: killed -> goto out
#endif
  fi;
out:
  skip
}

/* A writer holds still when it is told, and lets go when it hears of the end:
   from us, or by the end of the connection. */
proctype writes(byte w) {
  do
  :: told[w] && !heard[w] && writer[w] == IDLE && !killed -> writer[w] = HELD
  :: heard[w] -> atomic { writer[w] = IDLE; break }
#ifndef NO_END_OF_FILE
  :: killed -> atomic {
       heard[w] = true;
       writer[w] = IDLE;
       break
     }
#endif
  :: over && !told[w] -> break
  od
}

/* Killed at any instant, or never. */
active proctype killer() {
  if
  :: skip
  :: !over -> killed = true
  fi
}

#define alive (!killed)

active proctype coordinator() {
  byte d, w;
  bool well, fails, lost;
  atomic {
    run writes(0);
    run writes(1)
  }
  /* the guard exists, and has said so, before anything is held */
  if
  :: alive -> armed = true
  :: killed -> goto dead
  fi;
  /* writers, one level after the other */
  w = 0;
  do
  :: w < WRITERS ->
     if
     :: alive -> told[w] = true
     :: killed -> goto dead
     fi;
     if
     :: writer[w] == HELD && alive
     :: alive -> fails = true; break  /* a veto, or silence, or a cancel */
     :: killed -> goto dead
     fi;
     w++
  :: else -> break
  od;
  if
  :: fails -> goto release
  :: else
  fi;
  /* file systems: marked first, then frozen */
  d = 0;
  do
  :: d < DISKS ->
#ifndef NO_MARK
     if
     :: alive -> marked[d] = true
     :: killed -> goto dead
     fi;
#endif
     atomic {
       if
       :: alive -> entering[d] = true; run freezer(d)
       :: killed -> goto dead
       fi
     }
     if
     :: ours[d] && alive
     :: alive -> given_up = true; fails = true; break /* out of time */
     :: killed -> goto dead
     fi;
     d++
  :: else -> break
  od;
  if
  :: fails -> goto release
  :: else
  fi;
  /* shadows */
  if
  :: alive -> taking = true
  :: killed -> goto dead
  fi;
  if
  :: alive -> taken = true
  :: alive -> fails = true
  :: killed -> goto dead
  fi;
release:
  /* what is still on its way comes back first */
  if
#ifndef NO_WAIT
  :: alive && !entering[0] && !entering[1]
#else
  :: alive
#endif
  :: killed -> goto dead
  fi;
  /* side by side: in any order */
  do
  :: !let_go[0] || !let_go[1] ->
     if
     :: !let_go[0] -> d = 0
     :: !let_go[1] -> d = 1
     fi;
     let_go[d] = true;
     if
     :: alive && ours[d] ->
        thaw_disk(d, well);
#ifndef NO_VOID
        if
        :: !well -> lost = true    /* the guard was first */
        :: else
        fi
#endif
     :: alive && !ours[d]
     :: killed -> goto dead
     fi
  :: else -> break
  od;
  if
  :: alive -> disarmed = true
  :: killed -> goto dead
  fi;
  /* writers, in reverse: thaw, or abort for all that were told */
  w = WRITERS;
  do
  :: w > 0 ->
     w--;
     if
     :: alive && told[w] -> heard[w] = true
     :: alive && !told[w]
     :: killed -> goto dead
     fi
  :: else -> break
  od;
  if
  :: alive && taken && !fails && !lost -> good = true
  :: else
  fi;
dead:
  over = true
}

/* When nothing moves any more. */
active proctype judge() {
  timeout;
  assert(all_free);
  assert(writer[0] == IDLE && writer[1] == IDLE);
  assert(!told[0] || heard[0]);
  assert(!told[1] || heard[1]);
  assert(!good || !torn)
}
