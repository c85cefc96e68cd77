/* A host that links libhotstuff.a, and with HOST_LMDB an LMDB of its own, with OTHER_RUST another
 * archive made of Rust: each works, and nobody runs on what belongs to another. */
#include "../c/node.h"

#ifdef HOST_LMDB
#include "lmdb.h"

extern int host_environments; /* that the host's LMDB has made */

static void the_host_has_its_own_lmdb(void)
{
    char dir[] = "/tmp/hotstuff-lmdb-XXXXXX";
    MDB_env *env = NULL;
    int before = host_environments;
    CHECK(strstr(mdb_version(NULL, NULL, NULL), "0.9.99") != NULL);
    CHECK(mkdtemp(dir) != NULL);
    CHECK(mdb_env_create(&env) == 0 && mdb_env_open(env, dir, 0, 0600) == 0);
    CHECK(host_environments == before + 1);
    mdb_env_close(env);
    remove_dir(dir);
}
#endif

#ifdef OTHER_RUST
extern uint64_t other_sum(uint64_t numbers);
extern bool other_panics(void);
#endif

static void a_replica_commits(void)
{
    node self;
    nodes_init(&self, 1);
    node_open(&self, node_config(&self), NULL);
    node_start(&self);
    OK(hotstuff_replica_wait_committed(self.replica, 3, 20000));
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

int main(void)
{
    a_replica_commits();
#ifdef HOST_LMDB
    the_host_has_its_own_lmdb();
    a_replica_commits();
    the_host_has_its_own_lmdb();
    CHECK(host_environments == 2); /* the replicas used none of them */
#endif
#ifdef OTHER_RUST
    CHECK(other_sum(100) == 5050);
    CHECK(other_panics());
    a_replica_commits();
    CHECK(other_panics());
#endif
    return checks_done("archive");
}
