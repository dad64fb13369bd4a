/*
** codes: the vocabulary `saros`, of operations that belong to no service. It
** names cancelled and timed out itself, because its own answers are among
** those two; everything else it says in the names that all share.
*/
#include "base/codes_tables.h"

static const code_entry saros_entries[] = {
    {0x25A50001u, "SAROS_S_PENDING", "The operation is still running.", 0},
    {0x25A50002u, "SAROS_S_PARTIAL",
     "Done, but not with everything; the report names what is missing.", 0},
    {0x800704C7u, "SAROS_E_CANCELLED", "The operation was cancelled.", 0},
    {0x800705B4u, "SAROS_E_TIMEOUT", "That took too long.", 1},
    {0xA5A50001u, "SAROS_E_FORKED",
     "The operation was begun before a fork; only the parent process has its "
     "answer.",
     0},
    {0xA5A50002u, "SAROS_E_CYCLE", "Two operations wait for each other.", 0},
    {0xA5A50003u, "SAROS_E_BUSY_NAME",
     "A pending operation already has this name; choose another, or wait for "
     "it.",
     0},
    {0xA5A50004u, "SAROS_E_EXIT",
     "The program ended with a status other than 0.", 0},
    {0xA5A50005u, "SAROS_E_SIGNAL", "The program was killed by a signal.", 0},
    {0xA5A50006u, "SAROS_E_STOLEN",
     "Somebody else in this process collected the program's exit status.", 0},
    {0xA5A50007u, "SAROS_E_LUA", "A Lua function raised an error.", 0},
    {0xA5A50008u, "SAROS_E_CLOSED", "The handle is closed.", 0},
    {0xA5A50009u, "SAROS_E_ENGINE",
     "Another saros engine runs in this process; load saros once only.", 0},
    {0xA5A50010u, "SAROS_E_WRONG_PASSWORD", "The password is wrong.", 0},
    {0xA5A50011u, "SAROS_E_LOCKED",
     "Somebody else holds the lock; try again when that is done.", 1},
    {0xA5A50012u, "SAROS_E_DAMAGED", "The data is damaged.", 0},
    {0xA5A50013u, "SAROS_E_CHANGED",
     "The source changed while it was read; try again.", 1},
    {0xA5A50014u, "SAROS_E_REFUSED", "Refused, because it would be dangerous.",
     0},
};

const code_table code_table_saros = CODE_TABLE(saros_entries);
