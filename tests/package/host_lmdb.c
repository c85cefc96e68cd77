/* The host's own LMDB: another version than the library's (the test patches lmdb.h), which counts
 * the environments that are made with it. */
#define mdb_env_create uncounted_env_create
#include "mdb.c"
#include "midl.c"
#undef mdb_env_create

int host_environments;

int mdb_env_create(MDB_env **env)
{
    host_environments++;
    return uncounted_env_create(env);
}
