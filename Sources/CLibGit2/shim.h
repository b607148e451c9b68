#include <git2.h>

/// Makes every change of a ref and of other files of a repository durable before it is reported. The library's function is
/// variadic, which Swift can't call.
static inline int slipway_git2_fsync(void) { return git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1); }
