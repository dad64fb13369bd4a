/*
** What the forms of AES share.
*/
#ifndef SAROS_REPOSITORY_AES_PARTS_H
#define SAROS_REPOSITORY_AES_PARTS_H

#include "repository/aes.h"

/* What the processor has of its own, at most two; how many. */
size_t repo_aes_ni_forms(repo_aes_form forms[2]);

#endif
