// kv_cpp.cc - the key-value server of kv/ in C++: kv/run.c and kv/app.c, over hotstuff.hpp.
// SPDX-License-Identifier: Apache-2.0
// The other files of kv/ serve both: command line, clients, blocks, state. What they make is the
// same, byte for byte, so that replicas in C and in C++ are one cluster.
#include <hotstuff.hpp>
extern "C" {
#include "kv/blocks.h"
#include "kv/keys.h"
#include "kv/log.h"
#include "kv/run.h"
#include "kv/server.h"
#include "kv/stopping.h"
}
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <thread>
using std::chrono::milliseconds, std::chrono::seconds;
template <class T> using owner = std::unique_ptr<T, void (*)(T *)>; // of what kv/ makes
static void must(hotstuff_status s) { if (s != HOTSTUFF_OK) throw hotstuff::error(s); }

struct app final : hotstuff::app { // the name is that of kv/app.h
    app(const config &from, pool *commands) : c(from), waiting(commands) {}
    bool propose_block(const hotstuff::propose_request &ask, hotstuff::updates &out) override {
        if (pool_waiting(waiting) == 0) return false;
        const auto tree = ask.block_tree();
        const auto parent = tree.block(ask.prev_block());
        if (!parent && ask.prev_block() != genesis) // it is valid, but on no disk yet
            return replica->notify(), false;
        const uint64_t height = parent ? parent->height() + 1 : 1;
        batch made;
        bool more = false;
        batch_begin(&made, room.data(), room.size(), uint32_t(c.block_commands_max));
        must(block_make(execution.get(), waiting, tree.get(), height, &made, &more, out.get()));
        if (more) replica->notify(); // ask again
        return made.count > 0;
    }
    bool validate_block(const hotstuff::validate_request &ask, hotstuff::updates &out) override {
        const auto block = ask.proposed_block();
        const char *why = nullptr;
        must(block_judge(execution.get(), block.get(), ask.block_tree().get(), &why, out.get()));
        if (why == nullptr) return true;
        log_line(HOTSTUFF_LOG_WARN, "kv", "block %ju: %s", uintmax_t(block.height()), why);
        return refused++, false;
    }
    const config &c;
    pool *waiting;
    std::vector<uint8_t> room = std::vector<uint8_t>(c.block_bytes_max); // where a block is made
    owner<struct execution> execution{execution_new(), execution_free};
    std::atomic<uint64_t> refused{0};
    hotstuff::hash genesis; // this, and whom to notify, is known when the replica is open
    hotstuff::replica *replica = nullptr;
};
extern "C" uint64_t app_refused(const app *a) { return a->refused; }
extern "C" const hotstuff_hash *app_genesis(const app *a) { return &a->genesis; }

static hotstuff::config settings(const config &c) {
    hotstuff::validator_set set;
    for (size_t i = 0; i < c.peer_count; i++) set.put(c.peers[i].address, c.peers[i].power);
    hotstuff::config out;
    out.chain_id(c.chain_id).genesis_validators(set).commit_rule(uint32_t(c.commit_rule));
    out.max_idle(milliseconds(c.max_idle_ms)).max_block_bytes(c.block_bytes_max);
    out.data_dir(c.data_dir).create(c.create != 0).vote_to(uint32_t(c.vote_to));
    out.view_timeout(milliseconds(c.view_timeout_ms), milliseconds(c.max_view_timeout_ms));
    if (c.map_bytes != 0) out.map_size(c.map_bytes);
    must(store_set_genesis(out.get()));
    for (size_t i = 0; i < c.option_count; i++) out.option(c.options[i].name, c.options[i].value);
    return out;
}
static hotstuff::network network(const config &c, uint64_t longest, const hotstuff::keypair &key) {
    hotstuff::tcp_config tcp;
    tcp.listen(c.listen).max_listeners(uint32_t(c.max_listeners));
    tcp.max_message_bytes(longest).queue_bytes(4 * longest);
    for (size_t i = 0; i < c.peer_count; i++)
        if (c.peers[i].address != key.public_key())
            tcp.peer(c.peers[i].address, c.peers[i].host_port);
    return hotstuff::network::tcp(tcp, key);
}
// Finishes the commands of committed blocks, until the replica ends or a callback has thrown.
static void follow(hotstuff::replica &replica, pool *waiting, uint64_t height) try {
    for (;;)
        if (const auto block = replica.next_committed(height, seconds(60))) {
            block_finish(waiting, block->get());
            height = block->height();
        }
} catch (const std::exception &e) {
    log_line(HOTSTUFF_LOG_INFO, "kv", "no longer following the chain: %s", e.what());
    stopping_begin(STOPPING_ENDED);
}
static int run(const config &c) {
    hotstuff_keypair *loaded = nullptr;
    if (!keys_load(c.key_file, &loaded)) return EXIT_FAILURE;
    const hotstuff::keypair key(loaded);
    const int wake = stopping_fd_to_write(), woken = stopping_fd_to_read();
    const owner<pool> waiting(pool_new(c.pool_commands_max, c.pool_bytes_max, wake), pool_free);
    const auto own = std::make_shared<app>(c, waiting.get());
    if (!waiting || !own->execution) throw std::bad_alloc();
    const owner<server> clients(server_new(&c, waiting.get(), own.get(), woken), server_free);
    if (!clients) return EXIT_FAILURE;
    hotstuff::config all = settings(c);
    hotstuff::replica replica(all.key(key), own, network(c, all.max_message_bytes(), key));
    own->genesis = all.genesis_hash(), own->replica = &replica;
    const uint64_t height = replica.snapshot()->committed_height();
    replica.start();
    std::thread follower(follow, std::ref(replica), waiting.get(), height);
    std::cout << "ready clients=" << server_address(clients.get()) << std::endl;
    server_run(clients.get(), replica.get(), stopping_why);
    const bool has_halted = replica.info().halted != 0; // the log says why
    if (!replica.stop(seconds(10))) std::_Exit(EXIT_FAILURE); // there is no safe way on
    follower.join();
    return has_halted ? int(KV_EXIT_HALTED) : stopping_why() == STOPPING_SIGNALLED ? 0 : 1;
}
extern "C" int kv_run(const config *c) try {
    const int result = stopping_prepare() ? run(*c) : EXIT_FAILURE;
    return stopping_done(), log_stop() ? result : EXIT_FAILURE;
} catch (const std::exception &e) { return std::cerr << "kv: " << e.what() << "\n", EXIT_FAILURE; }
extern "C" int kv_genesis(const config *c) try {
    return std::cout << settings(*c).genesis_hash().hex() << std::endl, EXIT_SUCCESS;
} catch (const std::exception &e) { return std::cerr << "kv: " << e.what() << "\n", EXIT_FAILURE; }
