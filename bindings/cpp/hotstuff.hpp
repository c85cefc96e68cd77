/*
 * hotstuff.hpp - C++17 over hotstuff.h: objects that free themselves, and exceptions.
 * SPDX-License-Identifier: Apache-2.0
 *
 * hotstuff.h is the manual; this file says what differs. Everything here is inline and there is no
 * ABI of its own: only the C functions cross to the library, so compilers and standard libraries
 * may be mixed freely.
 *
 *     keypair  validator_set  config  network  replica     who takes part, and how
 *     app  transport  receiver  broadcaster                what you derive from
 *     signer  view_timer  leader_rule
 *     propose_request  validate_request  updates  event    what your callbacks are given
 *     block_tree  snapshot  block_iter  block  buffer      what is read
 *     verify_qc()  verify_commit_proof() ...               what needs no replica
 *     error  logger                                        what went wrong, and where it is told
 *
 * OWNERSHIP   A class that owns a C object is movable and not copyable; one that was moved from
 *             holds nothing: get() is nullptr. block_ref, validator_set_ref, block_tree, bytes_view
 *             and what callbacks are given borrow, as hotstuff.h says; they are small.
 * ERRORS      A function that fails throws hotstuff::error, which carries the status. What is part
 *             of ordinary life is a result: not found, timed out and done are an empty
 *             std::optional or false.
 * EXCEPTIONS  Callbacks may throw. The library hears ::HOTSTUFF_E_CALLBACK, which costs what any
 *             failed callback costs, and the first exception is KEPT. replica::take_exception()
 *             gives it, replica::rethrow() throws it, and so does the host's next wait:
 *             next_committed(), wait_committed(), wait(). Then the place is free for another.
 * THREADS     As in hotstuff.h. What you derive from these classes is called by threads of the
 *             library, and may be released by one of them.
 */
#ifndef HOTSTUFF_HPP
#define HOTSTUFF_HPP

#include <hotstuff.h>

#include <array>
#include <chrono>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace hotstuff {

/* ======================================================================================= errors */

/** What a function of the library returned, and its words: what happened and what to do. */
class error : public std::runtime_error {
public:
    error(hotstuff_status status, const std::string &what)
        : std::runtime_error(what), status_(status) {}
    explicit error(hotstuff_status status) : error(status, hotstuff_status_message(status)) {}
    /** One of the HOTSTUFF_E_ numbers. */
    hotstuff_status status() const noexcept { return status_; }

private:
    hotstuff_status status_;
};

namespace detail {

template <auto Free> struct deleter {
    template <class T> void operator()(T *object) const noexcept { Free(object); }
};
template <class T, auto Free> using owner = std::unique_ptr<T, deleter<Free>>;

inline void check(hotstuff_status status) {
    if (status != HOTSTUFF_OK) throw error(status);
}

inline void check(hotstuff_status status, hotstuff_error *described) {
    const owner<hotstuff_error, hotstuff_error_free> owned(described);
    if (status == HOTSTUFF_OK) return;
    if (described == nullptr) throw error(status);
    throw error(status, hotstuff_error_message(described));
}

/** Whether it succeeded; `usual` is the status that is no error. */
inline bool succeeds_or(hotstuff_status usual, hotstuff_status status) {
    if (status == usual) return false;
    check(status);
    return true;
}

/** The object that a function makes: `make(T **) -> hotstuff_status`. */
template <class T, class Make> T *made(Make &&make) {
    T *object = nullptr;
    check(make(&object));
    return object;
}

/** The exceptions of a replica's callbacks: the first is kept until somebody takes it. */
class kept_exceptions {
public:
    void keep() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!first_) first_ = std::current_exception();
    }
    std::exception_ptr take() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        return std::exchange(first_, nullptr);
    }

private:
    std::mutex mutex_;
    std::exception_ptr first_;
};

/** Runs a callback: what it throws is kept, and `otherwise` is what the library hears. */
template <class R, class Body>
R contained(kept_exceptions &kept, R otherwise, Body &&body) noexcept {
    try {
        return body();
    } catch (...) {
        kept.keep();
        return otherwise;
    }
}

/** The userdata of a table: what it calls, alive until destroy(). */
template <class T> struct hosted {
    std::shared_ptr<T> object;
    std::shared_ptr<kept_exceptions> kept;

    static hosted &at(void *userdata) { return *static_cast<hosted *>(userdata); }
    static void destroy(void *userdata) { delete static_cast<hosted *>(userdata); }
};

inline uint32_t milliseconds(std::chrono::milliseconds timeout) {
    if (timeout.count() <= 0) return 0;
    if (timeout >= std::chrono::milliseconds(HOTSTUFF_NO_TIMEOUT)) return HOTSTUFF_NO_TIMEOUT;
    return static_cast<uint32_t>(timeout.count());
}

} // namespace detail

/** As a time-out: wait without limit. Longer ones are this one. */
inline constexpr std::chrono::milliseconds no_timeout{HOTSTUFF_NO_TIMEOUT};

/* ======================================================================================= values */

/** Borrowed bytes: as an argument, of anything that holds bytes. */
class bytes_view {
public:
    constexpr bytes_view() noexcept = default;
    constexpr bytes_view(const uint8_t *data, size_t size) noexcept : data_(data), size_(size) {}
    bytes_view(const hotstuff_bytes &bytes) noexcept : bytes_view(bytes.data, bytes.len) {}
    bytes_view(std::string_view text) noexcept
        : bytes_view(reinterpret_cast<const uint8_t *>(text.data()), text.size()) {}
    bytes_view(const std::string &text) noexcept : bytes_view(std::string_view(text)) {}
    /** Up to its NUL. */
    bytes_view(const char *text) noexcept : bytes_view(std::string_view(text)) {}
    bytes_view(const std::vector<uint8_t> &bytes) noexcept
        : bytes_view(bytes.data(), bytes.size()) {}
    template <size_t N>
    constexpr bytes_view(const std::array<uint8_t, N> &bytes) noexcept
        : bytes_view(bytes.data(), N) {}
    template <size_t N>
    constexpr bytes_view(const uint8_t (&bytes)[N]) noexcept : bytes_view(bytes, N) {}

    constexpr const uint8_t *data() const noexcept { return data_; }
    constexpr size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr const uint8_t *begin() const noexcept { return data_; }
    constexpr const uint8_t *end() const noexcept { return data_ + size_; }
    constexpr uint8_t operator[](size_t index) const noexcept { return data_[index]; }
    /** The same bytes as characters. */
    std::string_view text() const noexcept {
        return {reinterpret_cast<const char *>(data_), size_};
    }
    friend bool operator==(bytes_view a, bytes_view b) noexcept { return a.text() == b.text(); }
    friend bool operator!=(bytes_view a, bytes_view b) noexcept { return !(a == b); }

private:
    const uint8_t *data_ = nullptr;
    size_t size_ = 0;
};

namespace detail {

/** A C struct of bytes, with the manners of a value. */
template <class C> struct octets : C {
    octets() noexcept : C{} {}
    octets(const C &from) noexcept : C(from) {}

    bytes_view view() const noexcept { return this->bytes; }
    std::string hex() const {
        static const char digits[] = "0123456789abcdef";
        std::string text;
        for (const uint8_t byte : this->bytes) {
            text += digits[byte >> 4];
            text += digits[byte & 15];
        }
        return text;
    }
    friend bool operator==(const octets &a, const octets &b) noexcept {
        return a.view() == b.view();
    }
    friend bool operator!=(const octets &a, const octets &b) noexcept { return !(a == b); }
    friend bool operator<(const octets &a, const octets &b) noexcept {
        return a.view().text() < b.view().text();
    }
};

} // namespace detail

/** SHA-256 of a block, of its data, or of a genesis. */
using hash = detail::octets<hotstuff_hash>;
/** The name of a validator: its public key. */
using address = detail::octets<hotstuff_validator_address>;
/** Ed25519. */
using signature = detail::octets<hotstuff_signature>;

/** Bytes that the library made. */
class buffer {
public:
    explicit buffer(hotstuff_buffer *owned) noexcept : buffer_(owned) {}
    /** Valid as long as the buffer. */
    bytes_view view() const noexcept {
        hotstuff_bytes bytes{};
        hotstuff_buffer_get(buffer_.get(), &bytes);
        return bytes;
    }
    std::string str() const { return std::string(view().text()); }
    const hotstuff_buffer *get() const noexcept { return buffer_.get(); }

private:
    detail::owner<hotstuff_buffer, hotstuff_buffer_free> buffer_;
};

/* ========================================================================================= keys */

/** An Ed25519 key pair. Its seed is overwritten at the end. */
class keypair {
public:
    static keypair generate() {
        return keypair(detail::made<hotstuff_keypair>(hotstuff_keypair_generate));
    }
    static keypair from_seed(bytes_view seed) {
        return keypair(detail::made<hotstuff_keypair>([&](hotstuff_keypair **out) {
            return hotstuff_keypair_from_seed(seed.data(), seed.size(), out);
        }));
    }
    static keypair from_pkcs8(bytes_view der) {
        return keypair(detail::made<hotstuff_keypair>([&](hotstuff_keypair **out) {
            return hotstuff_keypair_from_pkcs8(der.data(), der.size(), out);
        }));
    }
    /** Takes it over. */
    explicit keypair(hotstuff_keypair *owned) noexcept : key_(owned) {}

    buffer to_pkcs8() const {
        return buffer(detail::made<hotstuff_buffer>(
            [&](hotstuff_buffer **out) { return hotstuff_keypair_to_pkcs8(get(), out); }));
    }
    address public_key() const {
        address key;
        detail::check(hotstuff_keypair_public(get(), &key));
        return key;
    }
    const hotstuff_keypair *get() const noexcept { return key_.get(); }

private:
    detail::owner<hotstuff_keypair, hotstuff_keypair_free> key_;
};

/** Validators that somebody else owns. */
class validator_set_ref {
public:
    struct validator {
        hotstuff::address address;
        uint64_t power;
    };

    explicit validator_set_ref(const hotstuff_validator_set *borrowed) noexcept : set_(borrowed) {}

    size_t size() const noexcept { return hotstuff_validator_set_len(set_); }
    /** Throws ::HOTSTUFF_E_NOT_FOUND beyond size(). */
    validator at(size_t index) const {
        validator one{};
        detail::check(hotstuff_validator_set_at(set_, index, &one.address, &one.power));
        return one;
    }
    uint64_t total_power() const noexcept { return hotstuff_validator_set_total_power(set_); }
    uint64_t quorum_power() const noexcept { return hotstuff_validator_set_quorum_power(set_); }
    /** In which they validate. */
    uint64_t epoch() const noexcept { return hotstuff_validator_set_epoch(set_); }
    const hotstuff_validator_set *get() const noexcept { return set_; }

private:
    const hotstuff_validator_set *set_;
};

/** Validators and their powers, sorted by address. */
class validator_set {
public:
    using validator = validator_set_ref::validator;

    validator_set() : set_(detail::made<hotstuff_validator_set>(hotstuff_validator_set_new)) {}
    /** Takes it over. */
    explicit validator_set(hotstuff_validator_set *owned) noexcept : set_(owned) {}

    /** A power of 0 removes the validator. */
    validator_set &put(const address &key, uint64_t power) {
        detail::check(hotstuff_validator_set_put(set_.get(), &key, power));
        return *this;
    }
    /** For a set that was written down, and is trusted again. */
    validator_set &set_epoch(uint64_t epoch) {
        detail::check(hotstuff_validator_set_set_epoch(set_.get(), epoch));
        return *this;
    }
    operator validator_set_ref() const noexcept { return validator_set_ref(set_.get()); }
    size_t size() const noexcept { return ref().size(); }
    validator at(size_t index) const { return ref().at(index); }
    uint64_t total_power() const noexcept { return ref().total_power(); }
    uint64_t quorum_power() const noexcept { return ref().quorum_power(); }
    uint64_t epoch() const noexcept { return ref().epoch(); }
    const hotstuff_validator_set *get() const noexcept { return set_.get(); }

private:
    validator_set_ref ref() const noexcept { return *this; }

    detail::owner<hotstuff_validator_set, hotstuff_validator_set_free> set_;
};

/* ======================================================================================= blocks */

/** A block that somebody else owns. */
class block_ref {
public:
    explicit block_ref(const hotstuff_block *borrowed) noexcept : block_(borrowed) {}

    hotstuff::hash hash() const noexcept { return value(hotstuff_block_hash); }
    hotstuff::hash parent_hash() const noexcept { return value(hotstuff_block_parent_hash); }
    hotstuff::hash data_hash() const noexcept { return value(hotstuff_block_data_hash); }
    uint64_t height() const noexcept { return hotstuff_block_height(block_); }
    uint64_t epoch() const noexcept { return hotstuff_block_epoch(block_); }
    uint64_t view() const noexcept { return hotstuff_block_view(block_); }
    /** Valid as long as the block. */
    bytes_view data() const noexcept {
        hotstuff_bytes bytes{};
        hotstuff_block_data(block_, &bytes);
        return bytes;
    }
    buffer encode() const {
        return buffer(detail::made<hotstuff_buffer>(
            [&](hotstuff_buffer **out) { return hotstuff_block_encode(block_, out); }));
    }
    const hotstuff_block *get() const noexcept { return block_; }

private:
    hotstuff::hash value(void (*read)(const hotstuff_block *, hotstuff_hash *)) const noexcept {
        hotstuff::hash out;
        read(block_, &out);
        return out;
    }

    const hotstuff_block *block_;
};

/** A block of your own. */
class block {
public:
    /** Takes it over. */
    explicit block(hotstuff_block *owned) noexcept : block_(owned) {}
    static block decode(const hash &genesis, bytes_view bytes) {
        return block(detail::made<hotstuff_block>([&](hotstuff_block **out) {
            return hotstuff_block_decode(&genesis, bytes.data(), bytes.size(), out);
        }));
    }

    block_ref operator*() const noexcept { return block_ref(block_.get()); }
    hotstuff::hash hash() const noexcept { return (**this).hash(); }
    hotstuff::hash parent_hash() const noexcept { return (**this).parent_hash(); }
    hotstuff::hash data_hash() const noexcept { return (**this).data_hash(); }
    uint64_t height() const noexcept { return (**this).height(); }
    uint64_t epoch() const noexcept { return (**this).epoch(); }
    uint64_t view() const noexcept { return (**this).view(); }
    bytes_view data() const noexcept { return (**this).data(); }
    buffer encode() const { return (**this).encode(); }
    /** The certificate on which it builds, as canonical bytes. */
    buffer justify() const {
        return buffer(detail::made<hotstuff_buffer>(
            [&](hotstuff_buffer **out) { return hotstuff_block_justify(get(), out); }));
    }
    const hotstuff_block *get() const noexcept { return block_.get(); }

private:
    detail::owner<hotstuff_block, hotstuff_block_free> block_;
};

/** Goes through committed blocks, lowest first. */
class block_iter {
public:
    /** Takes it over. */
    explicit block_iter(hotstuff_block_iter *owned) noexcept : iter_(owned) {}
    /** Nothing after the last. */
    std::optional<block> next() {
        hotstuff_block *out = nullptr;
        if (!detail::succeeds_or(HOTSTUFF_E_DONE, hotstuff_block_iter_next(iter_.get(), &out)))
            return std::nullopt;
        return block(out);
    }

private:
    detail::owner<hotstuff_block_iter, hotstuff_block_iter_free> iter_;
};

/** A consistent view of the chain and of the app's state, borrowed: valid during a callback. */
class block_tree {
public:
    explicit block_tree(const hotstuff_block_tree *borrowed) noexcept : tree_(borrowed) {}

    /** The value of a key in the app's state, if there is one. */
    std::optional<buffer> state(bytes_view key) const {
        return found<buffer, hotstuff_buffer>([&](hotstuff_buffer **out) {
            return hotstuff_block_tree_state(tree_, key.data(), key.size(), out);
        });
    }
    /** A block by its hash, committed or not, if it is stored here. */
    std::optional<hotstuff::block> block(const hash &name) const {
        return found<hotstuff::block, hotstuff_block>([&](hotstuff_block **out) {
            return hotstuff_block_tree_block(tree_, &name, out);
        });
    }
    /** The committed block at a height, if there is one. */
    std::optional<hotstuff::block> block_at(uint64_t height) const {
        return found<hotstuff::block, hotstuff_block>([&](hotstuff_block **out) {
            return hotstuff_block_tree_block_at(tree_, height, out);
        });
    }
    uint64_t committed_height() const {
        uint64_t height = 0;
        detail::check(hotstuff_block_tree_committed_height(tree_, &height));
        return height;
    }
    /** Canonical bytes. */
    buffer highest_qc() const {
        return buffer(detail::made<hotstuff_buffer>(
            [&](hotstuff_buffer **out) { return hotstuff_block_tree_highest_qc(tree_, out); }));
    }
    /** Of the current epoch; in a callback, of the epoch of the block in question. */
    validator_set validators() const {
        using raw = hotstuff_validator_set;
        return validator_set(detail::made<raw>(
            [&](raw **out) { return hotstuff_block_tree_validators(tree_, out); }));
    }
    /** Of an epoch, if it has begun. */
    std::optional<validator_set> validators_of(uint64_t epoch) const {
        return found<validator_set, hotstuff_validator_set>([&](hotstuff_validator_set **out) {
            return hotstuff_block_tree_validators_of(tree_, epoch, out);
        });
    }
    /** The certificate that began an epoch, as canonical bytes; nothing for epoch 0. */
    std::optional<buffer> commit_qc_of(uint64_t epoch) const {
        return found<buffer, hotstuff_buffer>([&](hotstuff_buffer **out) {
            return hotstuff_block_tree_commit_qc_of(tree_, epoch, out);
        });
    }
    /** The proof that a block is committed, for verify_commit_proof(); nothing if it is not. */
    std::optional<buffer> commit_proof(const hash &name) const {
        return found<buffer, hotstuff_buffer>([&](hotstuff_buffer **out) {
            return hotstuff_block_tree_commit_proof(tree_, &name, out);
        });
    }
    /** Who validates after an epoch, for verify_epoch_proof(); nothing if it has not ended. */
    std::optional<buffer> epoch_proof(uint64_t epoch) const {
        return found<buffer, hotstuff_buffer>([&](hotstuff_buffer **out) {
            return hotstuff_block_tree_epoch_proof(tree_, epoch, out);
        });
    }
    /** Committed blocks from a height upward; it may outlive this snapshot. */
    block_iter blocks(uint64_t from_height = 1) const {
        return block_iter(detail::made<hotstuff_block_iter>([&](hotstuff_block_iter **out) {
            return hotstuff_block_tree_iter(tree_, from_height, out);
        }));
    }
    const hotstuff_block_tree *get() const noexcept { return tree_; }

private:
    template <class Owner, class T, class Find> static std::optional<Owner> found(Find &&find) {
        T *out = nullptr;
        if (!detail::succeeds_or(HOTSTUFF_E_NOT_FOUND, find(&out))) return std::nullopt;
        return Owner(out);
    }

    const hotstuff_block_tree *tree_;
};

/** A snapshot of your own. It pins pages of the database: let it go soon. */
class snapshot {
public:
    /** Takes it over. */
    explicit snapshot(hotstuff_block_tree *owned) noexcept : owned_(owned), tree_(owned) {}
    /** Of a data directory whose replica is stopped, or runs in another process. */
    static snapshot open_read_only(const std::string &path) {
        hotstuff_block_tree *opened = nullptr;
        hotstuff_error *described = nullptr;
        const hotstuff_status status =
            hotstuff_block_tree_open_read_only(path.c_str(), &opened, &described);
        detail::check(status, described);
        return snapshot(opened);
    }
    /** The name of the chain. */
    hash genesis_hash() const {
        hash out;
        detail::check(hotstuff_block_tree_genesis_hash(owned_.get(), &out));
        return out;
    }
    /** A block that awaits commit, from index 0 on; nothing after the last. */
    std::optional<block> pending_at(size_t index) const {
        hotstuff_block *out = nullptr;
        const hotstuff_status status = hotstuff_block_tree_pending_at(owned_.get(), index, &out);
        if (!detail::succeeds_or(HOTSTUFF_E_DONE, status)) return std::nullopt;
        return block(out);
    }
    /** A piece of evidence, from index 0 on; nothing after the last. */
    std::optional<buffer> evidence_at(size_t index) const {
        hotstuff_buffer *out = nullptr;
        const hotstuff_status status = hotstuff_block_tree_evidence_at(owned_.get(), index, &out);
        if (!detail::succeeds_or(HOTSTUFF_E_DONE, status)) return std::nullopt;
        return buffer(out);
    }
    /** What the replica has signed last. */
    hotstuff_voting_record voting_record() const {
        hotstuff_voting_record out;
        hotstuff_voting_record_init(&out, sizeof out);
        detail::check(hotstuff_block_tree_voting_record(owned_.get(), &out));
        return out;
    }
    const block_tree &operator*() const noexcept { return tree_; }
    const block_tree *operator->() const noexcept { return &tree_; }

private:
    detail::owner<hotstuff_block_tree, hotstuff_block_tree_free> owned_;
    block_tree tree_;
};

/* ======================================================================= what a replica is told */

/** Whoever holds the validator's key, if it is not this process. Replicas may ask at once. */
class signer {
public:
    signer() = default;
    signer(const signer &) = delete;
    signer &operator=(const signer &) = delete;
    virtual ~signer() = default;
    /** Ed25519 of the message as it is. Throwing costs the view and nothing else. */
    virtual hotstuff::signature sign(bytes_view message) = 0;
};

/** How long a view lasts: pure, and quick. */
class view_timer {
public:
    virtual ~view_timer() = default;
    /** Throwing means one second. */
    virtual std::chrono::milliseconds wait_timeout(validator_set_ref validators,
                                                   uint64_t highest_qc_view,
                                                   uint64_t highest_commit_view,
                                                   uint64_t cur_view) = 0;
};

/** Who leads a view: pure, quick, and the same on all replicas. */
class leader_rule {
public:
    virtual ~leader_rule() = default;
    /** An index for validator_set_ref::at(). Throwing halts the replica. */
    virtual size_t view_leader(validator_set_ref validators, uint64_t cur_view) = 0;
};

/** Everything a replica is told when it is opened: `config().chain_id(1).data_dir("x")...`. */
class config {
public:
    config() : config_(detail::made<hotstuff_config>(hotstuff_config_new)) {}

    config &chain_id(uint64_t id) { return set(hotstuff_config_set_chain_id, id); }
    config &genesis_validators(const validator_set &validators) {
        return set(hotstuff_config_set_genesis_validators, validators.get());
    }
    config &genesis_state(bytes_view key, bytes_view value) {
        return set(hotstuff_config_set_genesis_state, key.data(), key.size(), value.data(),
                   value.size());
    }
    /** One of the HOTSTUFF_COMMIT_RULE_ numbers. */
    config &commit_rule(uint32_t rule) { return set(hotstuff_config_set_commit_rule, rule); }
    config &max_idle(std::chrono::milliseconds idle) {
        return set(hotstuff_config_set_max_idle_ms, detail::milliseconds(idle));
    }
    config &max_block_bytes(uint64_t bytes) {
        return set(hotstuff_config_set_max_block_bytes, bytes);
    }
    /** Copied. Without one the replica is a listener. */
    config &key(const keypair &pair) { return set(hotstuff_config_set_keypair, pair.get()); }
    config &data_dir(const std::string &path) {
        return set(hotstuff_config_set_data_dir, path.c_str());
    }
    config &create(bool may_create) { return set(hotstuff_config_set_create, may_create); }
    config &map_size(uint64_t bytes) { return set(hotstuff_config_set_map_size, bytes); }
    /** One of the HOTSTUFF_DURABILITY_ numbers. */
    config &durability(uint32_t what) { return set(hotstuff_config_set_durability, what); }
    config &view_timeout(std::chrono::milliseconds initial, std::chrono::milliseconds longest) {
        return set(hotstuff_config_set_view_timeout_ms, detail::milliseconds(initial),
                   detail::milliseconds(longest));
    }
    /** One of the HOTSTUFF_VOTE_TO_ numbers. */
    config &vote_to(uint32_t whom) { return set(hotstuff_config_set_vote_to, whom); }
    config &sync(uint32_t request_limit, std::chrono::milliseconds response_timeout) {
        return set(hotstuff_config_set_sync, request_limit, detail::milliseconds(response_timeout));
    }
    /** An option by its name; the table stands at hotstuff_config_set_option(). */
    config &option(const std::string &name, const std::string &value) {
        const hotstuff_status status =
            hotstuff_config_set_option(get(), name.c_str(), value.c_str());
        if (status != HOTSTUFF_OK)
            throw error(status, "option " + name + ": " + hotstuff_status_message(status));
        return *this;
    }

    /** In place of a key pair; `key` is the public key that it signs for. */
    config &signer(const address &key, std::shared_ptr<hotstuff::signer> own) {
        using host = detail::hosted<hotstuff::signer>;
        hotstuff_signer_callbacks table;
        hotstuff_signer_callbacks_init(&table, sizeof table);
        table.sign = [](void *self, const uint8_t *message, size_t len,
                        hotstuff_signature *out) noexcept {
            auto &to = host::at(self);
            return detail::contained<int32_t>(*to.kept, HOTSTUFF_E_CALLBACK, [&] {
                *out = to.object->sign(bytes_view(message, len));
                return HOTSTUFF_OK;
            });
        };
        return lend(table, std::move(own), [&] {
            return hotstuff_config_set_signer(get(), &key, &table);
        });
    }
    /** In place of the library's own. T derives from view_timer, leader_rule or both. */
    template <class T> config &pacemaker(std::shared_ptr<T> own) {
        constexpr bool times = std::is_base_of_v<view_timer, T>;
        constexpr bool leads = std::is_base_of_v<leader_rule, T>;
        static_assert(times || leads, "derive from hotstuff::view_timer or leader_rule");
        using host = detail::hosted<T>;
        hotstuff_pacemaker_callbacks table;
        hotstuff_pacemaker_callbacks_init(&table, sizeof table);
        if constexpr (times)
            table.wait_timeout = [](void *self, const hotstuff_validator_set *validators,
                                    uint64_t qc, uint64_t commit, uint64_t cur) noexcept {
                auto &to = host::at(self);
                return detail::contained<uint64_t>(*to.kept, 1000, [&] {
                    const validator_set_ref set(validators);
                    return detail::milliseconds(to.object->wait_timeout(set, qc, commit, cur));
                });
            };
        if constexpr (leads)
            table.view_leader = [](void *self, const hotstuff_validator_set *validators,
                                   uint64_t cur_view, size_t *leader_index) noexcept {
                auto &to = host::at(self);
                return detail::contained<int32_t>(*to.kept, HOTSTUFF_E_CALLBACK, [&] {
                    const validator_set_ref set(validators);
                    *leader_index = to.object->view_leader(set, cur_view);
                    return HOTSTUFF_OK;
                });
            };
        return lend(table, std::move(own),
                    [&] { return hotstuff_config_set_pacemaker(get(), &table); });
    }

    hash genesis_hash() const {
        hash out;
        detail::check(hotstuff_config_genesis_hash(get(), &out));
        return out;
    }
    /** The most bytes that any message of this chain has. */
    uint64_t max_message_bytes() const {
        uint64_t bytes = 0;
        detail::check(hotstuff_config_max_message_bytes(get(), &bytes));
        return bytes;
    }
    hotstuff_config *get() const noexcept { return config_.get(); }

private:
    template <class Setter, class... Values> config &set(Setter setter, Values... values) {
        detail::check(setter(config_.get(), values...));
        return *this;
    }

    /** Hands over a table, and with it a share in the object that it calls. */
    template <class Table, class T, class Set>
    config &lend(Table &table, std::shared_ptr<T> own, Set &&set) {
        using host = detail::hosted<T>;
        if (!own) throw error(HOTSTUFF_E_NULL);
        auto userdata = std::make_unique<host>(host{std::move(own), kept_});
        table.userdata = userdata.get();
        table.destroy = host::destroy;
        detail::check(set());
        (void)userdata.release();
        return *this;
    }

    friend class replica;

    std::shared_ptr<detail::kept_exceptions> kept_ = std::make_shared<detail::kept_exceptions>();
    detail::owner<hotstuff_config, hotstuff_config_free> config_;
};

/* ====================================================================================== the app */

/** What the app answers: a block's data, and what the block changes. Everything is copied. */
class updates {
public:
    explicit updates(hotstuff_updates *borrowed) noexcept : updates_(borrowed) {}

    void set_data(bytes_view data) {
        detail::check(hotstuff_updates_set_data(updates_, data.data(), data.size()));
    }
    void set_state(bytes_view key, bytes_view value) {
        detail::check(hotstuff_updates_set_state(updates_, key.data(), key.size(), value.data(),
                                                 value.size()));
    }
    void delete_state(bytes_view key) {
        detail::check(hotstuff_updates_delete_state(updates_, key.data(), key.size()));
    }
    /** A power of 0 removes the validator. */
    void set_validator(const address &validator, uint64_t power) {
        detail::check(hotstuff_updates_set_validator(updates_, &validator, power));
    }
    hotstuff_updates *get() const noexcept { return updates_; }

private:
    hotstuff_updates *updates_;
};

/** "You lead: is there work?" It comes while the votes for the block below come in: what is made may
 * come to nothing, and is then asked for again. */
class propose_request {
public:
    explicit propose_request(const hotstuff_propose_block_request *borrowed) noexcept
        : request_(borrowed) {}

    uint64_t cur_view() const noexcept {
        return hotstuff_propose_block_request_cur_view(request_);
    }
    /** The block to build on; the genesis hash for the first one. */
    hash prev_block() const noexcept {
        hash out;
        hotstuff_propose_block_request_prev_block(request_, &out);
        return out;
    }
    /** How long it is until this replica gives the view up, as of the call. */
    std::chrono::milliseconds budget() const noexcept {
        return std::chrono::milliseconds(hotstuff_propose_block_request_budget_ms(request_));
    }
    /** The state as of that block. */
    hotstuff::block_tree block_tree() const noexcept {
        return hotstuff::block_tree(hotstuff_propose_block_request_block_tree(request_));
    }

private:
    const hotstuff_propose_block_request *request_;
};

/** "Is this block right, and what does it change?" */
class validate_request {
public:
    explicit validate_request(const hotstuff_validate_block_request *borrowed) noexcept
        : request_(borrowed) {}

    uint64_t cur_view() const noexcept {
        return hotstuff_validate_block_request_cur_view(request_);
    }
    block_ref proposed_block() const noexcept {
        return block_ref(hotstuff_validate_block_request_proposed_block(request_));
    }
    /** The state as of the block's parent. */
    hotstuff::block_tree block_tree() const noexcept {
        return hotstuff::block_tree(hotstuff_validate_block_request_block_tree(request_));
    }
    /** Whether the replica is catching up: the block has a certificate already. */
    bool is_sync() const noexcept { return hotstuff_validate_block_request_is_sync(request_); }

private:
    const hotstuff_validate_block_request *request_;
};

/** What is replicated: a deterministic function of a block and the state of its parent. */
class app {
public:
    app() = default;
    app(const app &) = delete;
    app &operator=(const app &) = delete;
    virtual ~app() = default;

    /** True: the block is in `out`. False: there is nothing to propose (::HOTSTUFF_PROPOSE_DEFER).
     *  Throwing is a failure: nothing is proposed in this view. */
    virtual bool propose_block(const propose_request &request, updates &out) = 0;
    /** Whether the block is valid; if so, what it changes is in `out`. Throwing means undecided:
     *  the replica does not vote, and nothing is held against the leader. */
    virtual bool validate_block(const validate_request &request, updates &out) = 0;
};

/* ================================================================================== the network */

/** A place for one received message. */
class inbox {
public:
    explicit inbox(hotstuff_inbox *borrowed) noexcept : inbox_(borrowed) {}
    void put(const address &from, bytes_view message) {
        detail::check(hotstuff_inbox_put(inbox_, &from, message.data(), message.size()));
    }

private:
    hotstuff_inbox *inbox_;
};

/** A transport of your own: what is sent. Called by several threads at once; must not block. What
 *  is received comes by replica::deliver(), unless the transport is a receiver too. */
class transport {
public:
    transport() = default;
    transport(const transport &) = delete;
    transport &operator=(const transport &) = delete;
    virtual ~transport() = default;

    virtual void connect(const address &) {}
    virtual void disconnect(const address &) {}
    /** Queues a message. False: it is lost, and the protocol sends again. */
    virtual bool send(const address &peer, bytes_view message) = 0;
};

/** A transport that also waits for messages, on a thread of the library. */
class receiver {
public:
    virtual ~receiver() = default;
    /** Waits for a message, at most so long. True: it is in the inbox. */
    virtual bool receive(std::chrono::milliseconds timeout, inbox &into) = 0;
    /** Makes the receive() that waits return, or else the next one. */
    virtual void wake() = 0;
};

/** A transport that sends to all its peers in a better way than one by one. */
class broadcaster {
public:
    virtual ~broadcaster() = default;
    virtual void broadcast(bytes_view message) = 0;
};

/** How a TCP network is set up. */
class tcp_config {
public:
    tcp_config() : config_(detail::made<hotstuff_tcp_config>(hotstuff_tcp_config_new)) {}

    tcp_config &listen(const std::string &host_port) {
        return set(hotstuff_tcp_config_set_listen, host_port.c_str());
    }
    tcp_config &peer(const address &key, const std::string &host_port) {
        detail::check(hotstuff_tcp_config_add_peer(config_.get(), &key, host_port.c_str()));
        return *this;
    }
    /** Under which key a peer is met, if it is not its validator's own. */
    tcp_config &peer_key(const address &peer, const address &key) {
        detail::check(hotstuff_tcp_config_set_peer_key(config_.get(), &peer, &key));
        return *this;
    }
    tcp_config &max_listeners(uint32_t connections) {
        return set(hotstuff_tcp_config_set_max_listeners, connections);
    }
    /** At least config::max_message_bytes(), and less than queue_bytes(). */
    tcp_config &max_message_bytes(uint64_t bytes) {
        return set(hotstuff_tcp_config_set_max_message_bytes, bytes);
    }
    tcp_config &queue_bytes(uint64_t bytes) {
        return set(hotstuff_tcp_config_set_queue_bytes, bytes);
    }
    const hotstuff_tcp_config *get() const noexcept { return config_.get(); }

private:
    template <class Setter, class Value> tcp_config &set(Setter setter, Value value) {
        detail::check(setter(config_.get(), value));
        return *this;
    }

    detail::owner<hotstuff_tcp_config, hotstuff_tcp_config_free> config_;
};

/** A transport between replicas, until a replica takes it. */
class network {
public:
    /** TLS over TCP; it listens at once. */
    static network tcp(const tcp_config &config, const keypair &key) {
        hotstuff_network *made = nullptr;
        hotstuff_error *described = nullptr;
        const hotstuff_status status =
            hotstuff_network_tcp(config.get(), key.get(), &made, &described);
        detail::check(status, described);
        return network(made, std::make_shared<detail::kept_exceptions>());
    }

    /** A transport of your own. T derives from transport, and from receiver and broadcaster if it
     *  is that too: T says so, not what `own` happens to point to. */
    template <class T> static network of(std::shared_ptr<T> own) {
        static_assert(std::is_base_of_v<transport, T>, "derive from hotstuff::transport");
        if (!own) throw error(HOTSTUFF_E_NULL);
        using host = detail::hosted<T>;
        hotstuff_network_callbacks table;
        hotstuff_network_callbacks_init(&table, sizeof table);
        auto kept = std::make_shared<detail::kept_exceptions>();
        auto userdata = std::make_unique<host>(host{std::move(own), kept});
        table.userdata = userdata.get();
        table.destroy = host::destroy;
        table.connect = [](void *self, const hotstuff_validator_address *peer) noexcept {
            return call<T>(self, HOTSTUFF_OK, [&](T &to) { return to.connect(*peer), true; });
        };
        table.disconnect = [](void *self, const hotstuff_validator_address *peer) noexcept {
            return call<T>(self, HOTSTUFF_OK, [&](T &to) { return to.disconnect(*peer), true; });
        };
        table.send = [](void *self, const hotstuff_validator_address *peer, const uint8_t *message,
                        size_t len) noexcept {
            return call<T>(self, HOTSTUFF_E_WOULD_BLOCK,
                           [&](T &to) { return to.send(*peer, bytes_view(message, len)); });
        };
        if constexpr (std::is_base_of_v<broadcaster, T>)
            table.broadcast = [](void *self, const uint8_t *message, size_t len) noexcept {
                return call<T>(self, HOTSTUFF_OK, [&](T &to) {
                    return to.broadcast(bytes_view(message, len)), true;
                });
            };
        if constexpr (std::is_base_of_v<receiver, T>) {
            table.receive = [](void *self, uint32_t timeout_ms, hotstuff_inbox *into) noexcept {
                return call<T>(self, HOTSTUFF_E_TIMEOUT, [&](T &to) {
                    inbox place(into);
                    return to.receive(std::chrono::milliseconds(timeout_ms), place);
                });
            };
            table.wake = [](void *self) noexcept {
                (void)call<T>(self, HOTSTUFF_OK, [](T &to) { return to.wake(), true; });
            };
        }
        network made(detail::made<hotstuff_network>([&](hotstuff_network **out) {
            return hotstuff_network_from_callbacks(&table, out);
        }), std::move(kept));
        (void)userdata.release(); // the library will call destroy()
        return made;
    }

    /** Where a TCP network listens: "127.0.0.1:40213". */
    std::string local_addr() const {
        return buffer(detail::made<hotstuff_buffer>([&](hotstuff_buffer **out) {
            return hotstuff_network_local_addr(get(), out);
        })).str();
    }
    const hotstuff_network *get() const noexcept { return network_.get(); }

private:
    friend class replica;

    network(hotstuff_network *owned, std::shared_ptr<detail::kept_exceptions> kept) noexcept
        : network_(owned), kept_(std::move(kept)) {}

    /** Runs a callback that says whether it did it. */
    template <class T, class Body>
    static int32_t call(void *self, int32_t if_not, Body &&body) noexcept {
        auto &host = detail::hosted<T>::at(self);
        return detail::contained<int32_t>(*host.kept, HOTSTUFF_E_CALLBACK, [&] {
            return body(*host.object) ? HOTSTUFF_OK : if_not;
        });
    }

    detail::owner<hotstuff_network, hotstuff_network_free> network_;
    std::shared_ptr<detail::kept_exceptions> kept_;
};

/* ======================================================================================= events */

/** Something that happened in a replica. Valid during the callback. */
class event {
public:
    explicit event(const hotstuff_event *borrowed) noexcept : event_(borrowed) {}

    /** One of the HOTSTUFF_EVENT_ numbers; ignore those that you do not know. */
    uint32_t kind() const noexcept { return hotstuff_event_kind(event_); }
    std::chrono::system_clock::time_point time() const noexcept {
        const std::chrono::nanoseconds since(hotstuff_event_time_ns(event_));
        return std::chrono::system_clock::time_point(
            std::chrono::duration_cast<std::chrono::system_clock::duration>(since));
    }
    uint64_t epoch() const noexcept { return hotstuff_event_epoch(event_); }
    uint64_t view() const noexcept { return hotstuff_event_view(event_); }
    uint64_t height() const noexcept { return hotstuff_event_height(event_); }
    uint64_t count() const noexcept { return hotstuff_event_count(event_); }
    std::string_view message() const noexcept { return hotstuff_event_message(event_); }
    /** Canonical bytes; none if it is no ::HOTSTUFF_EVENT_EVIDENCE. */
    bytes_view evidence() const noexcept {
        hotstuff_bytes bytes{};
        hotstuff_event_evidence(event_, &bytes);
        return bytes;
    }
    std::optional<hash> block() const noexcept {
        hash out;
        if (!hotstuff_event_block(event_, &out)) return std::nullopt;
        return out;
    }
    std::optional<address> peer() const noexcept {
        address out;
        if (!hotstuff_event_peer(event_, &out)) return std::nullopt;
        return out;
    }

private:
    const hotstuff_event *event_;
};

using event_handler = std::function<void(const event &)>;

/* ================================================================================= verification */

/** What a piece of evidence claims, unverified. */
inline hotstuff_evidence_info read_evidence(bytes_view evidence) {
    hotstuff_evidence_info info;
    hotstuff_evidence_info_init(&info, sizeof info);
    detail::check(hotstuff_evidence_read(evidence.data(), evidence.size(), &info));
    return info;
}

/** Whom a piece of evidence convicts. Throws if it convicts nobody; the status says why. */
inline address verify_evidence(const hash &genesis, validator_set_ref trusted,
                               bytes_view evidence) {
    address offender;
    detail::check(hotstuff_verify_evidence(&genesis, trusted.get(), evidence.data(),
                                           evidence.size(), &offender));
    return offender;
}

/** What a quorum certificate says. Throws if it is none of the validators of its epoch. */
inline hotstuff_qc_info verify_qc(const hash &genesis, validator_set_ref trusted, bytes_view qc) {
    hotstuff_qc_info info;
    hotstuff_qc_info_init(&info, sizeof info);
    detail::check(hotstuff_verify_qc(&genesis, trusted.get(), qc.data(), qc.size(), &info));
    return info;
}

/** Returns if the validators of the block's epoch have committed it: what the last certificate of
 *  the proof says. Throws if not. */
inline hotstuff_qc_info verify_commit_proof(const hash &genesis, validator_set_ref trusted,
                                            const hash &block, bytes_view proof) {
    hotstuff_qc_info info;
    hotstuff_qc_info_init(&info, sizeof info);
    detail::check(hotstuff_verify_commit_proof(&genesis, trusted.get(), &block, proof.data(),
                                               proof.size(), &info));
    return info;
}

/** Who validates in the next epoch. Throws if this is not proven. */
inline validator_set verify_epoch_proof(const hash &genesis, validator_set_ref trusted,
                                        bytes_view proof) {
    using raw = hotstuff_validator_set;
    return validator_set(detail::made<raw>([&](raw **next) {
        return hotstuff_verify_epoch_proof(&genesis, trusted.get(), proof.data(), proof.size(),
                                           next);
    }));
}

/* ===================================================================================== replicas */

/** A replica. Its end stops it and waits for its threads; in a callback of its own it does not
 *  wait, and happens when that callback has returned. */
class replica {
public:
    /** Opens it. The network is taken from you only if this succeeds. */
    replica(const config &config, std::shared_ptr<app> own, network &&network)
        : kept_(network.kept_), of_config_(config.kept_) {
        if (!own) throw error(HOTSTUFF_E_NULL);
        using host = detail::hosted<app>;
        auto userdata = std::make_unique<host>(host{std::move(own), kept_});
        hotstuff_app_callbacks table;
        hotstuff_app_callbacks_init(&table, sizeof table);
        table.userdata = userdata.get();
        table.destroy = host::destroy;
        table.propose_block = [](void *self, const hotstuff_propose_block_request *request,
                                 hotstuff_updates *out) noexcept {
            return ask(self, HOTSTUFF_OK, HOTSTUFF_PROPOSE_DEFER, [&](app &to) {
                updates answer(out);
                return to.propose_block(propose_request(request), answer);
            });
        };
        table.validate_block = [](void *self, const hotstuff_validate_block_request *request,
                                  hotstuff_updates *out) noexcept {
            return ask(self, HOTSTUFF_BLOCK_VALID, HOTSTUFF_BLOCK_INVALID, [&](app &to) {
                updates answer(out);
                return to.validate_block(validate_request(request), answer);
            });
        };
        hotstuff_replica *opened = nullptr;
        hotstuff_error *described = nullptr;
        const hotstuff_status status = hotstuff_replica_open(
            config.get(), &table, network.network_.get(), &opened, &described);
        detail::check(status, described);
        replica_.reset(opened);
        (void)userdata.release();         // both are the replica's now
        (void)network.network_.release();
    }

    /** Sets who is told what happens. Once, before start(). */
    void on_event(event_handler handler) {
        using host = detail::hosted<event_handler>;
        auto userdata = std::make_unique<host>(
            host{std::make_shared<event_handler>(std::move(handler)), kept_});
        hotstuff_event_callbacks table;
        hotstuff_event_callbacks_init(&table, sizeof table);
        table.userdata = userdata.get();
        table.destroy = host::destroy;
        table.on_event = [](void *self, const hotstuff_event *what) noexcept {
            auto &to = host::at(self);
            (void)detail::contained(*to.kept, false,
                                    [&] { return (*to.object)(event(what)), true; });
        };
        detail::check(hotstuff_replica_set_events(get(), &table));
        (void)userdata.release();
    }

    void start() {
        hotstuff_error *described = nullptr;
        const hotstuff_status status = hotstuff_replica_start(get(), &described);
        detail::check(status, described);
    }
    /** Stops it and waits for its threads. False: a callback has not returned in time. */
    bool stop(std::chrono::milliseconds timeout = no_timeout) {
        return detail::succeeds_or(HOTSTUFF_E_TIMEOUT,
                                   hotstuff_replica_stop(get(), detail::milliseconds(timeout)));
    }

    /** There is work for the app. */
    void notify() { detail::check(hotstuff_replica_notify(get())); }
    /** Delivers a message that the host has received. False: it is dropped, because the queue of
     *  that peer is full or the replica does not run. */
    bool deliver(const address &from, bytes_view message) {
        const hotstuff_status status =
            hotstuff_replica_deliver(get(), &from, message.data(), message.size());
        if (status == HOTSTUFF_E_CLOSED || status == HOTSTUFF_E_HALTED) return false;
        return detail::succeeds_or(HOTSTUFF_E_WOULD_BLOCK, status);
    }

    /** The committed block after a height, or nothing within the time. Throws ::HOTSTUFF_E_CLOSED
     *  once the replica is stopped; throws what a callback has thrown, and loses no block by it. */
    std::optional<block> next_committed(uint64_t after_height, std::chrono::milliseconds timeout) {
        hotstuff_block *out = nullptr;
        const hotstuff_status status = hotstuff_replica_next_committed(
            get(), after_height, detail::milliseconds(timeout), &out);
        block owned(out);
        rethrow();
        if (!detail::succeeds_or(HOTSTUFF_E_TIMEOUT, status)) return std::nullopt;
        return owned;
    }
    /** Waits until a height is committed. False: it is not, yet. Throws as next_committed(). */
    bool wait_committed(uint64_t height, std::chrono::milliseconds timeout) {
        const hotstuff_status status =
            hotstuff_replica_wait_committed(get(), height, detail::milliseconds(timeout));
        rethrow();
        return detail::succeeds_or(HOTSTUFF_E_TIMEOUT, status);
    }
    /** Waits until the replica is stopped. False: it still runs. Throws ::HOTSTUFF_E_HALTED if it
     *  has stopped itself: why, and what to do. Throws what a callback has thrown. */
    bool wait(std::chrono::milliseconds timeout) {
        hotstuff_error *described = nullptr;
        const hotstuff_status status =
            hotstuff_replica_wait(get(), detail::milliseconds(timeout), &described);
        detail::owner<hotstuff_error, hotstuff_error_free> owned(described);
        rethrow();
        if (status == HOTSTUFF_E_TIMEOUT) return false;
        detail::check(status, owned.release());
        return true;
    }

    /** What a callback has thrown, first of all since the last call; null if nothing. */
    std::exception_ptr take_exception() noexcept {
        std::exception_ptr exception = kept_->take();
        return exception ? exception : of_config_->take();
    }
    /** Throws it, if there is something. */
    void rethrow() {
        if (const std::exception_ptr exception = take_exception())
            std::rethrow_exception(exception);
    }

    hotstuff::snapshot snapshot() const {
        return hotstuff::snapshot(detail::made<hotstuff_block_tree>(
            [&](hotstuff_block_tree **out) { return hotstuff_replica_snapshot(get(), out); }));
    }
    hotstuff_replica_info info() const {
        hotstuff_replica_info out;
        hotstuff_replica_info_init(&out, sizeof out);
        detail::check(hotstuff_replica_get_info(get(), &out));
        return out;
    }
    hotstuff_metrics metrics() const {
        hotstuff_metrics out;
        hotstuff_metrics_init(&out, sizeof out);
        detail::check(hotstuff_replica_metrics(get(), &out));
        return out;
    }
    /** The counters as text for Prometheus. */
    std::string metrics_text() const {
        return buffer(detail::made<hotstuff_buffer>([&](hotstuff_buffer **out) {
            return hotstuff_replica_metrics_text(get(), out);
        })).str();
    }
    /** A piece of evidence that this replica keeps, from index 0 on; nothing after the last. */
    std::optional<buffer> evidence_at(size_t index) const {
        hotstuff_buffer *out = nullptr;
        if (!detail::succeeds_or(HOTSTUFF_E_DONE, hotstuff_replica_evidence_at(get(), index, &out)))
            return std::nullopt;
        return buffer(out);
    }
    hotstuff_replica *get() const noexcept { return replica_.get(); }

private:
    template <class Body>
    static int32_t ask(void *self, int32_t if_true, int32_t if_false, Body &&body) noexcept {
        auto &host = detail::hosted<app>::at(self);
        return detail::contained<int32_t>(*host.kept, HOTSTUFF_E_CALLBACK, [&] {
            return body(*host.object) ? if_true : if_false;
        });
    }

    std::shared_ptr<detail::kept_exceptions> kept_;
    /** Of the signer and the pacemaker, which all replicas of a config share. */
    std::shared_ptr<detail::kept_exceptions> of_config_;
    detail::owner<hotstuff_replica, hotstuff_replica_free> replica_;
};

/* =================================================================================== the logger */

/** Where the log of the process goes, until this object ends. One at a time. */
class logger {
public:
    /** Level, the part of the library that speaks, a line. From any thread, several at once; must
     *  not call this library. What it throws is kept. */
    using sink = std::function<void(int32_t, std::string_view, std::string_view)>;

    logger(sink to, int32_t max_level) : sink_(std::move(to)) {
        const auto log = [](void *self, int32_t level, const char *target,
                            const char *message) noexcept {
            auto &own = *static_cast<logger *>(self);
            (void)detail::contained(own.kept_, false,
                                    [&] { return own.sink_(level, target, message), true; });
        };
        detail::check(hotstuff_set_logger(log, this, max_level));
    }
    logger(const logger &) = delete;
    logger &operator=(const logger &) = delete;
    ~logger() { (void)hotstuff_set_logger(nullptr, nullptr, HOTSTUFF_LOG_OFF); }

    std::exception_ptr take_exception() noexcept { return kept_.take(); }

private:
    sink sink_;
    detail::kept_exceptions kept_;
};

/** Whether the library that is loaded serves what this file was compiled for: the same ABI, and not
 *  an older version. */
inline bool library_fits() noexcept {
    return hotstuff_abi_version() == HOTSTUFF_ABI_VERSION &&
           hotstuff_version_number() >= HOTSTUFF_VERSION_NUMBER;
}

} // namespace hotstuff

#endif
