/*
** vds: disks, volumes and virtual disks. What is there is read from /sys and
** from file systems' first bytes (about, holders, probe); what an operation may
** do to it is judged before it does anything (refuse), on a device that is
** proved to be the one that was named (object) and that nobody else works on
** (busy). What dies in the middle is on disk beforehand (record, reap).
**
** A module of its own (libfdisk, libblkid, libmount): it has the engine through
** saros.h, and base compiled in. Every name from here begins with vds_. What is
** declared here blocks, and is called on the lane thread of an operation
** unless its header says otherwise; nothing here has seen a lua_State.
**
** Lock order, outermost first: attached (attach.c), busy (busy.c). Neither is
** held while the kernel, a tool or the engine is asked for anything slow.
*/
#ifndef SAROS_VDS_VDS_H
#define SAROS_VDS_VDS_H

#include <sys/types.h>

#include "base/base.h"
#include "saros.h"

/* Makes every error of this folder. */
#define vds_error(code, ...) error_make(SAROS_FACADE_VDS, code, __VA_ARGS__)
/* The same from an errno: in VDS' own words where it has one for it (EIO,
   EROFS, ENODEV, ENXIO, EACCES, EPERM, EBUSY, ENOMEDIUM), else as Win32. The
   sentence is "what: strerror". */
error *vds_errno(int number, const char *what, const char *path);

/* The codes that this folder raises; all others are in base/codes_vds.c. */
#define VDS_E_ANOTHER_CALL_IN_PROGRESS 0x80042404u
#define VDS_E_OBJECT_NOT_FOUND 0x80042405u
#define VDS_E_INVALID_SPACE 0x80042406u
#define VDS_E_PARTITION_LIMIT_REACHED 0x80042407u
#define VDS_E_OPERATION_DENIED 0x8004240Au
#define VDS_E_OBJECT_DELETED 0x8004240Bu
#define VDS_E_CANNOT_EXTEND 0x8004240Eu
#define VDS_E_NOT_ENOUGH_SPACE 0x8004240Fu
#define VDS_E_NO_MEDIA 0x80042412u
#define VDS_E_DEVICE_IN_USE 0x80042413u
#define VDS_E_PATH_NOT_FOUND 0x80042416u
#define VDS_E_DISK_NOT_INITIALIZED 0x80042417u
#define VDS_E_OBJECT_EXISTS 0x8004241Du
#define VDS_E_INCOMPATIBLE_FILE_SYSTEM 0x80042425u
#define VDS_E_MEDIA_WRITE_PROTECTED 0x80042428u
#define VDS_E_BAD_LABEL 0x80042429u
#define VDS_E_IO_ERROR 0x8004242Bu
#define VDS_E_VOLUME_TOO_SMALL 0x8004242Cu
#define VDS_E_VOLUME_TOO_BIG 0x8004242Du
#define VDS_E_OBJECT_STATUS_FAILED 0x80042431u
#define VDS_E_VOLUME_NOT_ONLINE 0x8004243Du
#define VDS_E_VOLUME_NOT_HEALTHY 0x8004243Eu
#define VDS_E_VOLUME_NOT_A_MIRROR 0x80042445u
#define VDS_E_DISK_IN_USE_BY_VOLUME 0x8004244Cu
#define VDS_E_VOLUME_NOT_MOUNTED 0x8004244Fu
#define VDS_E_OBJECT_OUT_OF_SYNC 0x80042453u
#define VDS_E_CORRUPT_PARTITION_INFO 0x80042509u
#define VDS_E_CANNOT_SHRINK 0x8004251Eu
#define VDS_E_INVALID_FS_TYPE 0x80042561u
#define VDS_E_INVALID_PARTITION_TYPE 0x80042565u
#define VDS_E_PARTITION_STYLE_MISMATCH 0x80042571u
#define VDS_E_SHRINK_SIZE_LESS_THAN_MIN 0x80042573u
#define VDS_E_SHRINK_SIZE_TOO_BIG 0x80042574u
#define VDS_E_FS_NOT_DETERMINED 0x80042593u
#define VDS_E_ALIGN_NOT_A_POWER_OF_TWO 0x8004258Fu
#define VDS_E_ALIGN_IS_ZERO 0x80042590u
#define VDS_S_NO_NOTIFICATION 0x00042517u
#define VDS_S_DISK_PARTIALLY_CLEANED 0x0004241Au
#define VDS_S_ALREADY_EXISTS 0x00042714u

/* VDS_ASYNC_OUTPUT_TYPE. An operation that is no IVdsAsync of the original
   (detach, mount, check, label, listings) has type 0. */
typedef enum vds_type {
  VDS_UNKNOWN = 0,
  VDS_EXTEND_VOLUME = 2,
  VDS_SHRINK_VOLUME = 3,
  VDS_ADD_PLEX = 4,
  VDS_BREAK_PLEX = 5,
  VDS_REMOVE_PLEX = 6,
  VDS_REPAIR_PLEX = 7,
  VDS_CREATE_PARTITION = 10,
  VDS_CLEAN = 11,
  VDS_FORMAT = 101,
  VDS_CREATE_VDISK = 200,
  VDS_ATTACH_VDISK = 201,
  VDS_COMPACT_VDISK = 202,
  VDS_MERGE_VDISK = 203,
  VDS_EXPAND_VDISK = 204
} vds_type;

/* The classes that maps of an output belong to in Lua, by their field
   "__class" (see csrc/lua/convert.c). */
#define VDS_CLASS_DISK "saros.vds.disk"
#define VDS_CLASS_VOLUME "saros.vds.volume"
#define VDS_CLASS_VDISK "saros.vds.vdisk"
#define VDS_CLASS_PLAN "saros.vds.plan"
#define VDS_CLASS_FIELD "__class"

/* Nanoseconds of a clock that goes on while the machine is suspended. */
uint64_t vds_clock(void);
/* Another number in the child of a fork: what has the parent's is the
   parent's. vds_forked is called there, by the module. */
unsigned vds_generation(void);
void vds_forked(void);

#endif
