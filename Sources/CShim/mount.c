#define _GNU_SOURCE
#include "CShim.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Not in the headers of Debian 12 in a form that mixes with <sys/mount.h>.
#define SLIPWAY_OPEN_TREE_CLONE 1
#define SLIPWAY_MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#define SLIPWAY_MOUNT_ATTR_IDMAP 0x00100000

struct slipway_mount_attr { uint64_t attr_set, attr_clr, propagation, userns_fd; };

static int open_how(int directory, const char *path, int flags, mode_t mode, uint64_t resolve) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = (uint64_t)(flags | O_CLOEXEC);
    how.mode = (flags & O_CREAT) ? mode : 0;
    how.resolve = resolve;
    int fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

int slipway_open_beneath(int directory, const char *path, int flags, mode_t mode) {
    return open_how(directory, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int slipway_open_inside(int directory, const char *path, int flags, mode_t mode) {
    return open_how(directory, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int slipway_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return mount(source, target, type, flags, data) != 0 ? -errno : 0;
}

int slipway_unmount(const char *target, int flags) { return umount2(target, flags) != 0 ? -errno : 0; }

int slipway_open_tree_clone(const char *path) {
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, SLIPWAY_OPEN_TREE_CLONE | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int slipway_mount_setattr(int mount, uint64_t set, uint64_t clear, int userns) {
    struct slipway_mount_attr attr = {.attr_set = set, .attr_clr = clear};
    if (userns >= 0) {
        attr.attr_set |= SLIPWAY_MOUNT_ATTR_IDMAP;
        attr.userns_fd = (uint64_t)userns;
    }
    return syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attr, sizeof attr) != 0 ? -errno : 0;
}

int slipway_move_mount(int mount, const char *target) {
    return syscall(SYS_move_mount, mount, "", AT_FDCWD, target, SLIPWAY_MOVE_MOUNT_F_EMPTY_PATH) != 0 ? -errno : 0;
}

static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    size_t length = strlen(text);
    int rc = write(fd, text, length) == (ssize_t)length ? 0 : -errno;
    close(fd);
    return rc;
}

int slipway_userns_create(const char *uid_map, const char *gid_map) {
    int ready[2], done[2];
    if (pipe2(ready, O_CLOEXEC) != 0) return -errno;
    if (pipe2(done, O_CLOEXEC) != 0) {
        int error = -errno;
        close(ready[0]); close(ready[1]);
        return error;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(done[1]);
        char c = unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
        (void)!write(ready[1], &c, 1);
        (void)!read(done[0], &c, 1);
        _exit(0);
    }
    int result = pid < 0 ? -errno : -EPERM;
    close(ready[1]); close(done[0]);
    if (pid > 0) {
        char c = 0, path[64];
        if (read(ready[0], &c, 1) == 1 && c == 'y') {
            snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
            result = write_file(path, uid_map);
            if (result == 0) {
                snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
                result = write_file(path, gid_map);
            }
            if (result == 0) {
                snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
                result = open(path, O_RDONLY | O_CLOEXEC);
                if (result < 0) result = -errno;
            }
        }
    }
    close(ready[0]); close(done[1]);
    if (pid > 0) while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
    return result;
}

int slipway_userns_write(int userns, const char *const *paths, const char *const *values, int count, int *failed) {
    int report[2];
    *failed = -1;
    if (pipe2(report, O_CLOEXEC) != 0) return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        // Only one thread is here, which setns asks for; only calls that are safe after fork.
        int answer[2] = {0, -1};
        if (setns(userns, CLONE_NEWUSER) != 0) answer[0] = -errno;
        for (int i = 0; answer[0] == 0 && i < count; i++) {
            answer[0] = write_file(paths[i], values[i]);
            if (answer[0] != 0) answer[1] = i;
        }
        (void)!write(report[1], answer, sizeof answer);
        _exit(0);
    }
    int result = pid < 0 ? -errno : -EIO, answer[2];
    close(report[1]);
    if (pid > 0) {
        if (read(report[0], answer, sizeof answer) == sizeof answer) {
            result = answer[0];
            *failed = answer[1];
        }
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
    }
    close(report[0]);
    return result;
}

int slipway_loop_attach(int file, int read_only, int direct_io, int *number) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return -errno;
    int result = -EBUSY;
    // Another process may take the number between asking and configuring: ask again.
    for (int attempt = 0; attempt < 64; attempt++) {
        int n = ioctl(control, LOOP_CTL_GET_FREE);
        if (n < 0) { result = -errno; break; }
        char path[32];
        snprintf(path, sizeof path, "/dev/loop%d", n);
        int device = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (device < 0) {
            // On hosts without udev the node of a new number has to be made.
            if (errno != ENOENT || (mknod(path, S_IFBLK | 0660, (dev_t)((7 << 8) | (n & 0xff) | ((n & ~0xff) << 12))) != 0 && errno != EEXIST)) {
                result = -errno;
                break;
            }
            device = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
            if (device < 0) { result = -errno; break; }
        }
        struct loop_config config;
        memset(&config, 0, sizeof config);
        config.fd = (uint32_t)file;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0) | (direct_io ? LO_FLAGS_DIRECT_IO : 0);
        if (ioctl(device, LOOP_CONFIGURE, &config) == 0) {
            *number = n;
            result = device;
            break;
        }
        result = -errno;
        close(device);
        if (result != -EBUSY) break;
    }
    close(control);
    return result;
}

int slipway_netns_create(const char *path) {
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNET) != 0) _exit(errno);
        if (mount("/proc/self/ns/net", path, "none", MS_BIND, NULL) != 0) _exit(errno);
        _exit(0);
    }
    if (pid < 0) return -errno;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int slipway_netns_enter(int fd) { return setns(fd, CLONE_NEWNET) != 0 ? -errno : 0; }

int slipway_inotify_watch(const char *path, uint32_t mask) {
    int fd = inotify_init1(IN_CLOEXEC);
    if (fd < 0) return -errno;
    if (inotify_add_watch(fd, path, mask) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int slipway_rename_noreplace(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0 ? -errno : 0;
}

int slipway_trim(const char *mount_point) {
    int fd = open(mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct fstrim_range range = {.start = 0, .len = UINT64_MAX, .minlen = 0};
    int rc = ioctl(fd, FITRIM, &range) != 0 ? -errno : 0;
    close(fd);
    return rc == -EOPNOTSUPP || rc == -ENOTTY ? 0 : rc;
}
