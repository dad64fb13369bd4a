/*
** copy: the provider for everywhere. It needs no privilege, no special file
** system and no tool: a second tree is made while the application runs, and
** under its hold only what has changed since (tree.h). What it is worth is
** what the writers' holding still is worth.
*/
#include "vss/provider/tree.h"

static error *prepare(shadow *s, saros_op *op) {
  return tree_prepare(s, op, CLONE_AUTO);
}

const provider provider_copy = {
    .name = "copy",
    .id = "16ea1f99-8f0c-4598-9763-f244c1fabaf0",
    .freeze = FREEZE_NONE,
    .atomic = ATOMIC_NOTHING,
    .worth =
        "a copy of each file: consistent if its writers held still; files "
        "that changed all the same are named",
    .rank = 10,
    .probe = tree_probe,
    .plan = tree_plan,
    .prepare = prepare,
    .commit = tree_commit,
    .finish = tree_finish,
    .destroy = tree_destroy,
    .forget = tree_forget,
    .verify = tree_verify,
    .surfaced = tree_surfaced,
    .surface = tree_surface,
    .loosen = tree_loosen,
};
