// hotstuff.hpp: what it makes is used, what callbacks throw is kept, and what a C++ program may not
// do (throw through the C functions) ends the process, and nothing worse.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <hotstuff.hpp>
#include <map>
#include <thread>

using namespace std::chrono_literals;

namespace {

std::atomic<int> passed, failed;

bool check(bool holds, const char *what, int line) {
    (holds ? passed : failed)++;
    if (!holds) std::printf("cpp.cc:%d: %s\n", line, what);
    return holds;
}
#define CHECK(condition) check((condition), #condition, __LINE__)

template <class F> hotstuff_status status_of(F &&body) {
    try {
        body();
        return HOTSTUFF_OK;
    } catch (const hotstuff::error &e) {
        CHECK(e.what()[0] != '\0');
        return e.status();
    }
}

template <class F> bool eventually(F &&holds) {
    for (int tries = 0; tries < 4000 && !holds(); tries++) std::this_thread::sleep_for(5ms);
    return holds();
}

struct thrown : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Throws while `fails` is set: what a callback does when it is told to.
void fail_if(const std::atomic<bool> &fails, const char *what) {
    if (fails) throw thrown(what);
}

struct directory {
    std::filesystem::path path;
    directory() {
        std::string name = "/tmp/hotstuff-cpp-XXXXXX";
        CHECK(mkdtemp(name.data()) != nullptr);
        path = name;
    }
    directory(const directory &) = delete;
    directory &operator=(const directory &) = delete;
    ~directory() { std::filesystem::remove_all(path); }
};

/// Counts: a block's data is one byte, the state has one key.
struct counter final : hotstuff::app {
    std::atomic<bool> propose_throws{false}, validate_throws{false}, is_idle{false};
    static std::atomic<int> alive;

    counter() { alive++; }
    ~counter() override { alive--; }

    static uint64_t count(const hotstuff::block_tree &tree) {
        const auto value = tree.state("count");
        return value ? std::stoull(value->str()) : 0;
    }
    bool propose_block(const hotstuff::propose_request &ask, hotstuff::updates &out) override {
        fail_if(propose_throws, "propose");
        if (is_idle) return false;
        CHECK(ask.cur_view() > 0 && ask.budget() <= 5s);
        out.set_state("count", std::to_string(count(ask.block_tree()) + 1));
        out.set_state("gone", "soon");
        out.delete_state("gone");
        out.set_data("+");
        return true;
    }
    bool validate_block(const hotstuff::validate_request &ask, hotstuff::updates &out) override {
        fail_if(validate_throws, "validate");
        CHECK(ask.cur_view() > 0 || ask.is_sync());
        const hotstuff::bytes_view data = ask.proposed_block().data();
        CHECK(!data.empty()); // of the library's own blocks nobody is asked
        if (data != "+") return false;
        out.set_state("count", std::to_string(count(ask.block_tree()) + 1));
        out.set_state("gone", "soon");
        out.delete_state("gone");
        return true;
    }
};
std::atomic<int> counter::alive;

/// Mailboxes in this process: pull mode, with broadcast.
class hub;
class mailbox final : public hotstuff::transport,
                      public hotstuff::receiver,
                      public hotstuff::broadcaster {
public:
    std::atomic<bool> send_throws{false}, receive_throws{false};
    std::atomic<int> connected{0};
    hotstuff::address self;

    explicit mailbox(hub &all) : hub_(all) {}
    void connect(const hotstuff::address &peer) override {
        CHECK(peer != self);
        connected++;
    }
    bool send(const hotstuff::address &peer, hotstuff::bytes_view message) override;
    void broadcast(hotstuff::bytes_view message) override;
    bool receive(std::chrono::milliseconds timeout, hotstuff::inbox &into) override {
        fail_if(receive_throws, "receive");
        std::unique_lock lock(mutex_);
        bell_.wait_for(lock, timeout, [&] { return is_woken_ || !mail_.empty(); });
        is_woken_ = false;
        if (mail_.empty()) return false;
        into.put(mail_.front().first, mail_.front().second);
        mail_.pop_front();
        return true;
    }
    void wake() override {
        const std::lock_guard lock(mutex_);
        is_woken_ = true;
        bell_.notify_one();
    }
    bool put(const hotstuff::address &from, hotstuff::bytes_view message) {
        const std::lock_guard lock(mutex_);
        if (mail_.size() == 256) return false;
        mail_.emplace_back(from, std::vector<uint8_t>(message.begin(), message.end()));
        bell_.notify_one();
        return true;
    }

private:
    hub &hub_;
    std::mutex mutex_;
    std::condition_variable bell_;
    std::deque<std::pair<hotstuff::address, std::vector<uint8_t>>> mail_;
    bool is_woken_ = false;
};

class hub {
public:
    std::map<hotstuff::address, std::shared_ptr<mailbox>> boxes;
};

bool mailbox::send(const hotstuff::address &peer, hotstuff::bytes_view message) {
    fail_if(send_throws, "send");
    const auto found = hub_.boxes.find(peer);
    return found != hub_.boxes.end() && found->second->put(self, message);
}

void mailbox::broadcast(hotstuff::bytes_view message) {
    for (const auto &[peer, box] : hub_.boxes)
        if (peer != self) (void)box->put(self, message);
}

/// Holds a key.
struct notary final : hotstuff::signer {
    std::atomic<bool> throws{false};
    std::atomic<int> signed_{0};
    hotstuff::signature (*sign_with)(hotstuff::bytes_view);

    explicit notary(hotstuff::signature (*with)(hotstuff::bytes_view)) : sign_with(with) {}
    hotstuff::signature sign(hotstuff::bytes_view message) override {
        fail_if(throws, "sign");
        CHECK(message.size() == 32);
        signed_++;
        return sign_with(message);
    }
};

/// Everyone in turn, as the library does, and as long.
struct turns final : hotstuff::view_timer, hotstuff::leader_rule {
    std::atomic<int> asked{0};
    std::chrono::milliseconds wait_timeout(hotstuff::validator_set_ref validators, uint64_t qc,
                                           uint64_t, uint64_t cur_view) override {
        CHECK(validators.size() == 4 && cur_view >= qc);
        return std::min(200ms * (1 << std::min<uint64_t>(cur_view - qc, 5)), 5000ms);
    }
    size_t view_leader(hotstuff::validator_set_ref validators, uint64_t cur_view) override {
        asked++;
        return cur_view % validators.size();
    }
};

/// Four of them.
struct cluster {
    static constexpr size_t count = 4;
    directory folder;
    hub all;
    std::vector<std::shared_ptr<counter>> apps;
    std::vector<std::shared_ptr<mailbox>> boxes;
    std::vector<hotstuff::replica> replicas;
    std::shared_ptr<turns> pace = std::make_shared<turns>();
    hotstuff::hash genesis;
    std::atomic<int> told{0};
    std::atomic<bool> event_throws{false};

    cluster() {
        std::vector<hotstuff::keypair> keys;
        hotstuff::validator_set set;
        for (size_t i = 0; i < count; i++) {
            keys.push_back(hotstuff::keypair::from_seed(std::array<uint8_t, 32>{uint8_t(i + 1)}));
            boxes.push_back(std::make_shared<mailbox>(all));
            boxes[i]->self = keys[i].public_key();
            all.boxes[keys[i].public_key()] = boxes[i];
            set.put(keys[i].public_key(), 1);
        }
        CHECK(set.size() == count && set.total_power() == 4 && set.quorum_power() == 3);
        CHECK(set.at(0).power == 1 && set.at(0).address < set.at(1).address);
        CHECK(status_of([&] { (void)set.at(4); }) == HOTSTUFF_E_NOT_FOUND);
        for (size_t i = 0; i < count; i++) {
            hotstuff::config config;
            config.chain_id(1).genesis_validators(set).genesis_state("first", "state");
            config.commit_rule(HOTSTUFF_COMMIT_RULE_TWO_CHAIN).max_idle(100ms);
            config.max_block_bytes(1000).vote_to(HOTSTUFF_VOTE_TO_ALL).sync(16, 1s);
            config.key(keys[i]).data_dir((folder.path / std::to_string(i)).string()).create(true);
            config.map_size(64 << 20).durability(HOTSTUFF_DURABILITY_PROCESS_CRASH);
            config.view_timeout(200ms, 5s).option("sync.interval_ms", "5000").pacemaker(pace);
            CHECK(config.max_message_bytes() > 1000);
            genesis = config.genesis_hash();
            apps.push_back(std::make_shared<counter>());
            replicas.emplace_back(config, apps[i], hotstuff::network::of(boxes[i]));
        }
        replicas[0].on_event([this](const hotstuff::event &event) {
            told++;
            CHECK(event.kind() != 0 && !event.message().empty() && event.evidence().empty());
            CHECK(std::chrono::system_clock::now() - event.time() < 1h);
            if (event.kind() == HOTSTUFF_EVENT_COMMITTED) CHECK(event.block() && !event.peer());
            if (event.kind() == HOTSTUFF_EVENT_START_VIEW) CHECK(event.peer() && event.view() > 0);
            fail_if(event_throws, "event");
        });
        for (auto &replica : replicas) replica.start();
    }
};

void values() {
    const hotstuff::hash zero, one(hotstuff_hash{{1}});
    CHECK(zero != one && zero < one && one.hex().substr(0, 4) == "0100" && one.hex().size() == 64);
    const std::vector<uint8_t> bytes{'a', 'b'};
    CHECK(hotstuff::bytes_view(bytes) == "ab" && hotstuff::bytes_view(std::string("ab")) == "ab");
    CHECK(hotstuff::bytes_view().empty() && hotstuff::bytes_view("").empty());
    CHECK(hotstuff::library_fits());
    static_assert(!std::is_copy_constructible_v<hotstuff::replica>);
    static_assert(std::is_nothrow_move_constructible_v<hotstuff::replica>);
    static_assert(!std::is_copy_constructible_v<hotstuff::config>);
}

void keys_and_configs() {
    auto key = hotstuff::keypair::generate();
    const auto again = hotstuff::keypair::from_pkcs8(key.to_pkcs8().view());
    CHECK(again.public_key() == key.public_key());
    const auto moved = std::move(key);
    CHECK(key.get() == nullptr && moved.public_key() == again.public_key());
    CHECK(status_of([&] { (void)key.public_key(); }) == HOTSTUFF_E_NULL);
    CHECK(status_of([] { (void)hotstuff::keypair::from_seed("short"); }) ==
          HOTSTUFF_E_INVALID_ARGUMENT);
    CHECK(status_of([] { hotstuff::config().option("no-such", "1"); }) == HOTSTUFF_E_UNSUPPORTED);
    CHECK(status_of([] { hotstuff::config().max_idle(0ms); }) == HOTSTUFF_E_INVALID_ARGUMENT);
    CHECK(status_of([] { (void)hotstuff::config().genesis_hash(); }) == HOTSTUFF_E_STATE);
    CHECK(status_of([] { (void)hotstuff::read_evidence("lies"); }) == HOTSTUFF_E_DECODE);
    hotstuff::tcp_config tcp;
    tcp.listen("127.0.0.1:0").max_listeners(1).max_message_bytes(1 << 20).queue_bytes(4 << 20);
    tcp.peer(hotstuff_validator_address{{1}}, "127.0.0.1:1");
    CHECK(hotstuff::network::tcp(tcp, moved).local_addr().rfind("127.0.0.1:", 0) == 0);
    tcp.listen("nowhere");
    CHECK(status_of([&] { (void)hotstuff::network::tcp(tcp, moved); }) ==
          HOTSTUFF_E_INVALID_ARGUMENT);
}

void a_refused_open_takes_nothing() {
    hub all;
    const auto box = std::make_shared<mailbox>(all);
    const auto app = std::make_shared<counter>();
    auto network = hotstuff::network::of(box);
    const hotstuff::config empty;
    CHECK(status_of([&] { hotstuff::replica(empty, app, std::move(network)); }) ==
          HOTSTUFF_E_STATE);
    CHECK(network.get() != nullptr && app.use_count() == 1 && box.use_count() == 2);
    CHECK(status_of([&] { hotstuff::replica(empty, nullptr, std::move(network)); }) ==
          HOTSTUFF_E_NULL);
}

void reading(cluster &c) {
    auto &replica = c.replicas[1];
    CHECK(replica.wait_committed(5, 60s));
    hotstuff::hash parent = c.genesis;
    for (uint64_t height = 0; height < 5; height++) {
        const auto block = replica.next_committed(height, 60s);
        if (!CHECK(block.has_value())) return;
        CHECK(block->height() == height + 1 && block->parent_hash() == parent);
        CHECK(block->epoch() == 0 && block->view() > height);
        const auto again = hotstuff::block::decode(c.genesis, block->encode().view());
        CHECK(again.hash() == block->hash() && again.data_hash() == block->data_hash());
        parent = block->hash();
    }
    CHECK(!replica.next_committed(1000000, 10ms));
    std::optional<hotstuff::block_iter> blocks;
    {
        const auto tree = replica.snapshot();
        CHECK(tree->committed_height() >= 5 && tree->state("first")->str() == "state");
        CHECK(!tree->state("gone") && counter::count(*tree) > 0);
        CHECK(tree->block(parent)->height() == 5 && tree->block_at(5)->hash() == parent);
        CHECK(!tree->block(c.genesis) && !tree->block_at(0));
        CHECK(tree->validators().size() == 4 && tree->validators_of(0)->size() == 4);
        CHECK(!tree->validators_of(1) && !tree->commit_qc_of(1));
        const auto highest = tree->highest_qc();
        CHECK(hotstuff::verify_qc(c.genesis, tree->validators(), highest.view()).view > 4);
        const auto proof = tree->commit_proof(parent);
        const auto said = hotstuff::verify_commit_proof(c.genesis, tree->validators(), parent,
                                                        proof->view());
        CHECK(said.view >= 5 && said.signed_power >= 3 && tree->validators().epoch() == 0);
        CHECK(status_of([&] {
                  (void)hotstuff::verify_commit_proof(c.genesis, tree->validators(), c.genesis,
                                                      proof->view());
              }) == HOTSTUFF_E_INVALID_ARGUMENT);
        CHECK(!tree->commit_proof(c.genesis) && !tree->epoch_proof(0));
        CHECK(status_of([&] {
                  (void)hotstuff::verify_epoch_proof(c.genesis, tree->validators(), "x");
              }) == HOTSTUFF_E_DECODE);
        blocks = tree->blocks(5);
    }
    CHECK(blocks->next()->height() == 5); // it outlives the snapshot
    while (blocks->next()) continue;
    CHECK(replica.info().committed_height >= 5 && replica.metrics().committed_height >= 5);
    CHECK(replica.metrics_text().find("hotstuff_") != std::string::npos && c.pace->asked > 0);
    CHECK(!replica.evidence_at(0));
    CHECK(c.boxes[1]->connected == 3);
    CHECK(replica.deliver(c.boxes[2]->self, "rubbish"));
    CHECK(eventually([&] { return c.told > 0; }));
}

/// Waits as a host does, until what `fails` throws arrives here.
void arrives(cluster &c, size_t at, std::atomic<bool> &fails, const char *what) {
    std::string heard;
    fails = true;
    for (int tries = 0; heard.empty() && tries < 600; tries++) {
        try {
            (void)c.replicas[at].wait(100ms);
        } catch (const thrown &e) {
            heard = e.what();
        }
    }
    fails = false;
    CHECK(heard == what);
    const uint64_t height = c.replicas[at].info().committed_height;
    bool goes_on = false; // nothing was broken by it
    for (int late = 0; !goes_on && late < 3; late++) {
        try {
            goes_on = c.replicas[at].wait_committed(height + 2, 60s);
        } catch (const thrown &) {
            // Of the time in between, or of a callback that was under way.
        }
    }
    CHECK(goes_on);
}

void what_callbacks_throw_is_kept(cluster &c) {
    arrives(c, 2, c.apps[2]->propose_throws, "propose");
    arrives(c, 2, c.apps[2]->validate_throws, "validate");
    arrives(c, 2, c.boxes[2]->receive_throws, "receive");
    arrives(c, 0, c.event_throws, "event");
    CHECK(c.replicas[2].take_exception() == nullptr);
    c.apps[3]->propose_throws = true;
    c.replicas[3].notify();
    std::exception_ptr kept;
    CHECK(eventually([&] { return kept || (kept = c.replicas[3].take_exception()); }));
    c.apps[3]->propose_throws = false;
}

void a_cluster() {
    {
        cluster c;
        reading(c);
        what_callbacks_throw_is_kept(c);
        CHECK(status_of([&] { c.replicas[0].start(); }) == HOTSTUFF_E_STATE);
        for (auto &replica : c.replicas) CHECK(replica.stop(60s) && replica.stop());
        (void)c.replicas[0].take_exception();
        CHECK(c.replicas[0].wait(0ms));
        CHECK(status_of([&] { (void)c.replicas[0].next_committed(1 << 20, 0ms); }) ==
              HOTSTUFF_E_CLOSED);
        CHECK(!c.replicas[0].deliver(c.boxes[1]->self, "x"));
        c.apps.clear();
        CHECK(counter::alive == 4); // the replicas have them
        c.replicas.clear();
        CHECK(counter::alive == 0);
    }
}

/// A replica alone, whose signer throws: nothing is said, and the host hears why.
void what_a_signer_throws_is_kept() {
    hub all;
    const directory folder;
    const auto key = hotstuff::keypair::generate().public_key();
    const auto own = std::make_shared<notary>([](hotstuff::bytes_view) {
        return hotstuff::signature(); // which is none
    });
    own->throws = true;
    {
        hotstuff::config config;
        config.chain_id(1).signer(key, own).data_dir(folder.path.string()).create(true);
        config.map_size(64 << 20).view_timeout(50ms, 100ms);
        config.genesis_validators(std::move(hotstuff::validator_set().put(key, 1)));
        hotstuff::replica replica(config, std::make_shared<counter>(),
                                  hotstuff::network::of(std::make_shared<mailbox>(all)));
        replica.start();
        std::exception_ptr kept;
        CHECK(eventually([&] { return kept || (kept = replica.take_exception()); }));
        own->throws = false;
        CHECK(eventually([&] { return own->signed_ > 0; }));
        CHECK(replica.info().committed_height == 0 && replica.info().halted == 0);
    }
    CHECK(own.use_count() == 1);
}

/// Who leads is what everything depends on: not to know is to stop.
void a_leader_rule_that_throws_halts() {
    struct nobody final : hotstuff::leader_rule {
        size_t view_leader(hotstuff::validator_set_ref, uint64_t) override {
            throw thrown("who?");
        }
    };
    hub all;
    const directory folder;
    const auto key = hotstuff::keypair::generate();
    hotstuff::config config;
    config.chain_id(1).key(key).data_dir(folder.path.string()).create(true).map_size(64 << 20);
    config.genesis_validators(std::move(hotstuff::validator_set().put(key.public_key(), 1)));
    config.pacemaker(std::make_shared<nobody>());
    std::string heard;
    try {
        hotstuff::replica replica(config, std::make_shared<counter>(),
                                  hotstuff::network::of(std::make_shared<mailbox>(all)));
        replica.start();
        (void)replica.wait(60s);
    } catch (const std::exception &e) {
        heard = e.what();
    }
    CHECK(heard == "who?");
}

void what_the_logger_throws_is_kept() {
    std::atomic<int> lines{0};
    {
        hotstuff::logger log(
            [&](int32_t level, std::string_view target, std::string_view message) {
                CHECK(level <= HOTSTUFF_LOG_DEBUG && !target.empty() && !message.empty());
                lines++;
                throw thrown("log");
            },
            HOTSTUFF_LOG_DEBUG);
        cluster c;
        CHECK(c.replicas[0].wait_committed(2, 60s));
        CHECK(eventually([&] { return lines > 0; }));
        c.replicas.clear();
        CHECK(log.take_exception() != nullptr);
    }
    const int before = lines;
    cluster c;
    CHECK(c.replicas[0].wait_committed(2, 60s) && lines == before);
}

int32_t propose_and_throw(void *, const hotstuff_propose_block_request *, hotstuff_updates *) {
    throw thrown("through C");
}

/// Whoever fills the C tables by hand must not throw: that ends the process.
void an_exception_through_the_library_ends_the_process() {
    const directory folder;
    const pid_t child = fork();
    if (child == 0) {
        if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(1);
        const auto key = hotstuff::keypair::generate();
        hotstuff::config config;
        config.chain_id(1).key(key).data_dir(folder.path.string()).create(true).map_size(64 << 20);
        config.genesis_validators(std::move(hotstuff::validator_set().put(key.public_key(), 1)));
        hotstuff_network_callbacks table;
        hotstuff_network_callbacks_init(&table, sizeof table);
        table.send = [](void *, const hotstuff_validator_address *, const uint8_t *, size_t) {
            return HOTSTUFF_OK;
        };
        hotstuff_app_callbacks app;
        hotstuff_app_callbacks_init(&app, sizeof app);
        app.propose_block = propose_and_throw;
        app.validate_block = [](void *, const hotstuff_validate_block_request *,
                                hotstuff_updates *) { return HOTSTUFF_BLOCK_VALID; };
        hotstuff_network *network = nullptr;
        hotstuff_replica *replica = nullptr;
        if (hotstuff_network_from_callbacks(&table, &network) != HOTSTUFF_OK) _exit(2);
        if (hotstuff_replica_open(config.get(), &app, network, &replica, nullptr) != HOTSTUFF_OK)
            _exit(3);
        if (hotstuff_replica_start(replica, nullptr) != HOTSTUFF_OK) _exit(4);
        _exit(hotstuff_replica_wait(replica, 60000, nullptr) == HOTSTUFF_OK ? 5 : 6);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/// What the thread sanitizer must see: a host that reads what its app writes.
void race() {
    struct racing final : hotstuff::app {
        int asked = 0;
        bool propose_block(const hotstuff::propose_request &, hotstuff::updates &) override {
            return asked++ < 0;
        }
        bool validate_block(const hotstuff::validate_request &, hotstuff::updates &) override {
            return true;
        }
    };
    hub all;
    const directory folder;
    const auto app = std::make_shared<racing>();
    const auto key = hotstuff::keypair::generate();
    hotstuff::config config;
    config.chain_id(1).key(key).data_dir(folder.path.string()).create(true).map_size(64 << 20);
    config.genesis_validators(std::move(hotstuff::validator_set().put(key.public_key(), 1)));
    hotstuff::replica replica(config, app, hotstuff::network::of(std::make_shared<mailbox>(all)));
    replica.start();
    std::this_thread::sleep_for(200ms); // a sleep, so that nothing but luck orders the two
    std::printf("asked %d times\n", app->asked);
}

} // namespace

int main(int argc, char **argv) {
    const std::string_view how = argc < 2 ? "" : argv[1];
    if (how == "race") return race(), 0;
    // Before there are threads.
    if (how != "no-fork") an_exception_through_the_library_ends_the_process();
    values();
    keys_and_configs();
    a_refused_open_takes_nothing();
    a_cluster();
    what_a_signer_throws_is_kept();
    a_leader_rule_that_throws_halts();
    what_the_logger_throws_is_kept();
    std::printf("cpp: %d passed, %d failed\n", passed.load(), failed.load());
    return failed != 0;
}
