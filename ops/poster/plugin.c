/* libmien_poster.so: the operators of POSTER-Var and POSTER++ that no standard knows, and what recognises them in a graph. */
#include <mien/plugin.h>

extern const mien_op mien_poster_WindowCrossAttention[], mien_poster_ChannelAttention[], mien_poster_VICH[];
extern const mien_rewrite mien_poster_window_rewrite, mien_poster_channel_rewrite, mien_poster_vich_rewrite;

static const mien_op *const ops[] = {mien_poster_WindowCrossAttention, mien_poster_ChannelAttention, mien_poster_VICH,
                                     NULL};
static const mien_rewrite *const rewrites[] = {&mien_poster_window_rewrite, &mien_poster_channel_rewrite,
                                               &mien_poster_vich_rewrite, NULL};
static const mien_plugin plugin = {MIEN_PLUGIN_HEADER, .name = "poster", .version = "0.1.0", .ops = ops,
                                   .rewrites = rewrites};
MIEN_PLUGIN(plugin)
