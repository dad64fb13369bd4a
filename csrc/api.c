/*
** Where the library is put together: the vocabularies that an operation may
** speak, and the function table, which saros.core publishes and other modules
** and hosts call. Its Lua half is filled in by the room that knows Lua.
*/
#include "api.h"
#include "op/facade.h"
#include "op/op.h"
#include "op/process.h"

const facade *const facades[SAROS_FACADES] = {
    [SAROS_FACADE_SAROS] = &facade_saros,
    [SAROS_FACADE_VSS] = &facade_vss,
    [SAROS_FACADE_WSB] = &facade_wsb,
    [SAROS_FACADE_VDS] = &facade_vds,
    [SAROS_FACADE_BITS] = &facade_bits};

saros_api api_table = {.version = SAROS_API_VERSION,
                       .size = sizeof(saros_api),
#define F(name) .name = saros_##name
                       F(op_new),
                       F(op_start),
                       F(op_ref),
                       F(op_unref),
                       F(op_finish),
                       F(op_end),
                       F(op_unwinding),
                       F(op_cleanup_failed),
                       F(op_output_json),
                       F(op_progress),
                       F(op_phase),
                       F(op_cancelled),
                       F(op_checkpoint),
                       F(op_point_of_no_return),
                       F(op_retry_wait),
                       F(op_running),
                       F(op_transfer_error),
                       F(op_pause),
                       F(op_resume),
                       F(op_state),
                       F(op_code),
                       F(op_kind),
                       F(op_self),
                       F(op_cancel),
                       F(op_query),
                       F(op_wait),
                       F(get),
                       F(query_status),
                       F(wait),
                       F(cancel),
                       F(vss_query_status),
                       F(vss_wait),
                       F(vss_cancel),
                       F(wsb_query_status),
                       F(wsb_abort),
                       F(vds_query_status),
                       F(vds_wait),
                       F(vds_cancel),
                       F(bits_get_status),
                       F(sleep),
                       F(process),
                       F(copy),
                       F(value_integer),
                       F(value_real),
                       F(value_bytes),
                       F(value_list),
                       F(value_map),
                       F(value_add),
                       F(value_put),
                       F(value_free),
                       F(op_output),
                       F(value_boolean),
                       F(log),
                       F(device_hold),
                       F(device_release),
                       F(op_detail),
                       F(op_stream),
                       F(op_fail),
                       F(wsb_check),
                       F(value_map_of),
                       F(value_put_integer),
                       F(value_put_bytes),
                       F(value_put_map),
                       F(value_put_list),
                       F(value_add_bytes),
                       F(value_add_map)
#undef F
};

const saros_api *saros_api_own(void) {
  return &api_table;
}

void saros_log(saros_log_level level, const char *area, const char *text) {
  log_write((log_level)level, area, "%s", text);
}

saros_device *saros_device_hold(int fd, const char *why, const char *path) {
  return (saros_device *)device_hold_fd(fd, why, path);
}

void saros_device_release(saros_device *hold) {
  if (hold != NULL) device_release((device_hold *)hold);
}

int saros_op_stream(saros_op *op) {
  return op_is_process(op) ? process_take_stream(op) : -1;
}
