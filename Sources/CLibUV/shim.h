#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/sockios.h>
#include <uv.h>

// What Swift can't call: variadic functions, and names that hang on feature macros.

/// Takes one connection, close-on-exec and non-blocking; a negative errno on failure.
static inline int slipway_uv_accept(int listener) {
    int fd;
    do {
        fd = accept4(listener, NULL, NULL, 02000000 /* SOCK_CLOEXEC */ | 00004000 /* SOCK_NONBLOCK */);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/// Bytes that were written to a socket and that the peer has not acknowledged; 0 if the kernel can't tell.
static inline int slipway_uv_unacknowledged(int fd) {
    int count = 0;
    return ioctl(fd, SIOCOUTQ, &count) == 0 ? count : 0;
}

/// Makes the close that follows send a reset.
static inline void slipway_uv_reset_on_close(int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/// Raises the limit of open files to the hard one; returns what is in force.
static inline long slipway_uv_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit wanted = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) limit = wanted;
    }
    return limit.rlim_cur > 1000000 ? 1000000 : (long)limit.rlim_cur;
}

/// A stream unix socket, close-on-exec and non-blocking, connected; a negative errno on failure (-EAGAIN: the listener's
/// queue is full).
static inline int slipway_uv_unix_connect(const char *path) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | 02000000 /* SOCK_CLOEXEC */ | 00004000 /* SOCK_NONBLOCK */, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}
