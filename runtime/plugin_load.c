/* plugin_load.c -- plugin libraries: opened by a path that the user gave, checked, registered, kept until the env is gone. */
#include "internal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct mien__library {
  struct mien__library *next;
  void *handle;
  const mien_plugin *plugin;
} library;

#ifndef MIEN_PLUGIN_DIRECTORY
#define MIEN_PLUGIN_DIRECTORY "/usr/local/lib/mien/plugins"
#endif

const char *mien_plugin_directory(void) { return MIEN_PLUGIN_DIRECTORY; }

static mien_status check_plugin(const mien_plugin *p, const char *path, mien_error *error) {
  if (!p) return mien__fail(error, MIEN_PLUGIN, "plugin '%s': its entry function returned nothing", path);
  if (p->abi != MIEN_ABI)
    return mien__fail(error, MIEN_PLUGIN,
                      "plugin '%s' was built for plugin ABI %u, this mien %s has ABI %u: rebuild it with this "
                      "version's mien/plugin.h",
                      path, p->abi, mien_version(), MIEN_ABI);
  if (p->size < sizeof(mien_plugin) || p->op_size != sizeof(mien_op) ||
      (p->rewrites && p->rewrite_size != sizeof(mien_rewrite)))
    return mien__fail(error, MIEN_PLUGIN,
                      "plugin '%s' has records of other sizes (%u, %u) than ABI %u of this mien %s (%zu, %zu)", path,
                      p->op_size, p->rewrite_size, MIEN_ABI, mien_version(), sizeof(mien_op), sizeof(mien_rewrite));
  if (!p->name || !*p->name || !p->ops)
    return mien__fail(error, MIEN_PLUGIN, "plugin '%s' states no name or no operators", path);
  return MIEN_OK;
}

/* shadow: a plugin whose name is loaded already is passed over, as a program later in PATH is. */
static mien_status load(mien_env *env, const char *path, bool shadow, mien_error *error) {
  if (!env || !path || !*path) return mien__fail(error, MIEN_INVALID_ARGUMENT, "no env or no path of a plugin");
  char *local = NULL;
  if (!strchr(path, '/')) { /* dlopen would search the system for a bare name */
    local = mien__alloc(env, strlen(path) + 3);
    if (!local) return mien__no_memory(error, strlen(path) + 3);
    memcpy(local, "./", 2);
    memcpy(local + 2, path, strlen(path));
  }
  void *handle = dlopen(local ? local : path, RTLD_NOW | RTLD_LOCAL);
  mien__free(env, local);
  if (!handle) {
    const char *reason = dlerror();
    return mien__fail(error, MIEN_PLUGIN, "cannot load plugin: %s", reason ? reason : path);
  }
  mien_plugin_fn *entry;
  void *symbol = dlsym(handle, MIEN_PLUGIN_SYMBOL);
  memcpy(&entry, &symbol, sizeof entry);
  mien_status status = MIEN_OK;
  const mien_plugin *plugin = NULL;
  library *l = NULL;
  if (!symbol) {
    status = mien__fail(error, MIEN_PLUGIN, "'%s' is no mien plugin: it does not export %s", path, MIEN_PLUGIN_SYMBOL);
    goto done;
  }
  plugin = entry(MIEN_ABI);
  status = check_plugin(plugin, path, error);
  if (status != MIEN_OK) goto done;
  for (library *other = env->libraries; other; other = other->next)
    if (other->plugin == plugin || strcmp(other->plugin->name, plugin->name) == 0) {
      if (other->plugin != plugin && !shadow)
        status =
            mien__fail(error, MIEN_PLUGIN, "plugin '%s': a plugin named '%s' is loaded already", path, plugin->name);
      goto done; /* the same library again is no error */
    }
  l = mien__alloc(env, sizeof *l);
  if (!l) {
    status = mien__no_memory(error, sizeof *l);
    goto done;
  }
  for (const mien_op *const *ops = plugin->ops; status == MIEN_OK && *ops; ops++)
    status = mien__registry_add(env, *ops, plugin->name, plugin->version, error);
  if (status != MIEN_OK) {
    mien__registry_remove(env, plugin->name);
    goto done;
  }
  *l = (library){.next = env->libraries, .handle = handle, .plugin = plugin};
  env->libraries = l;
  return MIEN_OK;
done:
  mien__free(env, l);
  dlclose(handle);
  return status;
}

mien_status mien_env_load_plugin(mien_env *env, const char *path, mien_error *error) {
  return load(env, path, false, error);
}

static int is_library(const struct dirent *entry) {
  size_t n = strlen(entry->d_name);
  return n > 3 && strcmp(entry->d_name + n - 3, ".so") == 0;
}

static mien_status load_directory(mien_env *env, const char *directory, size_t length, mien_error *error) {
  char path[4096];
  if (length == 0) return MIEN_OK;
  if (length >= sizeof path)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "a plugin directory's path has %zu bytes, at most %zu", length,
                      sizeof path - 1);
  memcpy(path, directory, length);
  path[length] = 0;
  struct dirent **entries = NULL;
  int count = scandir(path, &entries, is_library, alphasort);
  mien_status status = MIEN_OK;
  for (int i = 0; i < count; i++) {
    int n = snprintf(path + length, sizeof path - length, "/%s", entries[i]->d_name);
    if (status == MIEN_OK && n > 0 && (size_t)n < sizeof path - length) status = load(env, path, true, error);
    free(entries[i]);
  }
  if (count >= 0) free(entries);
  return status;
}

mien_status mien_env_load_plugins(mien_env *env, const char *path, mien_error *error) {
  if (!env || !path) return mien__fail(error, MIEN_INVALID_ARGUMENT, "no env or no path of plugins");
  for (;;) {
    size_t n = strcspn(path, ":");
    MIEN_TRY(load_directory(env, path, n, error));
    if (!path[n]) return MIEN_OK;
    path += n + 1;
  }
}

const mien_rewrite *mien__env_plugin_rewrite(const mien_env *env, size_t index, const char **plugin) {
  for (const library *l = env->libraries; l; l = l->next)
    for (const mien_rewrite *const *r = l->plugin->rewrites; r && *r; r++)
      if (index-- == 0) {
        if (plugin) *plugin = l->plugin->name;
        return *r;
      }
  return NULL;
}

void mien__libraries_close(mien_env *env) {
  for (library *l = env->libraries, *next; l; l = next) {
    next = l->next;
    dlclose(l->handle);
    mien__free(env, l);
  }
  env->libraries = NULL;
}
