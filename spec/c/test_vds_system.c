/*
** The disks that the system lives on, where no mount table shows it: in a root
** that is no mount point, under a name that is gone, below an overlay.
*/
#include "vds_judge_case.h"

#include "vds/overlay.h"

static int judge_in_chroot(const char *root, const char *device) {
  if (chroot(root) != 0 || chdir("/") != 0) return 90;
  answer a = judged(device, 4, "{}");
  if (a.code != VDS_E_OPERATION_DENIED || !said(&a, "/ of this machine"))
    return 1;
  return seen_go ? 2 : 0;
}

TEST(a_root_that_is_no_mount_point_is_the_system) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  if (!volumes_own_mounts) SKIP("needs mounts of its own");
  if (volumes_run("cd '%s' && mkdir -p root/proc root/sys root/dev && "
                  "mount --rbind /proc root/proc && "
                  "mount --rbind /sys root/sys && "
                  "mount --rbind /dev root/dev",
                  v->path) != 0)
    SKIP("nothing can be bound here");
  char root[400];
  snprintf(root, sizeof root, "%s/root", v->path);
  pid_t child = fork_at_rest();
  if (child == 0) {
    int r = judge_in_chroot(root, v->device);
    fflush(stdout);
    _exit(r);
  }
  CHECK_INT(status_of(child), 0);
  CHECK_INT(volumes_run("cd '%s/root' && umount -l proc sys dev", v->path), 0);
  CHECK_ANSWER(judged(v->device, 4, "{}"), 0);
}

/* As it is with a root that the kernel mounted as "/dev/root". */
TEST(a_btrfs_of_the_system_is_known_whatever_it_was_called) {
  NEED_DISKS();
  volume v;
  struct stat st;
  if (!volumes_own_mounts) SKIP("needs mounts of its own");
  if (access("/boot", F_OK) != 0) SKIP("there is no /boot to mount at");
  if (!volume_make(&v, "btrfs", 300, NULL, NULL)) SKIP(volumes_missing);
  const char *name = place("root");
  CHECK_INT(stat(v.device, &st), 0);
  CHECK_INT(mknod(name, S_IFBLK | 0600, st.st_rdev), 0);
  CHECK_INT(mount(name, "/boot", "btrfs", 0, NULL), 0);
  CHECK_INT(unlink(name), 0);
  CHECK_REFUSED(v.device, 4, "{}", "/boot of this machine lives on");
  CHECK_INT(umount2("/boot", 0), 0);
  volume_drop(&v);
}

static void hear_layer(void *context, const char *path) {
  char *all = context;
  size_t n = strlen(all);
  snprintf(all + n, 200 - n, "%s|", path);
}

static const char *layers_of(const char *options) {
  static char all[200];
  all[0] = '\0';
  CHECK(vds_overlay_layers(options, hear_layer, all));
  return all;
}

TEST(layers_are_read_as_the_kernel_shows_them) {
  CHECK_TEXT(layers_of("rw,lowerdir=/a:/b c,upperdir=/u:v,workdir=/w"),
             "/a|/b c|/u:v|");
  CHECK_TEXT(layers_of("ro,lowerdir+=/a:b,lowerdir+=/c,datadir+=/d,redirect"),
             "/a:b|/c|/d|");
  CHECK_TEXT(layers_of("lowerdir=/a\\:b\\\\:c::/d\\,,upperdir=/e"),
             "/a:b\\|/d,|/e|");
  CHECK_TEXT(layers_of("xino=off,lowerdir=,upperdir="), "");
  CHECK_TEXT(layers_of("lowerdir=/a\\"), "/a\\|");
}

/* As of a machine that keeps its root as it was delivered. */
TEST(what_lies_below_an_overlay_is_the_system) {
  NEED_DISKS();
  volume below, above;
  char options[1300];
  if (!volumes_own_mounts) SKIP("needs mounts of its own");
  if (access("/boot", F_OK) != 0) SKIP("there is no /boot to mount at");
  if (!volume_make(&below, "ext4", 16, NULL, NULL)) SKIP(volumes_missing);
  CHECK(volume_make(&above, "ext4", 16, NULL, NULL));
  CHECK_INT(volumes_run("mkdir '%s/one' '%s/two' '%s/up' '%s/work'", below.path,
                        below.path, above.path, above.path),
            0);
  snprintf(options, sizeof options,
           "lowerdir=%s/one:%s/two,upperdir=%s/up,workdir=%s/work", below.path,
           below.path, above.path, above.path);
  bool can = mount("over", "/boot", "overlay", 0, options) == 0;
  if (can) {
    CHECK_REFUSED(below.device, 4, "{}", "/boot of this machine lives on");
    CHECK_REFUSED(above.device, 4, "{}", "/boot of this machine lives on");
    CHECK_INT(umount2("/boot", 0), 0);
    CHECK_ANSWER(judged(below.device, 4, "{}"), 0);
  }
  volume_drop(&below);
  volume_drop(&above);
  if (!can) SKIP("no overlay can be mounted here");
}

static void all(void) {
  RUN(a_root_that_is_no_mount_point_is_the_system);
  RUN(a_btrfs_of_the_system_is_known_whatever_it_was_called);
  RUN(layers_are_read_as_the_kernel_shows_them);
  RUN(what_lies_below_an_overlay_is_the_system);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
