/*
** codes: WSB.
*/
#include "base/codes_tables.h"

static const code_entry wsb_entries[] = {
    {0x007A0004u, "WSBAPP_ASYNC_IN_PROGRESS_NEW",
     "The operation is still running.", 0},
    {0x407A0004u, "WSBAPP_ASYNC_IN_PROGRESS", "The operation is still running.",
     0},
    {0x807A0001u, "WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED",
     "The component's consistency check failed; it is backed up, but cannot be "
     "recovered from this version.",
     0},
    {0x807A0002u, "WSBAPP_E_COMPONENT_PRE_RESTORE_FAILED",
     "The application could not make ready for the restore.", 0},
    {0x807A0003u, "WSBAPP_E_COMPONENT_POST_RESTORE_FAILED",
     "The application could not take up what was restored.", 0},
};

const code_table code_table_wsb = CODE_TABLE(wsb_entries);
