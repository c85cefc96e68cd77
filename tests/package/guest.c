/* libhotstuff is a guest in the process of its host: four replicas over TCP come and go, and what
 * belongs to the process is afterwards as it was. What the library prints, and what it asks of
 * libc, is watched from outside (shim.c, test_binary.py). */
#include "../c/node.h"
#include <locale.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

extern char **environ;

typedef struct {
    struct sigaction actions[65];
    sigset_t blocked;
    mode_t umask;
    char cwd[256], locale[256];
    size_t variables, bytes; /* of the environment */
    struct rlimit files, core;
} process;

static void look_at(process *it)
{
    int number;
    char **variable;
    memset(it, 0, sizeof *it);
    for (number = 1; number < 65; number++)
        sigaction(number, NULL, &it->actions[number]); /* fails for libc's own two */
    pthread_sigmask(SIG_BLOCK, NULL, &it->blocked);
    it->umask = umask(0);
    umask(it->umask);
    CHECK(getcwd(it->cwd, sizeof it->cwd) != NULL);
    snprintf(it->locale, sizeof it->locale, "%s", setlocale(LC_ALL, NULL));
    for (variable = environ; *variable != NULL; variable++) {
        it->variables++;
        it->bytes += strlen(*variable);
    }
    getrlimit(RLIMIT_NOFILE, &it->files);
    getrlimit(RLIMIT_CORE, &it->core);
}

static void compare(const process *before, const process *after)
{
    int number;
    for (number = 1; number < 65; number++) {
        CHECK(before->actions[number].sa_handler == after->actions[number].sa_handler);
        CHECK(before->actions[number].sa_flags == after->actions[number].sa_flags);
        CHECK(sigismember(&before->blocked, number) == sigismember(&after->blocked, number));
    }
    CHECK(after->actions[SIGPIPE].sa_handler == SIG_DFL);
    CHECK(before->umask == after->umask);
    CHECK(strcmp(before->cwd, after->cwd) == 0);
    CHECK(strcmp(before->locale, after->locale) == 0);
    CHECK(before->variables == after->variables && before->bytes == after->bytes);
    CHECK(memcmp(&before->files, &after->files, sizeof before->files) == 0);
    CHECK(memcmp(&before->core, &after->core, sizeof before->core) == 0);
}

/** How many threads of this process there are besides this one; each has all signals blocked. */
static int threads_that_block_signals(void)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    int threads = 0;
    while (CHECK(dir != NULL) && (entry = readdir(dir)) != NULL) {
        char path[300], line[128];
        unsigned long long blocked = 0;
        FILE *status;
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof line, status) != NULL)
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1)
                threads++;
        if (status == NULL)
            continue; /* it has just ended */
        fclose(status);
        /* All but SIGKILL, SIGSTOP and the two that libc keeps for itself (32 and 33). */
        CHECK((blocked | 0x180040100ull) == ~0ull);
    }
    if (dir != NULL)
        closedir(dir);
    return threads;
}

static int descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (CHECK(dir != NULL) && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

/** A TCP network that knows where the nodes before it listen; those after it will call. */
static hotstuff_network *tcp_network(node *nodes, size_t self, char addresses[][64])
{
    hotstuff_tcp_config *cfg = NULL;
    hotstuff_network *network = NULL;
    hotstuff_buffer *address = NULL;
    hotstuff_bytes text;
    size_t i;
    OK(hotstuff_tcp_config_new(&cfg));
    OK(hotstuff_tcp_config_set_listen(cfg, "127.0.0.1:0"));
    for (i = 0; i < NODES_MAX; i++) {
        if (i != self)
            OK(hotstuff_tcp_config_add_peer(cfg, &nodes[i].address,
                                            i < self ? addresses[i] : "127.0.0.1:1"));
    }
    OK(hotstuff_network_tcp(cfg, nodes[self].key, &network, NULL));
    OK(hotstuff_network_local_addr(network, &address));
    hotstuff_buffer_get(address, &text);
    CHECK(text.len < 64);
    snprintf(addresses[self], 64, "%.*s", (int)text.len, (const char *)text.data);
    hotstuff_buffer_free(address);
    hotstuff_tcp_config_free(cfg);
    return network;
}

/** Four replicas; one ends while the others talk to it. */
static void replicas_come_and_go(void)
{
    static node nodes[NODES_MAX];
    static char addresses[NODES_MAX][64];
    size_t i;
    nodes_init(nodes, NODES_MAX);
    for (i = 0; i < NODES_MAX; i++) {
        node_open(&nodes[i], node_config(&nodes[i]), tcp_network(nodes, i, addresses));
        node_listen(&nodes[i]);
    }
    for (i = 0; i < NODES_MAX; i++)
        node_start(&nodes[i]);
    OK(hotstuff_replica_wait_committed(nodes[0].replica, 8, 20000));
    CHECK(threads_that_block_signals() > 3 * NODES_MAX);
    hotstuff_replica_free(nodes[3].replica);
    OK(hotstuff_replica_wait_committed(nodes[0].replica, 16, 20000));
    nodes_stop(nodes, NODES_MAX - 1);
    nodes_done(nodes, NODES_MAX);
}

/** What goes wrong is told by a status and a text, and nowhere else. */
static void what_fails_is_not_printed(void)
{
    node self;
    hotstuff_config *cfg;
    hotstuff_app_callbacks app;
    hotstuff_replica *replica = NULL;
    hotstuff_network *network;
    hotstuff_error *err = NULL;
    nodes_init(&self, 1);
    cfg = node_config(&self);
    network = node_network(&self);
    node_app(&self, &app);
    OK(hotstuff_config_set_data_dir(cfg, "/proc/self/no/such/place"));
    EXPECT_ERROR(HOTSTUFF_E_IO, "/proc/self", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    hotstuff_network_free(network);
    hotstuff_config_free(cfg);
    nodes_done(&self, 1);
}

int main(void)
{
    process before, after;
    int open_before;
    look_at(&before);
    open_before = descriptors();
    replicas_come_and_go();
    what_fails_is_not_printed();
    EVENTUALLY(threads_that_block_signals() == 0);
    CHECK(descriptors() == open_before);
    look_at(&after);
    compare(&before, &after);
    return checks_done("guest");
}
