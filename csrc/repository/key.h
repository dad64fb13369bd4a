/*
** Key files: the master key, sealed with what scrypt makes of a password. There
** may be any number, a password each; the master key is one for ever.
*/
#ifndef SAROS_REPOSITORY_KEY_H
#define SAROS_REPOSITORY_KEY_H

#include "repository/crypto.h"
#include "repository/password.h"
#include "repository/store.h"

#define REPO_KEY_FILE_MOST ((size_t)64 << 10)
#define REPO_KEYS_TRIED 20 /* in the order of their names, behind the hint */

/* What scrypt shall cost. Calibrated it takes at most so many CPU seconds here,
   and 60 MiB. */
typedef struct repo_cost {
  uint64_t n, r, p;
} repo_cost;
#define REPO_COST_SECONDS 0.5
#define REPO_COST_N_MOST ((uint64_t)32768)
#define REPO_COST_N_LEAST ((uint64_t)16384)
#define REPO_COST_R ((uint64_t)8)
#define REPO_COST_P_MOST ((uint64_t)8)
error *repo_cost_calibrate(repo_cost *cost);
#ifdef SAROS_TEST
/* Instead, unless it is NULL: a test makes a hundred repositories. */
extern const repo_cost *repo_cost_test;
#endif

/* A new one, random. All repo_key here belong into secret memory. */
error *repo_key_random(repo_key *master);

/* Finds the key file that this password opens: the hint (may be NULL), then
   the others. SAROS_E_WRONG_PASSWORD: none of them. */
error *repo_key_open(repo_store *store, const repo_password *password,
                     const repo_id *hint, repo_key *master, repo_id *id,
                     const repo_stop *stop);
/* Another key file. A `cost` of NULL is calibrated. */
error *repo_key_add(repo_store *store, const repo_key *master,
                    const repo_password *password, const repo_cost *cost,
                    repo_id *id, const repo_stop *stop);
/* SAROS_E_REFUSED for the one in use, with which the caller was let in. */
error *repo_key_remove(repo_store *store, const repo_id *id,
                       const repo_id *in_use, const repo_stop *stop);
/* A new key file, which is read back and opened before the old one goes; then
 *in_use is the new one. */
error *repo_key_change(repo_store *store, const repo_key *master,
                       const repo_password *password, const repo_cost *cost,
                       repo_id *in_use, const repo_stop *stop);
/* A list of maps {id, created, username, hostname, current, N, r, p}, in the
   order of their names; of one that cannot be read {id, current, error}. */
value *repo_key_list(repo_store *store, const repo_id *in_use,
                     const repo_stop *stop, error **e);

#endif
