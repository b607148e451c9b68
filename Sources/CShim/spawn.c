#define _GNU_SOURCE
#include "CShim.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FDS 16


static int set_limit(int resource, int64_t value) {
    if (value < 0) return 0;
    struct rlimit now;
    if (getrlimit(resource, &now) != 0) return -errno;
    rlim_t wanted = (rlim_t)value;
    if (now.rlim_max != RLIM_INFINITY && wanted > now.rlim_max) wanted = now.rlim_max;
    struct rlimit next = {.rlim_cur = wanted, .rlim_max = wanted};
    return setrlimit(resource, &next) != 0 ? -errno : 0;
}

// Runs in the child of a multi-threaded process: async-signal-safe calls only.
static int child_setup(const struct slipway_spawn *spec, int report, pid_t parent) {
    // Move every source out of the way of the target numbers first, so that no dup2 overwrites a source still needed.
    int moved[MAX_FDS];
    int devnull = -1;
    for (size_t i = 0; i < spec->fd_count; i++) {
        int source = spec->fds[i];
        if (source < 0) {
            if (devnull < 0) devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
            if (devnull < 0) return -errno;
            source = devnull;
        }
        moved[i] = fcntl(source, F_DUPFD_CLOEXEC, 64);
        if (moved[i] < 0) return -errno;
    }
    int kept = fcntl(report, F_DUPFD_CLOEXEC, 64);
    if (kept < 0) return -errno;
    for (size_t i = 0; i < spec->fd_count; i++)
        if (dup2(moved[i], (int)i) < 0) return -errno;
    // Everything else is closed at exec, so that no descriptor of ours leaks into a child.
    if (syscall(SYS_close_range, (unsigned)spec->fd_count, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) != 0) return -errno;

    for (size_t i = 0; i < 16 && spec->cgroup_procs[i]; i++) {
        int fd = open(spec->cgroup_procs[i], O_WRONLY | O_CLOEXEC);
        if (fd < 0) return -errno;
        if (write(fd, "0", 1) != 1) return -errno;
        close(fd);
    }
    if (spec->oom_score_adj) {
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd < 0) return -errno;
        ssize_t length = (ssize_t)strlen(spec->oom_score_adj);
        if (write(fd, spec->oom_score_adj, (size_t)length) != length) return -errno;
        close(fd);
    }
    if (spec->new_session && setsid() < 0) return -errno;
    if (spec->cwd && chdir(spec->cwd) != 0) return -errno;
    if (spec->umask_value >= 0) umask((mode_t)spec->umask_value);
    int rc;
    if ((rc = set_limit(RLIMIT_FSIZE, spec->limit_file_bytes)) < 0) return rc;
    if ((rc = set_limit(RLIMIT_NOFILE, spec->limit_open_files)) < 0) return rc;
    if ((rc = set_limit(RLIMIT_CPU, spec->limit_cpu_seconds)) < 0) return rc;
    if (spec->change_user) {
        // Raw system calls: glibc's wrappers signal all threads of a process that is no longer there.
        if (syscall(SYS_setgroups, spec->group_count, spec->groups) != 0) return -errno;
        if (syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid) != 0) return -errno;
        if (syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid) != 0) return -errno;
    }
    if (spec->parent_death_signal) {
        // A change of the user would clear it, so it comes last.
        if (prctl(PR_SET_PDEATHSIG, spec->parent_death_signal) != 0) return -errno;
        // The parent may have ended before.
        if (getppid() != parent) return -ESRCH;
    }
    execve(spec->path, spec->argv, spec->envp);
    int error = -errno;
    (void)!write(kept, &error, sizeof error);
    _exit(127);
}

pid_t slipway_spawn_child(const struct slipway_spawn *spec) {
    if (spec->fd_count > MAX_FDS) return -EINVAL;
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return -errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        struct sigaction reset;
        memset(&reset, 0, sizeof reset);
        reset.sa_handler = SIG_DFL;
        for (int s = 1; s < 32; s++)
            if (s != SIGKILL && s != SIGSTOP) sigaction(s, &reset, NULL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        int error = child_setup(spec, report[1], parent);
        (void)!write(report[1], &error, sizeof error);
        _exit(127);
    }
    int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return -fork_error;
    }
    int error = 0;
    ssize_t n;
    do { n = read(report[0], &error, sizeof error); } while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == (ssize_t)sizeof error) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
        return error < 0 ? error : -EIO;
    }
    return pid;
}

int slipway_pidfd_open(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

int slipway_pidfd_send_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) != 0 ? -errno : 0;
}

int slipway_pidfd_wait(int pidfd, int nohang, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int rc;
    do {
        rc = waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED | (nohang ? WNOHANG : 0));
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) return -errno;
    if (info.si_pid == 0) return 0;
    *status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return 1;
}

int slipway_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 ? -errno : 0; }

pid_t slipway_gettid(void) { return (pid_t)syscall(SYS_gettid); }

void slipway_set_thread_name(const char *name) { pthread_setname_np(pthread_self(), name); }

int slipway_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) != 0 ? -errno : 0; }
