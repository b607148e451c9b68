#include <zlib.h>

/// `inflateInit2` is a macro, which Swift can't call. Window 15, gzip wrapping only.
static inline int paas_inflate_init_gzip(z_stream *stream) { return inflateInit2(stream, 15 + 16); }
