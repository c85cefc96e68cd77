/* Proofs for whoever has no replica: a chain of three epochs, followed from its genesis validators;
 * and each way to be lied to. */
#include "changes.h"

static hotstuff_hash genesis;

/** The genesis validators: all that is trusted, with the genesis hash. */
static hotstuff_validator_set *trusted_at_first(const node *nodes)
{
    hotstuff_validator_set *set = NULL;
    size_t i;
    OK(hotstuff_validator_set_new(&set));
    for (i = 0; i < VALIDATORS; i++)
        OK(hotstuff_validator_set_put(set, &nodes[i].address, 1));
    CHECK(hotstuff_validator_set_epoch(set) == 0);
    return set;
}

static hotstuff_validator_set *follow(const hotstuff_block_tree *tree,
                                      hotstuff_validator_set *trusted)
{
    const uint64_t epoch = hotstuff_validator_set_epoch(trusted);
    hotstuff_validator_set *next = NULL;
    hotstuff_buffer *proof = NULL;
    hotstuff_bytes bytes;
    OK(hotstuff_block_tree_epoch_proof(tree, epoch, &proof));
    hotstuff_buffer_get(proof, &bytes);
    OK(hotstuff_verify_epoch_proof(&genesis, trusted, bytes.data, bytes.len, &next));
    CHECK(hotstuff_validator_set_epoch(next) == epoch + 1);
    hotstuff_validator_set_free(trusted);
    EXPECT(HOTSTUFF_E_NOT_FOUND,
           hotstuff_verify_epoch_proof(&genesis, next, bytes.data, bytes.len, &trusted));
    CHECK(trusted == NULL);
    hotstuff_buffer_free(proof);
    return next;
}

/** A committed block, as somebody else would carry it, and its proof. */
struct carried {
    hotstuff_block *block;
    hotstuff_hash hash;
    hotstuff_buffer *proof;
    hotstuff_bytes bytes;
};

/** False if the certificates of the last blocks are gone, until the next commit. */
static int carry(const hotstuff_block_tree *tree, uint64_t height, struct carried *out)
{
    hotstuff_status status;
    OK(hotstuff_block_tree_block_at(tree, height, &out->block));
    hotstuff_block_hash(out->block, &out->hash);
    status = hotstuff_block_tree_commit_proof(tree, &out->hash, &out->proof);
    if (status == HOTSTUFF_E_NOT_FOUND) {
        CHECK(out->proof == NULL);
        hotstuff_block_free(out->block);
        return 0;
    }
    OK(status);
    hotstuff_buffer_get(out->proof, &out->bytes);
    return 1;
}

static void put_down(struct carried *it)
{
    hotstuff_block_free(it->block);
    hotstuff_buffer_free(it->proof);
}

static void check_block(const struct carried *it, const hotstuff_validator_set *trusted)
{
    hotstuff_qc_info info;
    hotstuff_qc_info_init(&info, sizeof info);
    OK(hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, it->bytes.data, it->bytes.len,
                                    &info));
    CHECK(info.struct_size == sizeof info);
    CHECK(info.epoch == hotstuff_validator_set_epoch(trusted));
    CHECK(info.view >= hotstuff_block_view(it->block));
    CHECK(info.signed_power >= hotstuff_validator_set_quorum_power(trusted));
    CHECK(info.signer_count >= 2 && info.signer_count <= hotstuff_validator_set_len(trusted));
    CHECK(info.phase == HOTSTUFF_PHASE_GENERIC || info.phase == HOTSTUFF_PHASE_PREPARE ||
          info.phase == HOTSTUFF_PHASE_COMMIT);
    OK(hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, it->bytes.data, it->bytes.len,
                                    NULL));
}

/** Every committed block, from the first to the last, with the validators of its epoch. */
static void check_chain(const node *nodes, size_t from)
{
    hotstuff_validator_set *trusted = trusted_at_first(nodes);
    hotstuff_block_tree *tree = NULL;
    hotstuff_buffer *none = NULL;
    uint64_t height, committed = 0, proved = 0;
    OK(hotstuff_replica_snapshot(nodes[from].replica, &tree));
    OK(hotstuff_block_tree_committed_height(tree, &committed));
    for (height = 1; height <= committed; height++) {
        struct carried it;
        if (!carry(tree, height, &it))
            break; /* what proves a block above proves this one */
        if (hotstuff_block_epoch(it.block) > hotstuff_validator_set_epoch(trusted)) {
            EXPECT(HOTSTUFF_E_NOT_FOUND,
                   hotstuff_verify_commit_proof(&genesis, trusted, &it.hash, it.bytes.data,
                                                it.bytes.len, NULL));
            trusted = follow(tree, trusted);
        }
        check_block(&it, trusted);
        proved++;
        put_down(&it);
    }
    CHECK(proved > LEAVES_AT && proved <= committed);
    CHECK(hotstuff_validator_set_epoch(trusted) == 2);
    CHECK(hotstuff_validator_set_total_power(trusted) == 4);
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_epoch_proof(tree, 2, &none));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_epoch_proof(tree, UINT64_MAX, &none));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_commit_proof(tree, &genesis, &none));
    CHECK(none == NULL);
    hotstuff_validator_set_free(trusted);
    hotstuff_block_tree_free(tree);
}

/** No byte of a proof can be changed, none is left out, none is added. */
static void damage(const struct carried *it, const hotstuff_validator_set *trusted)
{
    const size_t len = it->bytes.len;
    uint8_t *copy = malloc(len + 1);
    size_t i, accepted = 0;
    if (!CHECK(copy != NULL))
        return;
    memcpy(copy, it->bytes.data, len);
    copy[len] = 0;
    for (i = 0; i < len; i++) {
        copy[i] ^= 1;
        accepted += hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, copy, len, NULL) ==
                    HOTSTUFF_OK;
        copy[i] ^= 1;
        if (i % 16 == 0)
            accepted += hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, copy, i, NULL) ==
                        HOTSTUFF_OK;
    }
    CHECK(accepted == 0);
    OK(hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, copy, len, NULL));
    EXPECT(HOTSTUFF_E_DECODE,
           hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, copy, len + 1, NULL));
    free(copy);
}

/** The same bytes, to somebody who trusts others, or asks after another block or chain. */
static void deceive(const node *nodes, const struct carried *it, hotstuff_validator_set *trusted)
{
    const uint8_t *p = it->bytes.data;
    const size_t len = it->bytes.len;
    hotstuff_hash other = it->hash;
    hotstuff_validator_set *strangers = NULL;
    hotstuff_qc_info info;
    other.bytes[31] ^= 1;
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT,
           hotstuff_verify_commit_proof(&genesis, trusted, &other, p, len, NULL));
    other = genesis;
    other.bytes[0] ^= 1;
    CHECK(hotstuff_verify_commit_proof(&other, trusted, &it->hash, p, len, NULL) != HOTSTUFF_OK);

    OK(hotstuff_validator_set_new(&strangers));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT,
           hotstuff_verify_commit_proof(&genesis, strangers, &it->hash, p, len, NULL));
    OK(hotstuff_validator_set_put(strangers, &nodes[0].address, 1));
    OK(hotstuff_validator_set_put(strangers, &nodes[1].address, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, /* a slot too few */
           hotstuff_verify_commit_proof(&genesis, strangers, &it->hash, p, len, NULL));
    OK(hotstuff_validator_set_put(strangers, &nodes[3].address, 1));
    EXPECT(HOTSTUFF_E_BAD_SIGNATURE,
           hotstuff_verify_commit_proof(&genesis, strangers, &it->hash, p, len, NULL));
    hotstuff_validator_set_free(strangers);

    /* Powers decide, not heads: node 3, which has not signed in epoch 0, has nearly all. */
    OK(hotstuff_validator_set_set_epoch(trusted, 7));
    CHECK(hotstuff_validator_set_epoch(trusted) == 7);
    EXPECT(HOTSTUFF_E_NOT_FOUND,
           hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, p, len, NULL));
    OK(hotstuff_validator_set_set_epoch(trusted, 0));

    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_commit_proof(NULL, trusted, &it->hash, p, len, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_commit_proof(&genesis, NULL, &it->hash, p, len, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_commit_proof(&genesis, trusted, NULL, p, len, NULL));
    EXPECT(HOTSTUFF_E_NULL,
           hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, NULL, len, NULL));
    EXPECT(HOTSTUFF_E_DECODE,
           hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, NULL, 0, NULL));
    memset(&info, 0, sizeof info);
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT,
           hotstuff_verify_commit_proof(&genesis, trusted, &it->hash, p, len, &info));
}

static void check_qc(const hotstuff_block_tree *tree, const hotstuff_validator_set *trusted)
{
    hotstuff_validator_set *first = NULL;
    hotstuff_buffer *qc = NULL;
    hotstuff_bytes bytes;
    hotstuff_qc_info info;
    hotstuff_qc_info_init(&info, sizeof info);
    OK(hotstuff_block_tree_highest_qc(tree, &qc));
    hotstuff_buffer_get(qc, &bytes);
    OK(hotstuff_verify_qc(&genesis, trusted, bytes.data, bytes.len, &info));
    CHECK(info.epoch == 2 && info.view > 0 && info.phase == HOTSTUFF_PHASE_GENERIC);
    CHECK(info.signed_power >= hotstuff_validator_set_quorum_power(trusted));
    OK(hotstuff_verify_qc(&genesis, trusted, bytes.data, bytes.len, NULL));
    OK(hotstuff_block_tree_validators_of(tree, 0, &first));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_verify_qc(&genesis, first, bytes.data, bytes.len, NULL));
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_verify_qc(&genesis, first, bytes.data, bytes.len - 1, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_qc(NULL, first, bytes.data, bytes.len, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_qc(&genesis, NULL, bytes.data, bytes.len, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_qc(&genesis, first, NULL, 1, NULL));
    hotstuff_buffer_free(qc);

    /* What ended epoch 0 is a certificate like any other, of phase Commit. */
    OK(hotstuff_block_tree_commit_qc_of(tree, 1, &qc));
    hotstuff_buffer_get(qc, &bytes);
    OK(hotstuff_verify_qc(&genesis, first, bytes.data, bytes.len, &info));
    CHECK(info.epoch == 0 && info.phase == HOTSTUFF_PHASE_COMMIT);
    hotstuff_buffer_free(qc);
    hotstuff_validator_set_free(first);
}

static void lie(const node *nodes)
{
    hotstuff_validator_set *trusted = trusted_at_first(nodes), *now = NULL;
    hotstuff_block_tree *tree = NULL;
    struct carried it;
    OK(hotstuff_replica_snapshot(nodes[1].replica, &tree));
    if (CHECK(carry(tree, 1, &it))) {
        damage(&it, trusted);
        deceive(nodes, &it, trusted);
        put_down(&it);
    }
    OK(hotstuff_block_tree_validators(tree, &now));
    CHECK(hotstuff_validator_set_epoch(now) == 2);
    check_qc(tree, now);
    hotstuff_validator_set_free(now);
    hotstuff_validator_set_free(trusted);
    hotstuff_block_tree_free(tree);

    EXPECT(HOTSTUFF_E_NULL, hotstuff_validator_set_set_epoch(NULL, 1));
    CHECK(hotstuff_validator_set_epoch(NULL) == 0);
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_epoch_proof(&genesis, NULL, NULL, 0, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_commit_proof(NULL, &genesis, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_epoch_proof(NULL, 0, NULL));
}

static void three_epochs(uint32_t commit_rule)
{
    node nodes[NODES];
    size_t i;
    nodes_init(nodes, NODES);
    for (i = 0; i < NODES; i++) {
        hotstuff_config *cfg = changing_config(&nodes[i]);
        OK(hotstuff_config_set_commit_rule(cfg, commit_rule));
        OK(hotstuff_config_genesis_hash(cfg, &genesis));
        nodes[i].propose = changing_propose;
        nodes[i].validate = changing_validate;
        node_open(&nodes[i], cfg, NULL);
        node_listen(&nodes[i]);
        node_start(&nodes[i]);
    }
    for (i = 0; i < NODES; i++)
        EVENTUALLY(nodes[i].events[HOTSTUFF_EVENT_VALIDATORS_CHANGED] == 2);
    for (i = 0; i < NODES; i++) {
        hotstuff_metrics metrics;
        hotstuff_metrics_init(&metrics, sizeof metrics);
        OK(hotstuff_replica_metrics(nodes[i].replica, &metrics));
        CHECK(metrics.epoch == 2);
        OK(hotstuff_replica_wait_committed(nodes[i].replica, metrics.committed_height + 5, 20000));
    }
    for (i = 0; i < NODES; i++)
        OK(hotstuff_replica_stop(nodes[i].replica, 20000));
    for (i = 0; i < NODES; i++)
        check_chain(nodes, i);
    lie(nodes);
    nodes_stop(nodes, NODES);
    nodes_done(nodes, NODES);
}

int main(void)
{
    three_epochs(HOTSTUFF_COMMIT_RULE_THREE_CHAIN);
    three_epochs(HOTSTUFF_COMMIT_RULE_TWO_CHAIN);
    return checks_done("proofs");
}
