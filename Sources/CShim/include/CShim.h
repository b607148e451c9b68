// System calls and spawning that Swift can't reach or must not do itself. Every function returns a negative errno on failure.
#ifndef SLIPWAY_CSHIM_H
#define SLIPWAY_CSHIM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// What to start and how. All pointers stay the caller's.
struct slipway_spawn {
    const char *path;            ///< Absolute path of the program.
    char *const *argv;           ///< NULL-terminated.
    char *const *envp;           ///< NULL-terminated; the whole environment.
    const char *cwd;             ///< NULL: unchanged.
    const int *fds;              ///< fds[i] becomes descriptor i of the child; -1: /dev/null. All others are closed.
    size_t fd_count;
    int new_session;             ///< 1: setsid().
    int change_user;             ///< 1: set gid, groups and uid below.
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
    int64_t limit_file_bytes;    ///< RLIMIT_FSIZE, -1: unchanged.
    int64_t limit_open_files;    ///< RLIMIT_NOFILE (clamped to the hard limit), -1: unchanged.
    int64_t limit_cpu_seconds;   ///< RLIMIT_CPU, -1: unchanged.
    int parent_death_signal;     ///< 0: none. Sent when the thread that started it ends.
    const char *oom_score_adj;   ///< Text for /proc/self/oom_score_adj; NULL: unchanged.
    int umask_value;             ///< -1: unchanged.
    const char *cgroup_procs[16];///< Files that get the child's pid before exec, NULL-terminated.
};

/// Starts a child; returns its pid once exec succeeded.
pid_t slipway_spawn_child(const struct slipway_spawn *spec);

/// A pidfd of `pid`, close-on-exec.
int slipway_pidfd_open(pid_t pid);
int slipway_pidfd_send_signal(int pidfd, int signal);
/// Orphans below this process become its children instead of init's (PR_SET_CHILD_SUBREAPER).
int slipway_adopt_orphans(void);
/// Waits for a child through its pidfd. Returns 1 and the wait status, 0 if `nohang` and it still runs.
int slipway_pidfd_wait(int pidfd, int nohang, int *status);

/// openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS.
int slipway_open_beneath(int directory, const char *path, int flags, mode_t mode);
/// openat2 with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS (links inside are followed).
int slipway_open_inside(int directory, const char *path, int flags, mode_t mode);

/// Sends `length` bytes with up to 8 descriptors. Returns the number of bytes sent.
ssize_t slipway_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t fd_count);
/// Receives bytes and up to `*fd_count` (at most 8) descriptors, close-on-exec. Returns the number of bytes.
ssize_t slipway_receive_fds(int socket, void *bytes, size_t length, int *fds, size_t *fd_count);
int slipway_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid);
/// Fills `path` into a stream unix socket, bound (and listening) or connected. Returns the descriptor.
int slipway_unix_listen(const char *path, int backlog);
int slipway_unix_connect(const char *path);

int slipway_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
int slipway_unmount(const char *target, int flags);
/// A detached clone of the mount at `path`.
int slipway_open_tree_clone(const char *path);
/// Gives a detached mount the id mapping of a user namespace, and MOUNT_ATTR_… flags.
int slipway_mount_setattr(int mount, uint64_t set, uint64_t clear, int userns);
int slipway_move_mount(int mount, const char *target);
/// A user namespace with these maps ("inside outside count" lines), as a descriptor.
int slipway_userns_create(const char *uid_map, const char *gid_map);
/// Writes `values[i]` to `paths[i]` (files of /proc/sys) by a child in the user namespace, with all rights in it.
/// Returns -errno of the first that failed, with its index in `*failed`.
int slipway_userns_write(int userns, const char *const *paths, const char *const *values, int count, int *failed);
/// Attaches a file to a free loop device with autoclear. Returns the device's descriptor, its number in `*number`.
int slipway_loop_attach(int file, int read_only, int direct_io, int *number);
/// Makes a network namespace and binds it at `path` (an existing file).
int slipway_netns_create(const char *path);
/// Enters a network namespace with the calling thread only.
int slipway_netns_enter(int fd);
/// inotify_init1 with IN_CLOEXEC, and a watch.
int slipway_inotify_watch(const char *path, uint32_t mask);
int slipway_rename_noreplace(const char *from, const char *to);
/// Punches a hole or trims a mounted file system (FITRIM). Returns 0 where the file system can't.
int slipway_trim(const char *mount_point);
/// The calling thread's id.
pid_t slipway_gettid(void);
/// Names the calling thread (15 bytes).
void slipway_set_thread_name(const char *name);
/// pipe2 with O_CLOEXEC.
int slipway_pipe(int ends[2]);
/// accept4 with SOCK_CLOEXEC, repeated while interrupted.
int slipway_accept(int listener);

#endif
