/*
** The layers of an overlay, by the options that its mount shows.
*/
#ifndef SAROS_VDS_OVERLAY_H
#define SAROS_VDS_OVERLAY_H

#include "vds/vds.h"

/* Each lower and upper directory, with an absolute path. Layers are names that
   meant something to who mounted it; here they may lead to nothing, or to
   something else. False: memory ran out. */
bool vds_overlay_layers(const char *options,
                        void (*each)(void *context, const char *path),
                        void *context);

#endif
