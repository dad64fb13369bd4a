/*
** What the forms of SHA-256 share.
*/
#ifndef SAROS_REPOSITORY_SHA_PARTS_H
#define SAROS_REPOSITORY_SHA_PARTS_H

#include "repository/sha.h"

bool repo_sha_can_ni(void);
void repo_sha_ni_one(uint32_t state[8], const uint8_t *data, size_t count);
void repo_sha_ni_two(uint32_t state[8], const uint8_t *data, uint32_t other[8],
                     const uint8_t *other_data, size_t count);

#endif
