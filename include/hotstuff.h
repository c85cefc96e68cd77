/*
 * hotstuff.h - the C API of libhotstuff, HotStuff Byzantine-fault-tolerant replication.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HOTSTUFF_H
#define HOTSTUFF_H

/* Written by `make header` from src/ffi and cbindgen.toml. Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @mainpage libhotstuff
 *
 * A replica of a chain takes part like this; each function says the rest.
 *
 *     hotstuff_keypair_from_pkcs8()       the validator's key
 *     hotstuff_config_new() and setters   what all replicas agree on, and where this one keeps it
 *     hotstuff_app_callbacks_init()       the app: propose_block() and validate_block()
 *     hotstuff_network_tcp()              how replicas reach each other; or your own transport:
 *                                         hotstuff_network_from_callbacks()
 *     hotstuff_replica_open(), _start()   from here on the library calls the app
 *     hotstuff_replica_notify()           there is work
 *     hotstuff_replica_next_committed()   what the replicas have agreed on, block by block
 *     hotstuff_replica_stop(), _free()
 *
 * Whoever has no replica believes a genesis hash and its validators, and nothing else:
 *
 *     hotstuff_verify_epoch_proof()       who validates after them, epoch by epoch
 *     hotstuff_verify_commit_proof()      what they have agreed on: a block
 *
 * ## Rules that hold for every function
 *
 * NAMES      All symbols start with `hotstuff_`, all macros with `HOTSTUFF_`. A function named
 *            `hotstuff_T_verb` is about a `hotstuff_T` and takes it first.
 * RESULT     What can fail returns a ::hotstuff_status: 0 is success, negative is an error.
 *            Outputs come last. On error every output is left as it was, except that a
 *            `hotstuff_T **out` is set to NULL. What returns a value instead returns 0, NULL or
 *            false for NULL. Each function lists what it returns besides ::HOTSTUFF_OK; any may
 *            also return ::HOTSTUFF_E_INVALID_ARGUMENT for a pointer to something else,
 *            ::HOTSTUFF_E_PANIC, ::HOTSTUFF_E_POISONED, and, inside the logger,
 *            ::HOTSTUFF_E_REENTRANT.
 * ERROR      Functions with a trailing `hotstuff_error **err` describe a failure there: what
 *            happened and what to do. Free it with hotstuff_error_free(). `*err` is set to NULL
 *            on success. Pass NULL if you do not care. There is no "last error" of a thread.
 * OWNERSHIP  `hotstuff_T **out`: you own it; release it with hotstuff_T_free().
 *            `const hotstuff_T *` returned, or given to a callback: borrowed; valid until what
 *            it came from ends, or the callback returns. Never free it.
 *            `const uint8_t *p, size_t n` inputs are copied before the call returns; `p` may be
 *            NULL if `n` is 0. Strings end with NUL, are UTF-8, and are copied.
 *            The library never frees your memory, and you never call free() on the library's.
 *            Every hotstuff_T_free(NULL) does nothing. What was taken over, and what was freed,
 *            must not be used again; mostly that is noticed, but do not rely on it.
 * STRUCTS    No struct crosses by value. Structs that may grow begin with `size_t struct_size`:
 *            call their hotstuff_T_init(&it, sizeof it) before you fill them or let them be
 *            filled. A larger struct, of a newer header, is accepted if the members that the
 *            library does not know are zero, else it is ::HOTSTUFF_E_UNSUPPORTED. In one that
 *            the library fills they become zero.
 * THREADS    [any]              from any thread, several at once on one object.
 *            [serial]           from any thread, one call at a time on one object.
 *            [not-in-callback]  not inside a callback of the same replica, which it would wait
 *                               for: ::HOTSTUFF_E_REENTRANT.
 *            All functions but those may be called inside callbacks. The logger is stricter.
 * CALLBACKS  Get `userdata` first. They must not throw, longjmp or unwind: that ends the process.
 *            `destroy(userdata)` of a table is called once, on any thread, when what has taken the
 *            table over is freed and its last other callback has returned; and only if it was
 *            taken over (::HOTSTUFF_OK). What is none of the results that a callback may return
 *            counts as its failure.
 * PANICS     A bug of the library is caught: ::HOTSTUFF_E_PANIC. The object is poisoned: it
 *            returns ::HOTSTUFF_E_POISONED from then on, and can still be freed.
 * FORK       No object may be used in a child process after fork().
 * PROCESS    The library installs no signal handler, raises no SIGPIPE, blocks all signals in its
 *            own threads and none in yours, and prints nothing. Of the environment it reads
 *            RUST_MIN_STACK, the least stack of its threads in bytes, and nothing else.
 *            After dlclose() it stays in memory.
 */

/* ======================================================================== compiling and linking */

/** First part of this header's version. */
#define HOTSTUFF_VERSION_MAJOR 0
/** Second part. */
#define HOTSTUFF_VERSION_MINOR 1
/** Third part. */
#define HOTSTUFF_VERSION_PATCH 0
/** Version of this header: major * 1000000 + minor * 1000 + patch; hotstuff_version_number(). */
#define HOTSTUFF_VERSION_NUMBER 1000
/** Version of this header as a text; hotstuff_version_string(). */
#define HOTSTUFF_VERSION_STRING "0.1.0"
/** Rises with every incompatible change; the soname ends with it: libhotstuff.so.0. */
#define HOTSTUFF_ABI_VERSION 0

/** Define HOTSTUFF_STATIC before you include this file to link against libhotstuff.a. */
#if defined(HOTSTUFF_STATIC)
#  define HOTSTUFF_API
#elif defined(_WIN32)
#  define HOTSTUFF_API __declspec(dllimport)
#elif defined(__GNUC__)
#  define HOTSTUFF_API __attribute__((visibility("default")))
#else
#  define HOTSTUFF_API
#endif

#if defined(__GNUC__)
#  define HOTSTUFF_NODISCARD __attribute__((warn_unused_result))
#  define HOTSTUFF_DEPRECATED(why) __attribute__((deprecated(why)))
#elif defined(_MSC_VER)
#  define HOTSTUFF_NODISCARD _Check_return_
#  define HOTSTUFF_DEPRECATED(why) __declspec(deprecated(why))
#else
#  define HOTSTUFF_NODISCARD
#  define HOTSTUFF_DEPRECATED(why)
#endif

/* ======================================================================================= status */

#define HOTSTUFF_OK 0                     /**< success */
#define HOTSTUFF_E_NULL (-1)              /**< a required pointer is NULL */
#define HOTSTUFF_E_INVALID_ARGUMENT (-2)  /**< an argument is out of its range */
#define HOTSTUFF_E_NOT_FOUND (-3)         /**< there is no such thing */
#define HOTSTUFF_E_TIMEOUT (-4)           /**< the time to wait is over */
#define HOTSTUFF_E_CLOSED (-5)            /**< stopped, closed, or never started */
#define HOTSTUFF_E_STATE (-6)             /**< called out of order, as start after start */
#define HOTSTUFF_E_REENTRANT (-7)         /**< not allowed inside this callback */
#define HOTSTUFF_E_PANIC (-8)             /**< a bug in libhotstuff; please report it */
#define HOTSTUFF_E_POISONED (-9)          /**< the object had a HOTSTUFF_E_PANIC before */
#define HOTSTUFF_E_IO (-10)               /**< the operating system reports an error */
#define HOTSTUFF_E_STORAGE (-11)          /**< the database failed, or it or the disk is full */
#define HOTSTUFF_E_CORRUPT (-12)          /**< stored data fails its checks */
#define HOTSTUFF_E_LOCKED (-13)           /**< the data directory is in use */
#define HOTSTUFF_E_GENESIS_MISMATCH (-14) /**< the data directory belongs to another chain */
#define HOTSTUFF_E_DECODE (-15)           /**< not a canonical encoding */
#define HOTSTUFF_E_BAD_SIGNATURE (-16)    /**< a signature does not verify */
#define HOTSTUFF_E_NO_QUORUM (-17)        /**< the signatures are no quorum */
#define HOTSTUFF_E_UNSUPPORTED (-18)      /**< unknown to this version or build */
#define HOTSTUFF_E_TOO_LARGE (-19)        /**< larger than a limit */
#define HOTSTUFF_E_DONE (-20)             /**< no more items */
#define HOTSTUFF_E_CALLBACK (-21)         /**< a callback failed; callbacks may return it */
#define HOTSTUFF_E_NO_MEMORY (-22)        /**< there is no memory to be had */
#define HOTSTUFF_E_HALTED (-23)           /**< stopped itself; hotstuff_replica_wait() says why */
#define HOTSTUFF_E_WOULD_BLOCK (-24)      /**< a bounded queue is full: try again later */

#ifdef __cplusplus
extern "C" {
#endif

/* ====================================================================================== objects */

/**
 * A block. Immutable; all its functions are [any].
 */
typedef struct hotstuff_block hotstuff_block;

/**
 * Goes through committed blocks, lowest first.
 */
typedef struct hotstuff_block_iter hotstuff_block_iter;

/**
 * A consistent view of the chain and of the app's state. It does not change while you hold it.
 *
 * It comes in two kinds. hotstuff_replica_snapshot() gives one that you own: the state as of the
 * last committed block. It pins pages of the database, so free it soon; it may outlive the
 * replica. A callback of the app gets one that it borrows: the state as of the parent of the block
 * in question, committed or not.
 */
typedef struct hotstuff_block_tree hotstuff_block_tree;

/**
 * Bytes that the library made and you own.
 */
typedef struct hotstuff_buffer hotstuff_buffer;

/**
 * Everything a replica is told when it is opened: a builder. One config may open any number of
 * replicas, each of which keeps a copy.
 */
typedef struct hotstuff_config hotstuff_config;

/**
 * A described failure: what happened and what to do about it.
 */
typedef struct hotstuff_error hotstuff_error;

/**
 * Something that happened in a replica. Owned by the library, valid during the callback; all its
 * functions are [any] until then.
 */
typedef struct hotstuff_event hotstuff_event;

/**
 * A place for one received message. Owned by the library, valid during receive().
 */
typedef struct hotstuff_inbox hotstuff_inbox;

/**
 * An Ed25519 key pair. Its seed is overwritten when it is freed.
 */
typedef struct hotstuff_keypair hotstuff_keypair;

/**
 * A transport between replicas, until a replica takes it.
 */
typedef struct hotstuff_network hotstuff_network;

/**
 * "You lead: is there work?" Owned by the library, valid during the callback.
 */
typedef struct hotstuff_propose_block_request hotstuff_propose_block_request;

/**
 * A replica: the threads, the disk and the network of one participant of a chain.
 */
typedef struct hotstuff_replica hotstuff_replica;

/**
 * How a TCP network is set up: a builder.
 */
typedef struct hotstuff_tcp_config hotstuff_tcp_config;

/**
 * What the app answers: a block's data, and what the block changes. Owned by the library, valid
 * during the callback. The setters copy: your bytes may live on a stack, or be Go's or Python's.
 * An answer of which a setter has refused a part counts as failed, whatever the callback returns:
 * half an answer would be another answer.
 */
typedef struct hotstuff_updates hotstuff_updates;

/**
 * "Is this block right, and what does it change?" Owned by the library, valid during the callback.
 */
typedef struct hotstuff_validate_block_request hotstuff_validate_block_request;

/**
 * Validators and their powers, sorted by address, and the epoch in which they validate.
 */
typedef struct hotstuff_validator_set hotstuff_validator_set;

/* ============================================================================ status and errors */

/**
 * Result of a function: ::HOTSTUFF_OK, or one of the negative HOTSTUFF_E_ codes. An integer, not
 * an enum: values cross the boundary in both directions, and a newer library may return codes that
 * an older header lacks. Codes are never renumbered or reused.
 */
typedef int32_t hotstuff_status;

/**
 * The name of a status: "HOTSTUFF_E_TIMEOUT"; "HOTSTUFF_E_UNKNOWN" for a number that this library
 * does not have. Never NULL; static. [any]
 */
HOTSTUFF_API const char *hotstuff_status_name(hotstuff_status status);

/**
 * What a status says: "timed out". Never NULL; static. [any]
 */
HOTSTUFF_API const char *hotstuff_status_message(hotstuff_status status);

/**
 * The status that the failing function returned; ::HOTSTUFF_E_NULL for NULL. [any]
 *
 * @param err  the error; may be NULL
 */
HOTSTUFF_API hotstuff_status hotstuff_error_status(const hotstuff_error *err);

/**
 * What happened, and what to do about it: one or more sentences in English, UTF-8, without a
 * newline at the end. Never NULL; valid until hotstuff_error_free(). "" for NULL. [any]
 *
 * @param err  the error; may be NULL
 */
HOTSTUFF_API const char *hotstuff_error_message(const hotstuff_error *err);

/**
 * Frees an error. [any]
 *
 * @param err  the error; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_error_free(hotstuff_error *err);

/* ====================================================================================== version */

/**
 * Bit of hotstuff_has_feature(): the TCP transport.
 */
#define HOTSTUFF_FEATURE_TCP 1

/**
 * Version of the library that is loaded, as a number to compare with ::HOTSTUFF_VERSION_NUMBER,
 * the version of the header: major * 1000000 + minor * 1000 + patch. [any]
 */
HOTSTUFF_API uint32_t hotstuff_version_number(void);

/**
 * Version of the library that is loaded: "0.1.0". Never NULL; static. [any]
 */
HOTSTUFF_API const char *hotstuff_version_string(void);

/**
 * ABI of the library that is loaded. A program must refuse to go on where it differs from
 * ::HOTSTUFF_ABI_VERSION; the dynamic linker sees to it by the soname. [any]
 */
HOTSTUFF_API uint32_t hotstuff_abi_version(void);

/**
 * Whether this build has a feature. Functions of a missing feature exist and return
 * ::HOTSTUFF_E_UNSUPPORTED: the symbols never depend on how the library was built. [any]
 *
 * @param feature  one of the HOTSTUFF_FEATURE_ numbers; false for a number of a newer library
 */
HOTSTUFF_API bool hotstuff_has_feature(uint32_t feature);

/* ======================================================================================= values */

/**
 * Bytes of a hash (SHA-256).
 */
#define HOTSTUFF_HASH_LEN 32

/**
 * Bytes of a validator's address: its Ed25519 public key.
 */
#define HOTSTUFF_VALIDATOR_ADDRESS_LEN 32

/**
 * Bytes of the seed of a key pair.
 */
#define HOTSTUFF_SECRET_SEED_LEN 32

/**
 * Bytes of an Ed25519 signature.
 */
#define HOTSTUFF_SIGNATURE_LEN 64

/**
 * As a `timeout_ms`: wait without limit.
 */
#define HOTSTUFF_NO_TIMEOUT 4294967295

/**
 * Borrowed bytes: only ever an output. Not terminated by NUL. `data` may be NULL if `len` is 0.
 */
typedef struct hotstuff_bytes {
    /**
     * The first byte. Who owns it, and until when it is there, says the function that filled it.
     */
    const uint8_t *data;
    /**
     * How many bytes.
     */
    size_t len;
} hotstuff_bytes;

/**
 * A SHA-256 hash: of a block, of its data, or of a genesis.
 */
typedef struct hotstuff_hash {
    /**
     * The hash itself.
     */
    uint8_t bytes[HOTSTUFF_HASH_LEN];
} hotstuff_hash;

/**
 * An Ed25519 signature (RFC 8032).
 */
typedef struct hotstuff_signature {
    /**
     * The signature itself.
     */
    uint8_t bytes[HOTSTUFF_SIGNATURE_LEN];
} hotstuff_signature;

/**
 * The name of a validator: its Ed25519 public key (RFC 8032).
 */
typedef struct hotstuff_validator_address {
    /**
     * The public key itself.
     */
    uint8_t bytes[HOTSTUFF_VALIDATOR_ADDRESS_LEN];
} hotstuff_validator_address;

/**
 * The bytes of a buffer, borrowed from it: valid until hotstuff_buffer_free(). [any]
 *
 * @param buffer  the buffer
 * @param out     receives the bytes; none if `buffer` is NULL
 */
HOTSTUFF_API
void hotstuff_buffer_get(const hotstuff_buffer *buffer,
                         hotstuff_bytes *out);

/**
 * Frees a buffer. [any]
 *
 * @param buffer  the buffer; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_buffer_free(hotstuff_buffer *buffer);

/* ========================================================================================= keys */

/**
 * Whoever holds the validator's key, if it is not this process: a security module, a key service.
 */
typedef struct hotstuff_signer_callbacks {
    /**
     * Set by hotstuff_signer_callbacks_init().
     */
    size_t struct_size;
    /**
     * Given to each callback; the library does not look at it.
     */
    void *userdata;
    /**
     * Frees userdata: called once, when the config and all replicas opened with it are freed, on
     * any thread. May be NULL.
     */
    void (*destroy)(void *userdata);
    /**
     * Signs `message` with Ed25519 (RFC 8032, neither Ed25519ctx nor Ed25519ph): write 64 bytes to
     * `out` and return ::HOTSTUFF_OK. `message` has 32 bytes, the SHA-256 of what is said, and is
     * valid during the call. Called after what is said is on disk, so that a replica that crashes
     * here does not sign something else afterwards. Anything but ::HOTSTUFF_OK, and a signature
     * that does not verify, cost the view and nothing else: the replica says that much less, tells
     * ::HOTSTUFF_EVENT_WARNING, and asks again in the next view, or when it next times out.
     * The replica waits for it: be quick against the view time-out, or fail. Replicas that have
     * one table may call it at once. Required.
     */
    int32_t (*sign)(void *userdata, const uint8_t *message, size_t len, hotstuff_signature *out);
} hotstuff_signer_callbacks;

/**
 * Makes a key pair from random bytes of the operating system. [any]
 *
 * @param out  receives the key pair: yours, free it with hotstuff_keypair_free()
 * @retval HOTSTUFF_E_NULL  `out` is NULL
 * @retval HOTSTUFF_E_IO    the operating system gave no random bytes
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_keypair_generate(hotstuff_keypair **out);

/**
 * Makes the key pair of a seed: the same seed, the same key (RFC 8032). A seed is secret. [any]
 *
 * @param seed  the seed; copied
 * @param len   ::HOTSTUFF_SECRET_SEED_LEN
 * @param out   receives the key pair: yours, free it with hotstuff_keypair_free()
 * @retval HOTSTUFF_E_NULL              `seed` or `out` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `len` is another number
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_keypair_from_seed(const uint8_t *seed,
                                           size_t len,
                                           hotstuff_keypair **out);

/**
 * Reads a key pair in PKCS#8 DER, version 1 or 2 (RFC 8410): what `openssl genpkey -algorithm
 * ed25519 -outform DER` writes. [any]
 *
 * @param der  the bytes; copied
 * @param len  how many
 * @param out  receives the key pair: yours, free it with hotstuff_keypair_free()
 * @retval HOTSTUFF_E_NULL    `der` or `out` is NULL
 * @retval HOTSTUFF_E_DECODE  the bytes are no Ed25519 key in PKCS#8
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_keypair_from_pkcs8(const uint8_t *der,
                                            size_t len,
                                            hotstuff_keypair **out);

/**
 * The key pair as PKCS#8 DER version 1 (RFC 8410). The bytes are secret, and are not overwritten
 * when the buffer is freed. [any]
 *
 * @param key  the key pair
 * @param out  receives the bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL  `key` or `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_keypair_to_pkcs8(const hotstuff_keypair *key,
                                          hotstuff_buffer **out);

/**
 * The public key: the address of the validator that this key pair speaks for. [any]
 *
 * @param key  the key pair
 * @param out  receives the address
 * @retval HOTSTUFF_E_NULL  `key` or `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_keypair_public(const hotstuff_keypair *key,
                                        hotstuff_validator_address *out);

/**
 * Overwrites the seed and frees the key pair. What was configured with it keeps its copy. [any]
 *
 * @param key  the key pair; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_keypair_free(hotstuff_keypair *key);

/**
 * Zeroes a table and notes its size. Call it before you fill the table. [any]
 *
 * @param table        the table
 * @param struct_size  `sizeof *table`
 */
HOTSTUFF_API
void hotstuff_signer_callbacks_init(hotstuff_signer_callbacks *table,
                                    size_t struct_size);

/* =============================================================================== validator sets */

/**
 * Makes an empty validator set, to be filled. [any]
 *
 * @param out  receives the set: yours, free it with hotstuff_validator_set_free()
 * @retval HOTSTUFF_E_NULL  `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_validator_set_new(hotstuff_validator_set **out);

/**
 * Gives a validator a power, in place of any it had. A quorum is more than two thirds of the power
 * of all validators together: of equal ones, 4 bear one that fails or lies, 3f + 1 bear
 * f. [serial]
 *
 * @param set    the set
 * @param key    the validator
 * @param power  its voting power; 0 removes it
 * @retval HOTSTUFF_E_NULL       `set` or `key` is NULL
 * @retval HOTSTUFF_E_TOO_LARGE  the set has 1024 validators already, or the total power would not
 *                               fit in 64 bits; the set is unchanged
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_validator_set_put(hotstuff_validator_set *set,
                                           const hotstuff_validator_address *key,
                                           uint64_t power);

/**
 * How many validators there are; 0 for NULL. [any]
 *
 * @param set  the set
 */
HOTSTUFF_API size_t hotstuff_validator_set_len(const hotstuff_validator_set *set);

/**
 * One validator, by its place in the order of addresses. [any]
 *
 * @param set    the set
 * @param index  from 0 to hotstuff_validator_set_len() - 1
 * @param key    receives its address; may be NULL
 * @param power  receives its power; may be NULL
 * @retval HOTSTUFF_E_NULL       `set` is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  there are not so many validators
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_validator_set_at(const hotstuff_validator_set *set,
                                          size_t index,
                                          hotstuff_validator_address *key,
                                          uint64_t *power);

/**
 * The power of all validators together; 0 for NULL. [any]
 *
 * @param set  the set
 */
HOTSTUFF_API uint64_t hotstuff_validator_set_total_power(const hotstuff_validator_set *set);

/**
 * The least power that is a quorum: more than two thirds of all. 0 for NULL and for an empty
 * set. [any]
 *
 * @param set  the set
 */
HOTSTUFF_API uint64_t hotstuff_validator_set_quorum_power(const hotstuff_validator_set *set);

/**
 * The epoch in which these validators validate: what they sign in others proves nothing. 0, the
 * genesis's, for a set that was made here; 0 for NULL. [any]
 *
 * @param set  the set
 */
HOTSTUFF_API uint64_t hotstuff_validator_set_epoch(const hotstuff_validator_set *set);

/**
 * Says in which epoch these validators validate: for a set that was written down, and is trusted
 * again. [serial]
 *
 * @param set    the set
 * @param epoch  the epoch; 0 is the genesis's
 * @retval HOTSTUFF_E_NULL  `set` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_validator_set_set_epoch(hotstuff_validator_set *set,
                                                 uint64_t epoch);

/**
 * Frees a set. What was configured with it keeps its copy. [any]
 *
 * @param set  the set; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_validator_set_free(hotstuff_validator_set *set);

/* ================================================================================ the pacemaker */

/**
 * How long a view lasts, and who leads it, in place of the library's own pacemaker. Both callbacks
 * are pure: the same answer to the same question, whenever it is asked. They are asked often, from
 * one thread of each replica, and several replicas may have one table: they must not block.
 *
 * The validators they are given are borrowed, valid during the call; of their epoch the callbacks
 * are not told: hotstuff_validator_set_epoch() gives 0.
 */
typedef struct hotstuff_pacemaker_callbacks {
    /**
     * Set by hotstuff_pacemaker_callbacks_init().
     */
    size_t struct_size;
    /**
     * Given to each callback; the library does not look at it.
     */
    void *userdata;
    /**
     * Frees userdata: called once, when the config and all replicas opened with it are freed, on
     * any thread. May be NULL.
     */
    void (*destroy)(void *userdata);
    /**
     * How long to wait in view `cur_view` before it is given up, in milliseconds: what is not
     * within 1 to 86400000 (a day) counts as the nearer of these. All views are of one epoch;
     * 0 stands for none yet. The waits must grow while nothing is certified or committed, until
     * they exceed four message delays. May differ between replicas. NULL: the library's own, with
     * hotstuff_config_set_view_timeout_ms().
     */
    uint64_t (*wait_timeout)(void *userdata,
                             const hotstuff_validator_set *validators,
                             uint64_t highest_qc_view,
                             uint64_t highest_commit_view,
                             uint64_t cur_view);
    /**
     * Who leads view `cur_view`: write the validator's index to `leader_index`, as for
     * hotstuff_validator_set_at(), and return ::HOTSTUFF_OK. `validators` are those who may lead:
     * by the option "chain.leader_rule", those who have signed lately, or all. Each must lead
     * again and again, and the answers must be those of all other replicas: else the chain stops.
     * Any other result, and an index that no validator has, halt the replica, before it says
     * anything that depends on it. NULL: the library's own.
     */
    int32_t (*view_leader)(void *userdata,
                           const hotstuff_validator_set *validators,
                           uint64_t cur_view,
                           size_t *leader_index);
} hotstuff_pacemaker_callbacks;

/**
 * Zeroes a table and notes its size. Call it before you fill the table. [any]
 *
 * @param table        the table
 * @param struct_size  `sizeof *table`
 */
HOTSTUFF_API
void hotstuff_pacemaker_callbacks_init(hotstuff_pacemaker_callbacks *table,
                                       size_t struct_size);

/* ======================================================================================= blocks */

/**
 * The hash of a block: its name. [any]
 *
 * @param block  the block
 * @param out    receives the hash; zero for NULL
 */
HOTSTUFF_API void hotstuff_block_hash(const hotstuff_block *block, hotstuff_hash *out);

/**
 * The hash of the block it builds on; the genesis hash for the first block. [any]
 *
 * @param block  the block
 * @param out    receives the hash; zero for NULL
 */
HOTSTUFF_API
void hotstuff_block_parent_hash(const hotstuff_block *block,
                                hotstuff_hash *out);

/**
 * The SHA-256 of its data. [any]
 *
 * @param block  the block
 * @param out    receives the hash; zero for NULL
 */
HOTSTUFF_API void hotstuff_block_data_hash(const hotstuff_block *block, hotstuff_hash *out);

/**
 * Its distance from the genesis: 1 for the first block; 0 for NULL. [any]
 *
 * @param block  the block
 */
HOTSTUFF_API uint64_t hotstuff_block_height(const hotstuff_block *block);

/**
 * The epoch it was proposed in; 0 for NULL. [any]
 *
 * @param block  the block
 */
HOTSTUFF_API uint64_t hotstuff_block_epoch(const hotstuff_block *block);

/**
 * The view of its epoch that it was proposed in; 0 for NULL. [any]
 *
 * @param block  the block
 */
HOTSTUFF_API uint64_t hotstuff_block_view(const hotstuff_block *block);

/**
 * Its data, borrowed from it: what an app's propose_block made, or nothing if the library made the
 * block alone. [any]
 *
 * @param block  the block
 * @param out    receives the bytes; none for NULL
 */
HOTSTUFF_API void hotstuff_block_data(const hotstuff_block *block, hotstuff_bytes *out);

/**
 * The block as canonical bytes, for hotstuff_block_decode(). [any]
 *
 * @param block  the block
 * @param out    receives the bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL  `block` or `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_encode(const hotstuff_block *block,
                                      hotstuff_buffer **out);

/**
 * Reads what hotstuff_block_encode() wrote. It checks that the data is what the header names, and
 * nothing else: whether the block is committed, or even valid, the bytes alone cannot say. [any]
 *
 * @param genesis  the chain's genesis hash, which is part of each block's name; see
 *                 hotstuff_config_genesis_hash()
 * @param bytes    the bytes; copied
 * @param len      how many
 * @param out      receives the block: yours, free it with hotstuff_block_free()
 * @retval HOTSTUFF_E_NULL       an argument is NULL
 * @retval HOTSTUFF_E_DECODE     the bytes are no block, or no canonical one, or the data is not
 *                               what the header names
 * @retval HOTSTUFF_E_TOO_LARGE  larger than any block
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_decode(const hotstuff_hash *genesis,
                                      const uint8_t *bytes,
                                      size_t len,
                                      hotstuff_block **out);

/**
 * Frees a block that you own. [any]
 *
 * @param block  the block; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_block_free(hotstuff_block *block);

/* =============================================================================== the block tree */

/**
 * The value of a key in the app's state. [any]
 *
 * @param tree     the snapshot
 * @param key      the key
 * @param key_len  its length in bytes
 * @param out      receives the value: yours, free it with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL       an argument is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  the state has no such key
 * @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_state(const hotstuff_block_tree *tree,
                                          const uint8_t *key,
                                          size_t key_len,
                                          hotstuff_buffer **out);

/**
 * A block by its hash, committed or not. [any]
 *
 * @param tree  the snapshot
 * @param hash  the block's hash
 * @param out   receives the block: yours, free it with hotstuff_block_free()
 * @retval HOTSTUFF_E_NULL       an argument is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  no such block is stored here
 * @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_block(const hotstuff_block_tree *tree,
                                          const hotstuff_hash *hash,
                                          hotstuff_block **out);

/**
 * The committed block at a height. [any]
 *
 * @param tree    the snapshot
 * @param height  from 1 to hotstuff_block_tree_committed_height()
 * @param out     receives the block: yours, free it with hotstuff_block_free()
 * @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  no block is committed at that height; the genesis, at 0, is no
 *                               block
 * @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_block_at(const hotstuff_block_tree *tree,
                                             uint64_t height,
                                             hotstuff_block **out);

/**
 * The height of the last committed block; 0 while there is none. [any]
 *
 * @param tree  the snapshot
 * @param out   receives the height
 * @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
 * @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_committed_height(const hotstuff_block_tree *tree,
                                                     uint64_t *out);

/**
 * The highest quorum certificate that is known, as canonical bytes. [any]
 *
 * @param tree  the snapshot
 * @param out   receives the bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
 * @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_highest_qc(const hotstuff_block_tree *tree,
                                               hotstuff_buffer **out);

/**
 * The validators of the current epoch; in a callback, of the epoch of the block in question. [any]
 *
 * @param tree  the snapshot
 * @param out   receives the set: yours, free it with hotstuff_validator_set_free()
 * @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
 * @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_validators(const hotstuff_block_tree *tree,
                                               hotstuff_validator_set **out);

/**
 * The validators of an epoch, past ones included. [any]
 *
 * @param tree   the snapshot
 * @param epoch  from 0, the genesis's, to the current one
 * @param out    receives the set: yours, free it with hotstuff_validator_set_free()
 * @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  that epoch has not begun
 * @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_validators_of(const hotstuff_block_tree *tree,
                                                  uint64_t epoch,
                                                  hotstuff_validator_set **out);

/**
 * The certificate that began an epoch, as canonical bytes: signed by the validators of the epoch
 * before, it proves that the block which updates them is committed. [any]
 *
 * @param tree   the snapshot
 * @param epoch  from 1 to the current one
 * @param out    receives the bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  that epoch has not begun, or is the genesis's
 * @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_commit_qc_of(const hotstuff_block_tree *tree,
                                                 uint64_t epoch,
                                                 hotstuff_buffer **out);

/**
 * The proof that a block is committed, for whoever knows the validators of its epoch and nothing
 * else: see hotstuff_verify_commit_proof(). [any]
 *
 * @param tree  the snapshot
 * @param hash  the block's hash
 * @param out   receives the canonical bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL       an argument is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  no such block is committed here, or its certificates are not here
 *                               yet: ask again after the next commit
 * @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_commit_proof(const hotstuff_block_tree *tree,
                                                 const hotstuff_hash *hash,
                                                 hotstuff_buffer **out);

/**
 * The proof of who validates after an epoch, for whoever knows the validators of that epoch and
 * nothing else: see hotstuff_verify_epoch_proof(). Such proofs are kept for ever. [any]
 *
 * @param tree   the snapshot
 * @param epoch  from 0, the genesis's, to the one before the current
 * @param out    receives the canonical bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL       `tree` or `out` is NULL
 * @retval HOTSTUFF_E_NOT_FOUND  that epoch has not ended
 * @retval HOTSTUFF_E_STORAGE    the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE      the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_epoch_proof(const hotstuff_block_tree *tree,
                                                uint64_t epoch,
                                                hotstuff_buffer **out);

/**
 * Committed blocks from a height upward. The iterator holds the snapshot: it may outlive
 * hotstuff_block_tree_free(), and the pages stay pinned until it is freed. [any]
 *
 * @param tree    the snapshot
 * @param height  where to begin; 0 and 1 both mean the first block
 * @param out     receives the iterator: yours, free it with hotstuff_block_iter_free()
 * @retval HOTSTUFF_E_NULL  `tree` or `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_iter(const hotstuff_block_tree *tree,
                                         uint64_t height,
                                         hotstuff_block_iter **out);

/**
 * The next block. [serial]
 *
 * @param iter  the iterator
 * @param out   receives the block: yours, free it with hotstuff_block_free()
 * @retval HOTSTUFF_E_NULL     `iter` or `out` is NULL
 * @retval HOTSTUFF_E_DONE     there are no more
 * @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE    the tree was lent to a callback that has returned
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_iter_next(hotstuff_block_iter *iter,
                                         hotstuff_block **out);

/**
 * Frees an iterator. [any]
 *
 * @param iter  the iterator; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_block_iter_free(hotstuff_block_iter *iter);

/**
 * Frees a snapshot that you own. [any]
 *
 * @param tree  the snapshot; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_block_tree_free(hotstuff_block_tree *tree);

/* ======================================================================= what a replica is told */

/**
 * Commit rule: three certificates in consecutive views commit a block (HotStuff). The default.
 */
#define HOTSTUFF_COMMIT_RULE_THREE_CHAIN 0

/**
 * Commit rule: two certificates in consecutive views commit a block (Jolteon): one round sooner.
 */
#define HOTSTUFF_COMMIT_RULE_TWO_CHAIN 1

/**
 * To whom votes go: to all with up to 10 validators, to the next leader beyond. The default.
 */
#define HOTSTUFF_VOTE_TO_AUTO 0

/**
 * To whom votes go: to everyone. A dead next leader costs nothing extra.
 */
#define HOTSTUFF_VOTE_TO_ALL 1

/**
 * To whom votes go: only to the leader of the next view. The fewest messages.
 */
#define HOTSTUFF_VOTE_TO_NEXT_LEADER 2

/**
 * What a crash may take: nothing. Every step is synced to the disk before a word of it is said.
 * The default.
 */
#define HOTSTUFF_DURABILITY_SYNCED 0

/**
 * What a crash may take: nothing if the process dies, much if the machine does (power loss, kernel
 * crash). A replica that has lost its memory may then vote twice: if that can happen to more than
 * a third of the power at once, the chain is not safe. Far faster.
 */
#define HOTSTUFF_DURABILITY_PROCESS_CRASH 1

/**
 * Makes a config with the defaults. Required before a replica can be opened: the chain id, the
 * genesis validators and the data directory. [any]
 *
 * @param out  receives the config: yours, free it with hotstuff_config_free()
 * @retval HOTSTUFF_E_NULL  `out` is NULL
 */
HOTSTUFF_API HOTSTUFF_NODISCARD hotstuff_status hotstuff_config_new(hotstuff_config **out);

/**
 * Which chain this is. Required. Part of the genesis, and through it of every signature: no
 * message of one chain means anything on another. The same on all replicas. [serial]
 *
 * @param cfg       the config
 * @param chain_id  any number
 * @retval HOTSTUFF_E_NULL  `cfg` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_chain_id(hotstuff_config *cfg,
                                             uint64_t chain_id);

/**
 * The validators that the chain begins with. Required. Part of the genesis: the same on all
 * replicas, in any order. [serial]
 *
 * @param cfg  the config
 * @param set  at least one validator; copied
 * @retval HOTSTUFF_E_NULL              `cfg` or `set` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  the set is empty
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_genesis_validators(hotstuff_config *cfg,
                                                       const hotstuff_validator_set *set);

/**
 * Sets one key of the app's state that the chain begins with. None are needed. Part of the
 * genesis: the same on all replicas. Of two calls for one key the later stands. [serial]
 *
 * @param cfg        the config
 * @param key        the key; copied
 * @param key_len    1 to 500 bytes
 * @param value      the value; copied
 * @param value_len  0 to 16 MiB
 * @retval HOTSTUFF_E_NULL              `cfg` or `key` is NULL, or `value` is and `value_len` is
 *                                      not 0
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `key_len` is 0
 * @retval HOTSTUFF_E_TOO_LARGE         the key or the value is longer than that
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_genesis_state(hotstuff_config *cfg,
                                                  const uint8_t *key,
                                                  size_t key_len,
                                                  const uint8_t *value,
                                                  size_t value_len);

/**
 * The commit rule of the chain. Part of the genesis: the same on all replicas. Default:
 * ::HOTSTUFF_COMMIT_RULE_THREE_CHAIN. [serial]
 *
 * @param cfg   the config
 * @param rule  one of the HOTSTUFF_COMMIT_RULE_ numbers
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `rule` is none of them
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_commit_rule(hotstuff_config *cfg,
                                                uint32_t rule);

/**
 * How long a leader whose app has nothing to propose waits for work before it proposes an empty
 * block. Longer is quieter; shorter finds dead peers sooner. Part of the genesis: the same on all
 * replicas. Default: 5000. [serial]
 *
 * @param cfg          the config
 * @param max_idle_ms  milliseconds, 1 to 86400000 (a day)
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  out of that range
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_max_idle_ms(hotstuff_config *cfg,
                                                uint32_t max_idle_ms);

/**
 * The most data that a block may carry. Part of the genesis: the same on all replicas. Default:
 * 1048576 (1 MiB). [serial]
 *
 * @param cfg    the config
 * @param bytes  bytes, 1 to 67108864 (64 MiB)
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  out of that range
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_max_block_bytes(hotstuff_config *cfg,
                                                    uint64_t bytes);

/**
 * The hash of the genesis: of the chain id, the validators, the first state, the commit rule,
 * max_idle and the block limit. Replicas work together only if theirs are equal: operators compare
 * it before they start a chain. [any]
 *
 * @param cfg  the config
 * @param out  receives the hash
 * @retval HOTSTUFF_E_NULL   `cfg` or `out` is NULL
 * @retval HOTSTUFF_E_STATE  the chain id or the genesis validators are not set
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_genesis_hash(const hotstuff_config *cfg,
                                             hotstuff_hash *out);

/**
 * The most bytes that any message of this chain has: what a transport must be able to carry. It is
 * the block limit and 512 KiB, which certificates of a thousand validators need. With few of
 * them, small blocks and few blocks at once (hotstuff_config_set_sync()), messages are far
 * smaller. [any]
 *
 * @param cfg  the config
 * @param out  receives the number
 * @retval HOTSTUFF_E_NULL  `cfg` or `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_max_message_bytes(const hotstuff_config *cfg,
                                                  uint64_t *out);

/**
 * The key that the replica signs with. Without one, and without hotstuff_config_set_signer(), it
 * is a listener: it follows the chain and serves it, and never votes. A key that is not in the
 * validator set makes a listener too. Never run two replicas with one key: they would vote against
 * each other. [serial]
 *
 * @param cfg  the config
 * @param key  the key pair; copied
 * @retval HOTSTUFF_E_NULL  `cfg` or `key` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_keypair(hotstuff_config *cfg,
                                            const hotstuff_keypair *key);

/**
 * Who signs for the replica, in place of a key pair: where the key is not in this process. Of this
 * and hotstuff_config_set_keypair() the later call stands. On ::HOTSTUFF_OK the library has taken
 * over userdata: destroy() is called when the config, or its next key or signer, and all replicas
 * opened with this one have let go of it. The transport's key is another matter: see
 * hotstuff_tcp_config_set_peer_key(). [serial]
 *
 * @param cfg    the config
 * @param key    the public key of the validator that it signs for
 * @param table  the table; copied
 * @retval HOTSTUFF_E_NULL              an argument or sign() is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
 * @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
 *                                      know
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_signer(hotstuff_config *cfg,
                                           const hotstuff_validator_address *key,
                                           const hotstuff_signer_callbacks *table);

/**
 * Where the replica keeps its block tree and its voting record. Required. The directory is locked
 * while a replica has it open. Losing or restoring an old copy of it may make a validator vote
 * twice: treat it like the key. [serial]
 *
 * @param cfg   the config
 * @param path  path of a directory, UTF-8; copied
 * @retval HOTSTUFF_E_NULL              `cfg` or `path` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `path` is empty or not UTF-8
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_data_dir(hotstuff_config *cfg,
                                             const char *path);

/**
 * Whether hotstuff_replica_open() may create the directory and begin the chain in it. Default
 * false: a missing or empty directory is ::HOTSTUFF_E_NOT_FOUND, so that a disk that was not
 * mounted never becomes a validator without memory. True for the first start only. [serial]
 *
 * @param cfg     the config
 * @param create  whether it may
 * @retval HOTSTUFF_E_NULL  `cfg` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_create(hotstuff_config *cfg,
                                           bool create);

/**
 * The most that the database may grow to. It is address space, not disk: the file is sparse. A
 * replica whose map is full halts; it goes on after it is opened with a larger one. Default:
 * 1099511627776 (1 TiB). [serial]
 *
 * @param cfg    the config
 * @param bytes  bytes, 16777216 (16 MiB) to 70368744177664 (64 TiB)
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  out of that range
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_map_size(hotstuff_config *cfg,
                                             uint64_t bytes);

/**
 * What a crash may take. Default: ::HOTSTUFF_DURABILITY_SYNCED. [serial]
 *
 * @param cfg         the config
 * @param durability  one of the HOTSTUFF_DURABILITY_ numbers
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `durability` is none of them
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_durability(hotstuff_config *cfg,
                                               uint32_t durability);

/**
 * How long a view lasts before it is given up, if nothing goes wrong and if all does: the wait
 * doubles with each view that fails. The longest must exceed four message delays of the real
 * network. May differ between replicas, but not by much. Default: 1000, 60000. [serial]
 *
 * @param cfg         the config
 * @param initial_ms  milliseconds, 1 to 86400000 (a day)
 * @param max_ms      milliseconds, `initial_ms` to 86400000
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  out of these ranges; neither is set
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_view_timeout_ms(hotstuff_config *cfg,
                                                    uint32_t initial_ms,
                                                    uint32_t max_ms);

/**
 * Replaces the pacemaker: how long views last, and who leads them. The whole chain must have the
 * same view_leader(). On ::HOTSTUFF_OK the library has taken over userdata: destroy() is called
 * when the config, or its next pacemaker, and all replicas opened with this one have let go of
 * it. [serial]
 *
 * @param cfg    the config
 * @param table  the table; copied
 * @retval HOTSTUFF_E_NULL              `cfg` or `table` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
 * @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
 *                                      know
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_pacemaker(hotstuff_config *cfg,
                                              const hotstuff_pacemaker_callbacks *table);

/**
 * To whom votes go. May differ between replicas. Default: ::HOTSTUFF_VOTE_TO_AUTO. [serial]
 *
 * @param cfg      the config
 * @param vote_to  one of the HOTSTUFF_VOTE_TO_ numbers
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `vote_to` is none of them
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_vote_to(hotstuff_config *cfg,
                                            uint32_t vote_to);

/**
 * How the replica catches up with the others. Default: 256, 2000. [serial]
 *
 * @param cfg                  the config
 * @param request_limit        blocks asked for at once, 1 to 1024
 * @param response_timeout_ms  milliseconds that a peer has to answer, 1 to 86400000 (a day)
 * @retval HOTSTUFF_E_NULL              `cfg` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  out of these ranges; neither is set
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_sync(hotstuff_config *cfg,
                                         uint32_t request_limit,
                                         uint32_t response_timeout_ms);

/**
 * Frees a config. Replicas opened with it keep their copy. [any]
 *
 * @param cfg  the config; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_config_free(hotstuff_config *cfg);

/**
 * Sets an option by its name: for settings that newer libraries have and your header has not, and
 * for config files. [serial]
 *
 * | name                        | value                             | default       |
 * |-----------------------------|-----------------------------------|---------------|
 * | "chain.id"                  | a number                          | (required)    |
 * | "chain.commit_rule"         | "three_chain", "two_chain"        | three_chain   |
 * | "chain.leader_rule"         | "active", "round_robin"           | active        |
 * | "chain.max_idle_ms"         | 1 to 86400000                     | 5000          |
 * | "chain.max_block_bytes"     | 1 to 67108864                     | 1048576       |
 * | "storage.data_dir"          | a path                            | (required)    |
 * | "storage.create"            | "true", "false"                   | false         |
 * | "storage.map_bytes"         | 16777216 to 70368744177664        | 1099511627776 |
 * | "storage.durability"        | "synced", "process_crash"         | synced        |
 * | "pacemaker.base_ms"         | 1 to 86400000: the first time-out | 1000          |
 * | "pacemaker.max_ms"          | "pacemaker.base_ms" to 86400000   | 60000         |
 * | "vote_to"                   | "auto", "all", "next_leader"      | auto          |
 * | "sync.request_limit"        | 1 to 1024 blocks                  | 256           |
 * | "sync.response_timeout_ms"  | 1 to 86400000                     | 2000          |
 * | "sync.interval_ms"          | 1 to 86400000: asks without news  | 10000         |
 * | "limits.pending_blocks_max" | 8 to 1048576, that await commit   | 1024          |
 * | "limits.pending_bytes_max"  | 65536 to 1099511627776, of data   | 268435456     |
 * | "limits.views_ahead_max"    | 1 to 65536, whose votes are kept  | 32            |
 *
 * What begins with "chain." is part of the genesis: the same on all replicas. By the leader rule
 * "active" those validators lead in turn who have signed lately, so that a dead one soon costs no
 * time-outs; by "round_robin" all.
 *
 * @param cfg    the config
 * @param name   one of these names
 * @param value  its value; numbers are decimal digits, times in milliseconds, sizes in bytes
 * @retval HOTSTUFF_E_NULL              an argument is NULL
 * @retval HOTSTUFF_E_UNSUPPORTED       this library knows no option of that name
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  the option has no such value; nothing is changed
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_config_set_option(hotstuff_config *cfg,
                                           const char *name,
                                           const char *value);

/* ====================================================================================== the app */

/**
 * From propose_block: there is nothing to propose. The app is asked again after
 * hotstuff_replica_notify(), or when the chain has been idle for max_idle.
 */
#define HOTSTUFF_PROPOSE_DEFER 1

/**
 * From validate_block: no correct leader proposes this block.
 */
#define HOTSTUFF_BLOCK_INVALID 0

/**
 * From validate_block: the block is right.
 */
#define HOTSTUFF_BLOCK_VALID 1

/**
 * The app: what is replicated. It is a deterministic function of a block and the state of its
 * parent: the same answer on every replica, today and after a restart. It keeps what must last in
 * the state updates and nowhere else.
 *
 * The callbacks of one replica run on one thread, one at a time. They may take long: that costs
 * the view, not the replica. They may call any function that is not tagged [not-in-callback].
 */
typedef struct hotstuff_app_callbacks {
    /**
     * Set by hotstuff_app_callbacks_init().
     */
    size_t struct_size;
    /**
     * Given to each callback; the library does not look at it.
     */
    void *userdata;
    /**
     * Frees userdata: called once, after the last other callback has returned, on any thread. May
     * be NULL.
     */
    void (*destroy)(void *userdata);
    /**
     * Makes a block: fill `updates` by hotstuff_updates_set_data() and the others and return
     * ::HOTSTUFF_OK, or return ::HOTSTUFF_PROPOSE_DEFER. Anything else is a failure: nothing is
     * proposed in this view. It is asked while the votes for the block below come in: what it
     * makes may come to nothing, and is then asked for again, on another block. The updates must
     * be those that validate_block() gives for this block on the other replicas: here it is not
     * asked again. Required.
     */
    int32_t (*propose_block)(void *userdata,
                             const hotstuff_propose_block_request *request,
                             hotstuff_updates *updates);
    /**
     * Judges a block: say in `updates` what it changes and return ::HOTSTUFF_BLOCK_VALID, or
     * return ::HOTSTUFF_BLOCK_INVALID. Anything else means undecided, as when a disk fails: the
     * replica does not vote, and nothing is held against the leader. Required.
     */
    int32_t (*validate_block)(void *userdata,
                              const hotstuff_validate_block_request *request,
                              hotstuff_updates *updates);
} hotstuff_app_callbacks;

/**
 * The data of the block that is proposed. Of two calls the later stands. Ignored in
 * validate_block. [serial]
 *
 * @param updates  the answer
 * @param data     the bytes; copied
 * @param len      how many: at least 1, at most hotstuff_config_set_max_block_bytes()
 * @retval HOTSTUFF_E_NULL              `updates` or `data` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `len` is 0: return ::HOTSTUFF_PROPOSE_DEFER if there is no
 *                                      work, empty blocks are the library's own
 * @retval HOTSTUFF_E_TOO_LARGE         the block limit
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_updates_set_data(hotstuff_updates *updates,
                                          const uint8_t *data,
                                          size_t len);

/**
 * Sets one key of the app's state. Updates are made in the order of the calls. A block may make
 * 262144 of them, of 256 MiB together. [serial]
 *
 * @param updates    the answer
 * @param key        the key; copied
 * @param key_len    1 to 500 bytes
 * @param value      the value; copied
 * @param value_len  0 to 16 MiB
 * @retval HOTSTUFF_E_NULL              `updates` or `key` is NULL, or `value` is and `value_len`
 *                                      is not 0
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `key_len` is 0
 * @retval HOTSTUFF_E_TOO_LARGE         one of the limits
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_updates_set_state(hotstuff_updates *updates,
                                           const uint8_t *key,
                                           size_t key_len,
                                           const uint8_t *value,
                                           size_t value_len);

/**
 * Deletes one key of the app's state, whether or not it is there. [serial]
 *
 * @param updates  the answer
 * @param key      the key; copied
 * @param key_len  1 to 500 bytes
 * @retval HOTSTUFF_E_NULL              `updates` or `key` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `key_len` is 0
 * @retval HOTSTUFF_E_TOO_LARGE         one of the limits of hotstuff_updates_set_state()
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_updates_delete_state(hotstuff_updates *updates,
                                              const uint8_t *key,
                                              size_t key_len);

/**
 * Gives a validator a power, from the epoch on that begins once the block is committed. Of two
 * calls for one validator the later stands. [serial]
 *
 * @param updates  the answer
 * @param key      the validator
 * @param power    its voting power; 0 removes it
 * @retval HOTSTUFF_E_NULL       `updates` or `key` is NULL
 * @retval HOTSTUFF_E_TOO_LARGE  the block has 2048 such updates already
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_updates_set_validator(hotstuff_updates *updates,
                                               const hotstuff_validator_address *key,
                                               uint64_t power);

/**
 * The view in which the block will be proposed; 0 for NULL. [any]
 *
 * @param request  the request
 */
HOTSTUFF_API
uint64_t hotstuff_propose_block_request_cur_view(const hotstuff_propose_block_request *request);

/**
 * The hash of the block to build on; the genesis hash for the first block. [any]
 *
 * @param request  the request
 * @param out      receives the hash; zero if `request` is NULL
 */
HOTSTUFF_API
void hotstuff_propose_block_request_prev_block(const hotstuff_propose_block_request *request,
                                               hotstuff_hash *out);

/**
 * How long it is, at least, until this replica gives the view up, in milliseconds, as of the call
 * of propose_block(); 0 for NULL. A hint: a block that comes later is not used, and one that comes
 * just before is late for the others; half of it is a good plan. [any]
 *
 * @param request  the request
 */
HOTSTUFF_API
uint32_t hotstuff_propose_block_request_budget_ms(const hotstuff_propose_block_request *request);

/**
 * The chain, with the state as of the block to build on. Borrowed: valid during the callback. NULL
 * for NULL. [any]
 *
 * @param request  the request
 */
HOTSTUFF_API
const hotstuff_block_tree *hotstuff_propose_block_request_block_tree(const hotstuff_propose_block_request *request);

/**
 * The view that the replica is in; 0 for NULL. [any]
 *
 * @param request  the request
 */
HOTSTUFF_API
uint64_t hotstuff_validate_block_request_cur_view(const hotstuff_validate_block_request *request);

/**
 * The block in question. Its data is never empty: of the blocks that the library makes alone,
 * which change nothing, the app is not asked. Borrowed: valid during the callback. NULL for
 * NULL. [any]
 *
 * @param request  the request
 */
HOTSTUFF_API
const hotstuff_block *hotstuff_validate_block_request_proposed_block(const hotstuff_validate_block_request *request);

/**
 * The chain, with the state as of the block's parent. Borrowed: valid during the callback. NULL
 * for NULL. [any]
 *
 * @param request  the request
 */
HOTSTUFF_API
const hotstuff_block_tree *hotstuff_validate_block_request_block_tree(const hotstuff_validate_block_request *request);

/**
 * Whether the replica is catching up: the block has a certificate already. False for NULL. [any]
 *
 * @param request  the request
 */
HOTSTUFF_API
bool hotstuff_validate_block_request_is_sync(const hotstuff_validate_block_request *request);

/**
 * Zeroes a table and notes its size. Call it before you fill the table. [any]
 *
 * @param table        the table
 * @param struct_size  `sizeof *table`
 */
HOTSTUFF_API
void hotstuff_app_callbacks_init(hotstuff_app_callbacks *table,
                                 size_t struct_size);

/* ================================================================================== the network */

/**
 * A transport of your own. All but receive() may be called from several threads of the library at
 * once, also while receive() waits, and must not block.
 *
 * It may lose, delay, repeat and reorder messages. What it must do is say truly who sent a
 * message: not for safety, every message is signed, but so that a peer's flood costs that peer and
 * no other.
 */
typedef struct hotstuff_network_callbacks {
    /**
     * Set by hotstuff_network_callbacks_init().
     */
    size_t struct_size;
    /**
     * Given to each callback; the library does not look at it.
     */
    void *userdata;
    /**
     * Frees userdata: called once, after the last other callback has returned, on any thread. May
     * be NULL.
     */
    void (*destroy)(void *userdata);
    /**
     * `peer` is a validator: keep a connection to it. Called when the replica starts, for each
     * validator but itself, and for each one added when its epoch begins. The result is ignored.
     * May be NULL.
     */
    int32_t (*connect)(void *userdata, const hotstuff_validator_address *peer);
    /**
     * `peer` is a validator no longer, and the epoch without it is well under way. It may still
     * follow the chain, as a listener. The result is ignored. May be NULL.
     */
    int32_t (*disconnect)(void *userdata, const hotstuff_validator_address *peer);
    /**
     * Queues a message for a peer; the bytes are valid during the call. If it cannot be queued,
     * return ::HOTSTUFF_E_WOULD_BLOCK: the message is lost, and the protocol sends again.
     * Required.
     */
    int32_t (*send)(void *userdata,
                    const hotstuff_validator_address *peer,
                    const uint8_t *message,
                    size_t len);
    /**
     * Queues a message for every connected peer but oneself. NULL: the library calls send() for
     * each peer that it has asked to connect.
     */
    int32_t (*broadcast)(void *userdata, const uint8_t *message, size_t len);
    /**
     * Waits for a message, at most `timeout_ms` milliseconds: hotstuff_inbox_put() and
     * ::HOTSTUFF_OK, or ::HOTSTUFF_E_TIMEOUT, or ::HOTSTUFF_E_CLOSED if none will ever come.
     * Called from one thread only. It must wait: after one that returns early with nothing, the
     * library waits a little itself. NULL: the host calls hotstuff_replica_deliver() instead.
     */
    int32_t (*receive)(void *userdata, uint32_t timeout_ms, hotstuff_inbox *inbox);
    /**
     * Makes the receive() that waits return, or else the next one. May be NULL: then receive() is
     * called with at most 100 ms.
     */
    void (*wake)(void *userdata);
} hotstuff_network_callbacks;

/**
 * Hands over a received message. At most one in each call of receive(). [any]
 *
 * @param inbox    what receive() was given
 * @param from     the peer, as the transport has authenticated it
 * @param message  the bytes; copied
 * @param len      how many; at most hotstuff_config_max_message_bytes()
 * @retval HOTSTUFF_E_NULL       an argument is NULL
 * @retval HOTSTUFF_E_TOO_LARGE  longer than any message of this chain: drop it
 * @retval HOTSTUFF_E_STATE      there is a message in it already
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_inbox_put(hotstuff_inbox *inbox,
                                   const hotstuff_validator_address *from,
                                   const uint8_t *message,
                                   size_t len);

/**
 * Zeroes a table and notes its size. Call it before you fill the table. [any]
 *
 * @param table        the table
 * @param struct_size  `sizeof *table`
 */
HOTSTUFF_API
void hotstuff_network_callbacks_init(hotstuff_network_callbacks *table,
                                     size_t struct_size);

/**
 * Makes a network of a table of callbacks. On ::HOTSTUFF_OK the library has taken over userdata,
 * and will call destroy(). [any]
 *
 * @param table  the table; copied
 * @param out    receives the network: yours, until hotstuff_replica_open() takes it
 * @retval HOTSTUFF_E_NULL              `table`, `out` or send() is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
 * @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
 *                                      know
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_network_from_callbacks(const hotstuff_network_callbacks *table,
                                                hotstuff_network **out);

/**
 * Frees a network that no replica has taken. [any]
 *
 * @param network  the network; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_network_free(hotstuff_network *network);

/* ============================================================================= the network: TCP */

/**
 * Makes a TCP config that listens nowhere and knows nobody. [any]
 *
 * @param out  receives the config: yours, free it with hotstuff_tcp_config_free()
 * @retval HOTSTUFF_E_NULL  `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_tcp_config_new(hotstuff_tcp_config **out);

/**
 * Where to listen. Without it the network only dials. [serial]
 *
 * @param cfg   the config
 * @param addr  host:port, UTF-8, copied: "0.0.0.0:9000", "[::1]:0"; port 0 picks a free one, see
 *              hotstuff_network_local_addr()
 * @retval HOTSTUFF_E_NULL              `cfg` or `addr` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `addr` is not UTF-8
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_tcp_config_set_listen(hotstuff_tcp_config *cfg,
                                               const char *addr);

/**
 * Where a peer listens, and the key it must prove. Of two calls for one peer the later
 * stands. [serial]
 *
 * @param cfg   the config
 * @param peer  the peer's public key
 * @param addr  host:port, UTF-8, copied: "replica1.example.org:9000", "[2001:db8::1]:9000". The
 *              name is looked up whenever a connection is made
 * @retval HOTSTUFF_E_NULL              an argument is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `addr` is not UTF-8
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_tcp_config_add_peer(hotstuff_tcp_config *cfg,
                                             const hotstuff_validator_address *peer,
                                             const char *addr);

/**
 * Under which key a peer is met, if it is not its validator's own: where that is in a security
 * module (hotstuff_config_set_signer()), the peer gives hotstuff_network_tcp() a key pair of its
 * own for the transport, and all others name the public half here. It speaks for nobody in the
 * protocol: what is signed there is signed by the validator's key. Of two calls for one peer the
 * later stands. [serial]
 *
 * @param cfg   the config
 * @param peer  the validator
 * @param key   the public key that it proves
 * @retval HOTSTUFF_E_NULL  an argument is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_tcp_config_set_peer_key(hotstuff_tcp_config *cfg,
                                                 const hotstuff_validator_address *peer,
                                                 const hotstuff_validator_address *key);

/**
 * How many connections of unknown keys are let in: replicas that follow the chain without being
 * validators. Default 0: none. [serial]
 *
 * @param cfg          the config
 * @param connections  how many at once
 * @retval HOTSTUFF_E_NULL  `cfg` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_tcp_config_set_max_listeners(hotstuff_tcp_config *cfg,
                                                      uint32_t connections);

/**
 * The longest message either way. A peer that sends a longer one is cut off. Default: 8388608
 * (8 MiB). [serial]
 *
 * @param cfg    the config
 * @param bytes  at least what hotstuff_config_max_message_bytes() gives, and less than
 *               hotstuff_tcp_config_set_queue_bytes(); hotstuff_network_tcp() and
 *               hotstuff_replica_open() check it
 * @retval HOTSTUFF_E_NULL       `cfg` is NULL
 * @retval HOTSTUFF_E_TOO_LARGE  beyond the address space
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_tcp_config_set_max_message_bytes(hotstuff_tcp_config *cfg,
                                                          uint64_t bytes);

/**
 * Messages that wait to be sent to one peer. When it is full, messages to that peer are lost, and
 * the protocol sends again. Votes have a queue of their own that no large block can hold up.
 * Default: 16777216 (16 MiB). [serial]
 *
 * @param cfg    the config
 * @param bytes  bytes for each peer; more than hotstuff_tcp_config_set_max_message_bytes()
 * @retval HOTSTUFF_E_NULL  `cfg` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_tcp_config_set_queue_bytes(hotstuff_tcp_config *cfg,
                                                    uint64_t bytes);

/**
 * Frees a TCP config. Networks made with it keep their copy. [any]
 *
 * @param cfg  the config; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_tcp_config_free(hotstuff_tcp_config *cfg);

/**
 * Opens a TCP mesh under TLS 1.3, in which each end proves its Ed25519 key (raw public keys, RFC
 * 7250); keys that are not configured are refused. It listens at once, and connects when a replica
 * that has taken it starts. [any]
 *
 * @param cfg  the config; copied
 * @param key  the key that this end proves: the validator's own, or the one that the others have
 *             been told by hotstuff_tcp_config_set_peer_key(); copied
 * @param out  receives the network: yours, until hotstuff_replica_open() takes it
 * @param err  receives a described error, yours; may be NULL
 * @retval HOTSTUFF_E_NULL              `cfg`, `key` or `out` is NULL
 * @retval HOTSTUFF_E_IO                the address to listen on cannot be had
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  an address is not host:port, two peers have one key, a peer
 *                                      has this end's, or a limit does not fit the others
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_network_tcp(const hotstuff_tcp_config *cfg,
                                     const hotstuff_keypair *key,
                                     hotstuff_network **out,
                                     hotstuff_error **err);

/**
 * Where a TCP network listens, with the port it was given: "127.0.0.1:40213". To be asked before a
 * replica takes the network. [any]
 *
 * @param network  the network
 * @param out      receives the text, not terminated by NUL: yours, free it with
 *                 hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL         `network` or `out` is NULL
 * @retval HOTSTUFF_E_NOT_FOUND    it does not listen
 * @retval HOTSTUFF_E_UNSUPPORTED  it is not a TCP network
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_network_local_addr(const hotstuff_network *network,
                                            hotstuff_buffer **out);

/* ======================================================================================= events */

/**
 * Event: a view has begun. epoch, view, peer: its leader.
 */
#define HOTSTUFF_EVENT_START_VIEW 1

/**
 * Event: this replica has proposed a block. epoch, view, height, block.
 */
#define HOTSTUFF_EVENT_PROPOSED 2

/**
 * Event: this replica has voted. epoch, view, block.
 */
#define HOTSTUFF_EVENT_VOTED 3

/**
 * Event: this replica has collected a quorum of votes. epoch, view, block.
 */
#define HOTSTUFF_EVENT_QC_COLLECTED 4

/**
 * Event: a block is committed. epoch, view, height, block.
 */
#define HOTSTUFF_EVENT_COMMITTED 5

/**
 * Event: a view has run out. epoch, view.
 */
#define HOTSTUFF_EVENT_VIEW_TIMEOUT 6

/**
 * Event: an epoch has begun, with other validators. epoch, block: what has updated them.
 */
#define HOTSTUFF_EVENT_VALIDATORS_CHANGED 7

/**
 * Event: catching up has begun. peer: who is asked.
 */
#define HOTSTUFF_EVENT_SYNC_STARTED 8

/**
 * Event: catching up has ended. height.
 */
#define HOTSTUFF_EVENT_SYNC_FINISHED 9

/**
 * Event: a validator has signed two statements that contradict each other. epoch, view, peer: the
 * validator; count: one of the HOTSTUFF_EVIDENCE_ numbers; hotstuff_event_evidence(). Told once
 * for each validator, epoch and kind, also across restarts.
 */
#define HOTSTUFF_EVENT_EVIDENCE 10

/**
 * Event: the bounded queue of events has overflowed. count: how many were lost.
 */
#define HOTSTUFF_EVENT_DROPPED 11

/**
 * Event: the replica has stopped itself; the message says why and what to do.
 */
#define HOTSTUFF_EVENT_FATAL 12

/**
 * Event: a quorum has certified a block that this replica's app calls invalid. height, block.
 */
#define HOTSTUFF_EVENT_DIVERGED 13

/**
 * Event: the app has failed, or has answered what it must not.
 */
#define HOTSTUFF_EVENT_APP_FAILED 14

/**
 * Event: a peer was asked for blocks in vain. peer.
 */
#define HOTSTUFF_EVENT_SYNC_FAILED 15

/**
 * Event: a leader has proposed a block that breaks a rule. epoch, view, block, peer: the leader.
 */
#define HOTSTUFF_EVENT_BLOCK_REFUSED 16

/**
 * Event: too many blocks await commit: only empty ones are proposed and accepted. count.
 */
#define HOTSTUFF_EVENT_TOO_MANY_PENDING 17

/**
 * Event: something that an operator should look at; the message says what.
 */
#define HOTSTUFF_EVENT_WARNING 18

/**
 * Event: this replica's own key has signed what its voting record does not know: another process
 * uses the key, or the data directory is an old copy. The replica signs nothing more until it is
 * started again, and goes on as a listener. epoch, view: of what was signed.
 */
#define HOTSTUFF_EVENT_TWIN_SEEN 19

/**
 * Who is told what happens in a replica.
 */
typedef struct hotstuff_event_callbacks {
    /**
     * Set by hotstuff_event_callbacks_init().
     */
    size_t struct_size;
    /**
     * Given to each callback; the library does not look at it.
     */
    void *userdata;
    /**
     * Frees userdata: called once, after the last other callback has returned, on any thread. May
     * be NULL.
     */
    void (*destroy)(void *userdata);
    /**
     * Something has happened. Called on one thread, in order; `event` is valid during the call. If
     * it is slow, events are lost and counted: they never hold up the replica. Required.
     */
    void (*on_event)(void *userdata, const hotstuff_event *event);
} hotstuff_event_callbacks;

/**
 * What happened: one of the HOTSTUFF_EVENT_ numbers. New ones will come: ignore those that you do
 * not know. 0 for NULL. [any]
 *
 * @param event  the event
 */
HOTSTUFF_API uint32_t hotstuff_event_kind(const hotstuff_event *event);

/**
 * When it happened: nanoseconds of Unix time; 0 for NULL. [any]
 *
 * @param event  the event
 */
HOTSTUFF_API uint64_t hotstuff_event_time_ns(const hotstuff_event *event);

/**
 * The epoch it is about; 0 if its kind has none. [any]
 *
 * @param event  the event
 */
HOTSTUFF_API uint64_t hotstuff_event_epoch(const hotstuff_event *event);

/**
 * The view it is about; 0 if its kind has none. [any]
 *
 * @param event  the event
 */
HOTSTUFF_API uint64_t hotstuff_event_view(const hotstuff_event *event);

/**
 * The height it is about; 0 if its kind has none. [any]
 *
 * @param event  the event
 */
HOTSTUFF_API uint64_t hotstuff_event_height(const hotstuff_event *event);

/**
 * How many; 0 if its kind has no count. [any]
 *
 * @param event  the event
 */
HOTSTUFF_API uint64_t hotstuff_event_count(const hotstuff_event *event);

/**
 * What happened, and what to do about it if something is to be done: a sentence in English, UTF-8,
 * valid during the callback. Never NULL. [any]
 *
 * @param event  the event
 */
HOTSTUFF_API const char *hotstuff_event_message(const hotstuff_event *event);

/**
 * The evidence, as canonical bytes that can be verified anywhere: see hotstuff_verify_evidence().
 * Borrowed: valid during the callback. No bytes if it is no ::HOTSTUFF_EVENT_EVIDENCE. [any]
 *
 * @param event  the event
 * @param out    receives the bytes; may be NULL
 */
HOTSTUFF_API void hotstuff_event_evidence(const hotstuff_event *event, hotstuff_bytes *out);

/**
 * The block it is about; false, and `out` unchanged, if there is none. [any]
 *
 * @param event  the event
 * @param out    receives the block's hash; may be NULL
 */
HOTSTUFF_API bool hotstuff_event_block(const hotstuff_event *event, hotstuff_hash *out);

/**
 * The validator it is about; false, and `out` unchanged, if there is none. [any]
 *
 * @param event  the event
 * @param out    receives the validator's address; may be NULL
 */
HOTSTUFF_API
bool hotstuff_event_peer(const hotstuff_event *event,
                         hotstuff_validator_address *out);

/**
 * Zeroes a table and notes its size. Call it before you fill the table. [any]
 *
 * @param table        the table
 * @param struct_size  `sizeof *table`
 */
HOTSTUFF_API
void hotstuff_event_callbacks_init(hotstuff_event_callbacks *table,
                                   size_t struct_size);

/* ========================================================== proofs: verifying without a replica */

/**
 * Phase of a quorum certificate: of a block that does not update the validators.
 */
#define HOTSTUFF_PHASE_GENERIC 0

/**
 * Phase of a quorum certificate: the first of a block that updates the validators.
 */
#define HOTSTUFF_PHASE_PREPARE 1

/**
 * Phase of a quorum certificate: the second; there is none under the two-chain commit rule.
 */
#define HOTSTUFF_PHASE_PRECOMMIT 2

/**
 * Phase of a quorum certificate: the last, which commits the block and ends its epoch.
 */
#define HOTSTUFF_PHASE_COMMIT 3

/**
 * What a quorum certificate says.
 */
typedef struct hotstuff_qc_info {
    /**
     * Set by hotstuff_qc_info_init().
     */
    size_t struct_size;
    /**
     * The epoch, whose validators have signed it.
     */
    uint64_t epoch;
    /**
     * The view of the epoch in which they have.
     */
    uint64_t view;
    /**
     * The power of those who have signed, together; 0 for the certificate of the genesis.
     */
    uint64_t signed_power;
    /**
     * One of the HOTSTUFF_PHASE_ numbers.
     */
    uint32_t phase;
    /**
     * How many have signed.
     */
    uint32_t signer_count;
    /**
     * What they have signed for; the genesis hash in the certificate of the genesis.
     */
    hotstuff_hash block;
} hotstuff_qc_info;

/**
 * Zeroes a struct and notes its size. Call it before the struct is filled. [any]
 *
 * @param info         the struct
 * @param struct_size  `sizeof *info`
 */
HOTSTUFF_API void hotstuff_qc_info_init(hotstuff_qc_info *info, size_t struct_size);

/**
 * Checks a quorum certificate: that validators of `trusted` with more than two thirds of its power
 * have signed it, on this chain, in its epoch. It needs no replica and no chain, and believes
 * nothing. A certificate alone commits no block, unless its phase is ::HOTSTUFF_PHASE_COMMIT; see
 * hotstuff_verify_commit_proof(). [any]
 *
 * @param genesis  the chain's genesis hash; see hotstuff_config_genesis_hash()
 * @param trusted  the validators of the certificate's epoch
 * @param qc       the canonical bytes, from anywhere; see hotstuff_block_tree_highest_qc()
 * @param len      how many; at most 128 KiB
 * @param info     initialised by hotstuff_qc_info_init(); receives what it says; may be NULL
 * @retval HOTSTUFF_E_NULL              `genesis`, `trusted` or `qc` is NULL
 * @retval HOTSTUFF_E_DECODE            the bytes are no certificate
 * @retval HOTSTUFF_E_TOO_LARGE         no certificate is so large
 * @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`
 * @retval HOTSTUFF_E_NO_QUORUM         those who have signed it are no quorum
 * @retval HOTSTUFF_E_BAD_SIGNATURE     a signature does not verify, or not on this chain
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  it has not one place for each validator of `trusted`, or
 *                                      is of view 0 and not the genesis's, or `trusted` is empty,
 *                                      or `info` was not initialised
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_verify_qc(const hotstuff_hash *genesis,
                                   const hotstuff_validator_set *trusted,
                                   const uint8_t *qc,
                                   size_t len,
                                   hotstuff_qc_info *info);

/**
 * Checks that a block is committed: that the validators of `trusted` have made it final. All
 * blocks below it are then committed too. It needs no replica and no chain, and believes nothing
 * but that less than a third of the power of `trusted` is dishonest. Of a block that is carried
 * beside the proof, take the hash from hotstuff_block_decode() and hotstuff_block_hash(): it
 * covers height, view, parent, data and updates. [any]
 *
 * @param genesis  the chain's genesis hash; see hotstuff_config_genesis_hash()
 * @param trusted  the validators of the block's epoch
 * @param block    the block's hash
 * @param proof    the canonical bytes, from anywhere; see hotstuff_block_tree_commit_proof()
 * @param len      how many; at most 16 MiB
 * @param info     initialised by hotstuff_qc_info_init(); receives what the proof's last
 *                 certificate says, which is of this block or of one above it; may be NULL
 * @retval HOTSTUFF_E_NULL              `genesis`, `trusted`, `block` or `proof` is NULL
 * @retval HOTSTUFF_E_DECODE            the bytes are no proof
 * @retval HOTSTUFF_E_TOO_LARGE         no proof is so large
 * @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`
 * @retval HOTSTUFF_E_NO_QUORUM         those who have signed it are no quorum
 * @retval HOTSTUFF_E_BAD_SIGNATURE     a signature does not verify, or not on this chain
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  it proves something else: another block, or nothing; or
 *                                      `trusted` is empty, or `info` was not initialised
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_verify_commit_proof(const hotstuff_hash *genesis,
                                             const hotstuff_validator_set *trusted,
                                             const hotstuff_hash *block,
                                             const uint8_t *proof,
                                             size_t len,
                                             hotstuff_qc_info *info);

/**
 * Checks who validates in the next epoch: that the validators of `trusted` have committed a block
 * that updates them. Call it in a loop, from the genesis validators or any others that you trust,
 * to follow the chain over as many epochs as you like, with no replica and no disk. [any]
 *
 * @param genesis  the chain's genesis hash; see hotstuff_config_genesis_hash()
 * @param trusted  the validators of the epoch that ends; see hotstuff_validator_set_epoch()
 * @param proof    the canonical bytes, from anywhere; see hotstuff_block_tree_epoch_proof()
 * @param len      how many; at most 512 KiB
 * @param next     receives the validators of the next epoch: yours, free them with
 *                 hotstuff_validator_set_free()
 * @retval HOTSTUFF_E_NULL              an argument is NULL
 * @retval HOTSTUFF_E_DECODE            the bytes are no proof
 * @retval HOTSTUFF_E_TOO_LARGE         no proof is so large
 * @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`
 * @retval HOTSTUFF_E_NO_QUORUM         those who have signed it are no quorum
 * @retval HOTSTUFF_E_BAD_SIGNATURE     a signature does not verify, or not on this chain
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  it does not prove that the epoch has ended, or `trusted` is
 *                                      empty
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_verify_epoch_proof(const hotstuff_hash *genesis,
                                            const hotstuff_validator_set *trusted,
                                            const uint8_t *proof,
                                            size_t len,
                                            hotstuff_validator_set **next);

/* ===================================================================================== evidence */

/**
 * Evidence: two votes in one view, for different things.
 */
#define HOTSTUFF_EVIDENCE_DOUBLE_VOTE 1

/**
 * Evidence: two blocks proposed in one view.
 */
#define HOTSTUFF_EVIDENCE_DOUBLE_PROPOSAL 2

/**
 * Evidence: a time-out that hides a quorum certificate on which its signer had voted.
 */
#define HOTSTUFF_EVIDENCE_LYING_TIMEOUT 3

/**
 * What a piece of evidence claims. Whether it is true says hotstuff_verify_evidence().
 */
typedef struct hotstuff_evidence_info {
    /**
     * Set by hotstuff_evidence_info_init().
     */
    size_t struct_size;
    /**
     * One of the HOTSTUFF_EVIDENCE_ numbers.
     */
    uint32_t kind;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * The epoch, whose validators judge it.
     */
    uint64_t epoch;
    /**
     * The view of the two votes or proposals; of a lying time-out, the view timed out.
     */
    uint64_t view;
    /**
     * The same; of a lying time-out, the view of the vote that proves the lie.
     */
    uint64_t vote_view;
    /**
     * The accused.
     */
    hotstuff_validator_address validator;
} hotstuff_evidence_info;

/**
 * Zeroes a struct and notes its size. Call it before the struct is filled. [any]
 *
 * @param info         the struct
 * @param struct_size  `sizeof *info`
 */
HOTSTUFF_API
void hotstuff_evidence_info_init(hotstuff_evidence_info *info,
                                 size_t struct_size);

/**
 * A piece of evidence that this replica keeps, in the order of epochs. The first one of each
 * validator, epoch and kind is kept for ever, at most 4096 in all. Other replicas may keep others:
 * each keeps what it has seen itself. [any], also in callbacks
 *
 * @param replica  the replica, also before start, after stop, and when it has halted
 * @param index    from 0 on
 * @param out      receives the canonical bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL     `replica` or `out` is NULL
 * @retval HOTSTUFF_E_DONE     there are not so many
 * @retval HOTSTUFF_E_STORAGE  the database failed, or too many snapshots are alive
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_evidence_at(const hotstuff_replica *replica,
                                             size_t index,
                                             hotstuff_buffer **out);

/**
 * Reads what a piece of evidence claims, without verifying it. [any]
 *
 * @param evidence  the bytes, from anywhere
 * @param len       how many
 * @param out       initialised by hotstuff_evidence_info_init(); receives the claim
 * @retval HOTSTUFF_E_NULL              `evidence` or `out` is NULL
 * @retval HOTSTUFF_E_DECODE            the bytes are no evidence
 * @retval HOTSTUFF_E_TOO_LARGE         no evidence is so large
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_evidence_read(const uint8_t *evidence,
                                       size_t len,
                                       hotstuff_evidence_info *out);

/**
 * Checks that a piece of evidence convicts its accused: that the accused belongs to `trusted`,
 * and has signed, on this chain, two statements that no honest validator signs both of. It needs
 * no replica and no chain, and believes nothing. [any]
 *
 * @param genesis   the chain's genesis hash; see hotstuff_config_genesis_hash()
 * @param trusted   the validators of the evidence's epoch; see hotstuff_evidence_read()
 * @param evidence  the bytes, from anywhere
 * @param len       how many
 * @param offender  receives who is convicted; may be NULL
 * @retval HOTSTUFF_E_NULL              `genesis`, `trusted` or `evidence` is NULL
 * @retval HOTSTUFF_E_DECODE            the bytes are no evidence
 * @retval HOTSTUFF_E_TOO_LARGE         no evidence is so large
 * @retval HOTSTUFF_E_NOT_FOUND         it is of another epoch than `trusted`, or the accused is
 *                                      not in `trusted`
 * @retval HOTSTUFF_E_BAD_SIGNATURE     the accused has not signed both statements on this chain
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  an honest validator may sign both, or `trusted` is empty
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_verify_evidence(const hotstuff_hash *genesis,
                                         const hotstuff_validator_set *trusted,
                                         const uint8_t *evidence,
                                         size_t len,
                                         hotstuff_validator_address *offender);

/* =========================================================================== state and counters */

/**
 * Role: it follows the chain and serves it, and does not vote.
 */
#define HOTSTUFF_ROLE_LISTENER 0

/**
 * Role: its key is in the validator set.
 */
#define HOTSTUFF_ROLE_VALIDATOR 1

/**
 * Where a replica is, at one moment.
 */
typedef struct hotstuff_replica_info {
    /**
     * Set by hotstuff_replica_info_init().
     */
    size_t struct_size;
    /**
     * The reign of a validator set; 0 is the genesis's.
     */
    uint64_t epoch;
    /**
     * The view of the epoch that it is in.
     */
    uint64_t view;
    /**
     * The height of the last committed block; 0 while there is none.
     */
    uint64_t committed_height;
    /**
     * The view of the highest quorum certificate that it knows.
     */
    uint64_t highest_qc_view;
    /**
     * The height it is catching up to; 0 when it is not.
     */
    uint64_t sync_target_height;
    /**
     * One of the HOTSTUFF_ROLE_ numbers.
     */
    uint32_t role;
    /**
     * 1 if it has stopped itself, else 0.
     */
    uint32_t halted;
    /**
     * 1 if it has seen signatures of its own key that it does not remember (a second replica runs
     * with its key, or its disk is an old one), else 0. Until it starts again it only listens.
     */
    uint32_t silenced;
    /**
     * Zero.
     */
    uint32_t reserved;
} hotstuff_replica_info;

/**
 * Counters since the replica was opened. They only rise, but for the view, which begins
 * anew in each epoch.
 */
typedef struct hotstuff_metrics {
    /**
     * Set by hotstuff_metrics_init().
     */
    size_t struct_size;
    /**
     * The epoch it is in: the reign of a validator set.
     */
    uint64_t epoch;
    /**
     * The view of the epoch that it is in.
     */
    uint64_t current_view;
    /**
     * The height of the last committed block.
     */
    uint64_t committed_height;
    /**
     * Blocks proposed.
     */
    uint64_t proposals;
    /**
     * Votes cast.
     */
    uint64_t votes;
    /**
     * Views that have run out.
     */
    uint64_t view_timeouts;
    /**
     * Messages received.
     */
    uint64_t messages_in;
    /**
     * Messages sent; a broadcast counts once for each other validator.
     */
    uint64_t messages_out;
    /**
     * Bytes received.
     */
    uint64_t bytes_in;
    /**
     * Bytes sent; a broadcast counts once for each other validator.
     */
    uint64_t bytes_out;
    /**
     * Messages received that were refused or dropped.
     */
    uint64_t messages_rejected;
    /**
     * Events that were lost because on_event was slow.
     */
    uint64_t events_dropped;
    /**
     * Transactions on the database: one for each step that writes.
     */
    uint64_t transactions;
    /**
     * Questions that the app did not answer, because it had too many or the state to answer from
     * was gone.
     */
    uint64_t app_failures;
    /**
     * Validators that were newly caught contradicting themselves: each once for each epoch and
     * kind.
     */
    uint64_t evidence_found;
} hotstuff_metrics;

/**
 * Zeroes a struct and notes its size. Call it before the struct is filled. [any]
 *
 * @param info         the struct
 * @param struct_size  `sizeof *info`
 */
HOTSTUFF_API
void hotstuff_replica_info_init(hotstuff_replica_info *info,
                                size_t struct_size);

/**
 * Zeroes a struct and notes its size. Call it before the struct is filled. [any]
 *
 * @param metrics      the struct
 * @param struct_size  `sizeof *metrics`
 */
HOTSTUFF_API void hotstuff_metrics_init(hotstuff_metrics *metrics, size_t struct_size);

/* ================================================================ looking into a data directory */

/**
 * What a replica has signed last: what its next start will not contradict. Numbers are 0, and
 * hashes zero, where the replica has not done such a thing yet.
 */
typedef struct hotstuff_voting_record {
    /**
     * Set by hotstuff_voting_record_init().
     */
    size_t struct_size;
    /**
     * How often the record has changed.
     */
    uint64_t changes;
    /**
     * The epoch of its last vote.
     */
    uint64_t voted_epoch;
    /**
     * The view of its last vote; views begin at 1.
     */
    uint64_t voted_view;
    /**
     * The epoch of its last time-out.
     */
    uint64_t timed_out_epoch;
    /**
     * The view of its last time-out.
     */
    uint64_t timed_out_view;
    /**
     * The epoch of its last proposal.
     */
    uint64_t proposed_epoch;
    /**
     * The view of its last proposal.
     */
    uint64_t proposed_view;
    /**
     * What it voted for.
     */
    hotstuff_hash voted_block;
    /**
     * What it proposed.
     */
    hotstuff_hash proposed_block;
    /**
     * The phase of its last vote: 0 generic, 1 prepare, 2 precommit, 3 commit.
     */
    uint32_t voted_phase;
    /**
     * 0.
     */
    uint32_t reserved;
} hotstuff_voting_record;

/**
 * Zeroes a struct and notes its size. Call it before the struct is filled. [any]
 *
 * @param record       the struct
 * @param struct_size  `sizeof *record`
 */
HOTSTUFF_API
void hotstuff_voting_record_init(hotstuff_voting_record *record,
                                 size_t struct_size);

/**
 * A snapshot of a data directory, for tools: of a replica that is stopped, or that runs in another
 * process, which is not held up. Only the table of its readers, `lock.mdb`, is written. As any
 * snapshot it pins pages: of a replica that runs, free it soon; if this process is killed before,
 * they stay pinned until the directory is opened again. The directory must be local. [any]
 *
 * @param path  path of the directory, UTF-8
 * @param out   receives the snapshot: yours, free it with hotstuff_block_tree_free()
 * @param err   receives a described error, yours; may be NULL
 * @retval HOTSTUFF_E_NULL              `path` or `out` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `path` is not UTF-8
 * @retval HOTSTUFF_E_NOT_FOUND         there is no chain in the directory
 * @retval HOTSTUFF_E_LOCKED            this process has the directory open already, by a replica
 *                                      or by this function
 * @retval HOTSTUFF_E_UNSUPPORTED       it has a format that this library is too old to know
 * @retval HOTSTUFF_E_CORRUPT           what is in it is damaged, or not a replica's
 * @retval HOTSTUFF_E_STORAGE           the database failed, or too many snapshots are alive
 * @retval HOTSTUFF_E_IO                the operating system refuses the directory
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_open_read_only(const char *path,
                                                   hotstuff_block_tree **out,
                                                   hotstuff_error **err);

/**
 * The name of the chain: the hash of its genesis. [any]
 *
 * @param tree  the snapshot, which you own
 * @param out   receives the hash
 * @retval HOTSTUFF_E_NULL   `tree` or `out` is NULL
 * @retval HOTSTUFF_E_STATE  the tree was lent to a callback
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_genesis_hash(const hotstuff_block_tree *tree,
                                                 hotstuff_hash *out);

/**
 * A block that awaits commit, in the order of heights. [any]
 *
 * @param tree   the snapshot, which you own
 * @param index  from 0 on
 * @param out    receives the block: yours, free it with hotstuff_block_free()
 * @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
 * @retval HOTSTUFF_E_DONE     there are not so many
 * @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE    the tree was lent to a callback
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_pending_at(const hotstuff_block_tree *tree,
                                               size_t index,
                                               hotstuff_block **out);

/**
 * A piece of evidence that the replica keeps, in the order of epochs: see
 * hotstuff_replica_evidence_at(). [any]
 *
 * @param tree   the snapshot, which you own
 * @param index  from 0 on
 * @param out    receives the canonical bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL     `tree` or `out` is NULL
 * @retval HOTSTUFF_E_DONE     there are not so many
 * @retval HOTSTUFF_E_STORAGE  the database failed; the logger has the text
 * @retval HOTSTUFF_E_STATE    the tree was lent to a callback
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_evidence_at(const hotstuff_block_tree *tree,
                                                size_t index,
                                                hotstuff_buffer **out);

/**
 * What the replica has signed last. [any]
 *
 * @param tree  the snapshot, which you own
 * @param out   initialised by hotstuff_voting_record_init(); receives the record
 * @retval HOTSTUFF_E_NULL              `tree` or `out` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
 * @retval HOTSTUFF_E_STORAGE           the database failed, or the record is damaged; the logger
 *                                      has the text
 * @retval HOTSTUFF_E_STATE             the tree was lent to a callback
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_tree_voting_record(const hotstuff_block_tree *tree,
                                                  hotstuff_voting_record *out);

/**
 * The quorum certificate on which a block builds, as canonical bytes; of the first block, that of
 * the genesis. [any]
 *
 * @param block  the block
 * @param out    receives the bytes: yours, free them with hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL  `block` or `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_block_justify(const hotstuff_block *block,
                                       hotstuff_buffer **out);

/* ===================================================================================== replicas */

/**
 * Opens a replica, which does nothing yet. On ::HOTSTUFF_OK it takes over `network` (do not free
 * it) and the app's userdata; otherwise both stay yours, and no destroy() is called. [any]
 *
 * @param cfg      the config; copied
 * @param app      the app; the table is copied
 * @param network  the network, which becomes the replica's
 * @param out      receives the replica: yours, free it with hotstuff_replica_free()
 * @param err      receives a described error, yours; may be NULL
 * @retval HOTSTUFF_E_NULL              an argument or a required callback is NULL
 * @retval HOTSTUFF_E_STATE             the chain id, the genesis validators or the data directory
 *                                      is not set
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  settings do not fit together or what is in the data
 *                                      directory, or the app's table was not initialised
 * @retval HOTSTUFF_E_UNSUPPORTED       the app's table sets callbacks, or the data directory has a
 *                                      format, that this library is too old to know
 * @retval HOTSTUFF_E_NOT_FOUND         there is no chain in the data directory; see
 *                                      hotstuff_config_set_create()
 * @retval HOTSTUFF_E_LOCKED            another replica has the data directory open
 * @retval HOTSTUFF_E_GENESIS_MISMATCH  the data directory belongs to a chain with another genesis
 * @retval HOTSTUFF_E_CORRUPT           what is in the data directory is damaged, or not a
 *                                      replica's
 * @retval HOTSTUFF_E_STORAGE           the database failed, or the disk or the map is full
 * @retval HOTSTUFF_E_IO                the operating system refuses the directory
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_open(const hotstuff_config *cfg,
                                      const hotstuff_app_callbacks *app,
                                      hotstuff_network *network,
                                      hotstuff_replica **out,
                                      hotstuff_error **err);

/**
 * Sets who is told what happens. Once, before hotstuff_replica_start(). On ::HOTSTUFF_OK the
 * library has taken over userdata, and will call destroy(). [any]
 *
 * @param replica  the replica
 * @param table    the table; copied
 * @retval HOTSTUFF_E_NULL              `replica`, `table` or on_event() is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
 * @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
 *                                      know
 * @retval HOTSTUFF_E_STATE             called before, or the replica was started
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_set_events(hotstuff_replica *replica,
                                            const hotstuff_event_callbacks *table);

/**
 * Starts the replica's threads. Once. [any]
 *
 * @param replica  the replica
 * @param err      receives a described error, yours; may be NULL
 * @retval HOTSTUFF_E_NULL    `replica` is NULL
 * @retval HOTSTUFF_E_STATE   it was started before, or stopped
 * @retval HOTSTUFF_E_IO      the operating system gives no more threads
 * @retval HOTSTUFF_E_HALTED  it has stopped itself; see hotstuff_replica_wait()
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_start(hotstuff_replica *replica,
                                       hotstuff_error **err);

/**
 * Stops the replica and waits for its threads. After ::HOTSTUFF_OK no callback runs any more. A
 * replica that is stopped, or was never started, is stopped again with ::HOTSTUFF_OK; none is
 * started again. [any] [not-in-callback]
 *
 * @param replica     the replica
 * @param timeout_ms  how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
 * @retval HOTSTUFF_E_NULL       `replica` is NULL
 * @retval HOTSTUFF_E_TIMEOUT    a callback has not returned in time: call again
 * @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_stop(hotstuff_replica *replica,
                                      uint32_t timeout_ms);

/**
 * Stops the replica, however long it takes, closes its data directory, and frees it; at last it
 * calls destroy() of the app, the events and the network, in this order, and of the pacemaker and
 * the signer unless the config or another replica still has them. Snapshots stay, and keep
 * the directory open until they are freed. In a callback of this replica it returns at once, and
 * all this happens when that callback has returned. No other call on it may be running, and none
 * may follow. [any]
 *
 * @param replica  the replica; NULL is a no-op
 */
HOTSTUFF_API void hotstuff_replica_free(hotstuff_replica *replica);

/**
 * Delivers a message that the host has received: the input of a network without receive(). [any],
 * also in callbacks
 *
 * @param replica  the replica
 * @param from     the peer, as the transport has authenticated it
 * @param message  the bytes; copied
 * @param len      how many; at most hotstuff_config_max_message_bytes()
 * @retval HOTSTUFF_E_NULL         an argument is NULL
 * @retval HOTSTUFF_E_TOO_LARGE    longer than any message of this chain: drop it
 * @retval HOTSTUFF_E_WOULD_BLOCK  the queue of that peer is full: drop it, the protocol sends
 *                                 again
 * @retval HOTSTUFF_E_CLOSED       the replica is stopped, or was never started
 * @retval HOTSTUFF_E_HALTED       it has stopped itself; see hotstuff_replica_wait()
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_deliver(hotstuff_replica *replica,
                                         const hotstuff_validator_address *from,
                                         const uint8_t *message,
                                         size_t len);

/**
 * There is work for this replica's app, which is asked when the replica leads. If the chain is
 * idle and another leads, all are told, and the views go on until it is this one's turn.
 * Remembered until then, also before the start. [any], also in callbacks
 *
 * @param replica  the replica
 * @retval HOTSTUFF_E_NULL    `replica` is NULL
 * @retval HOTSTUFF_E_CLOSED  it is stopped
 * @retval HOTSTUFF_E_HALTED  it has stopped itself; see hotstuff_replica_wait()
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_notify(hotstuff_replica *replica);

/**
 * A consistent view of the chain and of the state as of the last committed block. Also of a
 * replica that is not started, is stopped or has halted. [any], also in callbacks
 *
 * @param replica  the replica
 * @param out      receives the snapshot: yours, free it with hotstuff_block_tree_free(), also
 *                 after hotstuff_replica_free()
 * @retval HOTSTUFF_E_NULL     `replica` or `out` is NULL
 * @retval HOTSTUFF_E_STORAGE  the database failed, or too many snapshots are alive
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_snapshot(const hotstuff_replica *replica,
                                          hotstuff_block_tree **out);

/**
 * The committed block after the one at a height, as soon as there is one. To be called in a loop
 * with the height of the block before: all committed blocks, in order, none lost, from wherever
 * the host left off. [any] [not-in-callback]
 *
 * @param replica       the replica
 * @param after_height  the height of the last block that the host has seen; 0 for the first call
 * @param timeout_ms    how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
 * @param out           receives the block: yours, free it with hotstuff_block_free()
 * @retval HOTSTUFF_E_NULL       `replica` or `out` is NULL
 * @retval HOTSTUFF_E_TIMEOUT    none is committed yet: call again
 * @retval HOTSTUFF_E_CLOSED     it is stopped
 * @retval HOTSTUFF_E_HALTED     it has stopped itself; see hotstuff_replica_wait()
 * @retval HOTSTUFF_E_STORAGE    the database failed
 * @retval HOTSTUFF_E_CORRUPT    the block is damaged or missing; the replica goes on
 * @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_next_committed(const hotstuff_replica *replica,
                                                uint64_t after_height,
                                                uint32_t timeout_ms,
                                                hotstuff_block **out);

/**
 * Waits until a height is committed. [any] [not-in-callback]
 *
 * @param replica     the replica
 * @param height      the height
 * @param timeout_ms  how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
 * @retval HOTSTUFF_E_NULL       `replica` is NULL
 * @retval HOTSTUFF_E_TIMEOUT    it is not committed yet
 * @retval HOTSTUFF_E_CLOSED     the replica is stopped
 * @retval HOTSTUFF_E_HALTED     it has stopped itself; see hotstuff_replica_wait()
 * @retval HOTSTUFF_E_STORAGE    the database failed
 * @retval HOTSTUFF_E_CORRUPT    the block is damaged or missing; the replica goes on
 * @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_wait_committed(const hotstuff_replica *replica,
                                                uint64_t height,
                                                uint32_t timeout_ms);

/**
 * Waits until the replica is stopped by hotstuff_replica_stop(), or has stopped itself because it
 * cannot go on safely, as when its disk is full. On a replica that has halted, only this function,
 * hotstuff_replica_snapshot(), hotstuff_replica_get_info(), hotstuff_replica_metrics(),
 * hotstuff_replica_metrics_text(), hotstuff_replica_stop() and hotstuff_replica_free() do
 * anything. [any] [not-in-callback]
 *
 * @param replica     the replica
 * @param timeout_ms  how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
 * @param err         receives a described error, yours: if halted, why and what to do; may be NULL
 * @retval HOTSTUFF_E_NULL       `replica` is NULL
 * @retval HOTSTUFF_E_TIMEOUT    it still runs, or was never started
 * @retval HOTSTUFF_E_HALTED     it has stopped itself
 * @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_wait(const hotstuff_replica *replica,
                                      uint32_t timeout_ms,
                                      hotstuff_error **err);

/**
 * Where the replica is. [any], also in callbacks
 *
 * @param replica  the replica
 * @param out      initialised by hotstuff_replica_info_init(); receives the answer
 * @retval HOTSTUFF_E_NULL              `replica` or `out` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_get_info(const hotstuff_replica *replica,
                                          hotstuff_replica_info *out);

/**
 * Counters of the replica. [any], also in callbacks
 *
 * @param replica  the replica
 * @param out      initialised by hotstuff_metrics_init(); receives the answer
 * @retval HOTSTUFF_E_NULL              `replica` or `out` is NULL
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_metrics(const hotstuff_replica *replica,
                                         hotstuff_metrics *out);

/**
 * The counters, and where the replica is, as text for Prometheus: exposition format 0.0.4, UTF-8,
 * to be served as `text/plain; version=0.0.4`. The names of a release stay in the next. [any],
 * also in callbacks
 *
 * @param replica  the replica
 * @param out      receives the text, not terminated by NUL: yours, free it with
 *                 hotstuff_buffer_free()
 * @retval HOTSTUFF_E_NULL  `replica` or `out` is NULL
 */
HOTSTUFF_API
HOTSTUFF_NODISCARD
hotstuff_status hotstuff_replica_metrics_text(const hotstuff_replica *replica,
                                              hotstuff_buffer **out);

/* =================================================================================== the logger */

/**
 * Log level: nothing. The default.
 */
#define HOTSTUFF_LOG_OFF 0

/**
 * Log level: a replica halts, diverges, or meets a bug.
 */
#define HOTSTUFF_LOG_ERROR 1

/**
 * Log level: what an operator should look into.
 */
#define HOTSTUFF_LOG_WARN 2

/**
 * Log level: what happens seldom: catching up, views that time out.
 */
#define HOTSTUFF_LOG_INFO 3

/**
 * Log level: each commit.
 */
#define HOTSTUFF_LOG_DEBUG 4

/**
 * Log level: each view, vote and proposal.
 */
#define HOTSTUFF_LOG_TRACE 5

/**
 * Receives a line of the log: its level, the part of the library that speaks, and a text without a
 * newline; both texts are UTF-8 and valid during the call.
 */
typedef void (*hotstuff_log_fn)(void *userdata,
                                int32_t level,
                                const char *target,
                                const char *message);

/**
 * Sets where the log goes, for the whole process: this library prints nothing. A replica's events
 * go there too, if the logger is set before hotstuff_replica_start(). When the call returns, no
 * call of the function that was set before is running. [any]
 *
 * @param fn         called from any thread, several at once; must not call this library, which
 *                   would return ::HOTSTUFF_E_REENTRANT; must stay callable until it is replaced.
 *                   NULL switches logging off
 * @param userdata   given to `fn`; the library does not look at it
 * @param max_level  the highest HOTSTUFF_LOG_ number that is logged
 * @retval HOTSTUFF_E_INVALID_ARGUMENT  there is no such level; nothing is changed
 * @retval HOTSTUFF_E_REENTRANT         called by `fn`
 */
HOTSTUFF_API
hotstuff_status hotstuff_set_logger(hotstuff_log_fn fn,
                                    void *userdata,
                                    int32_t max_level);
#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* HOTSTUFF_H */
