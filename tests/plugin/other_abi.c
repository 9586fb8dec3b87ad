/* other_abi.c -- a plugin from the future: its ABI is not this mien's, and the error must name both. */
#include <mien/plugin.h>

static const mien_op *const ops[] = {NULL};
static const mien_plugin plugin = {
    .abi = MIEN_ABI + 41, .size = sizeof(mien_plugin), .name = "future", .version = "9", .ops = ops};
MIEN_PLUGIN(plugin)
