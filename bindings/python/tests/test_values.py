# SPDX-License-Identifier: Apache-2.0
"""Keys, sets, blocks, certificates; the golden files through the C door."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
from typing import Any

import pytest
from conftest import ROOT, SECONDS, Home

import hotstuff

CONFORMANCE = ROOT / "tests" / "conformance"


def test_keys() -> None:
    key = hotstuff.KeyPair.from_seed(bytes(range(32)))
    again = hotstuff.KeyPair.from_pkcs8(key.to_pkcs8())
    assert key.address == again.address and len(key.address) == 32
    assert hotstuff.KeyPair.generate().address != hotstuff.KeyPair.generate().address
    with pytest.raises(hotstuff.InvalidArgument):
        hotstuff.KeyPair.from_seed(b"short")
    with pytest.raises(hotstuff.DecodeError):
        hotstuff.KeyPair.from_pkcs8(b"no key")
    key.close()
    with pytest.raises(ValueError, match="this KeyPair is closed"):
        _ = key.address


def test_validator_sets() -> None:
    powers = {bytes([number] * 32): number + 1 for number in (3, 1, 2)}
    with hotstuff.ValidatorSet(powers) as validators:
        assert list(validators) == sorted(powers.items())
        assert (len(validators), validators.total_power, validators.quorum_power) == (3, 9, 7)
        validators.put(bytes([1] * 32), 0)
        assert len(validators) == 2
        validators.epoch = 5
        assert validators.epoch == 5
        with pytest.raises(hotstuff.InvalidArgument, match="32 bytes"):
            validators.put(b"short", 1)
        with pytest.raises(hotstuff.TooLarge):
            validators.put(bytes(32), 2**64 - 1)


def test_configs() -> None:
    with pytest.raises(hotstuff.InvalidArgument, match="max_idle_ms"):
        hotstuff.Config(max_idle_ms=0)
    with pytest.raises(hotstuff.Unsupported, match="option no.such"):
        hotstuff.Config(options={"no.such": "1"})
    with pytest.raises(hotstuff.InvalidArgument, match="NUL"):
        hotstuff.Config(data_dir="a\0b")
    with hotstuff.Config(chain_id=1) as config, pytest.raises(hotstuff.WrongState):
        _ = config.genesis_hash
    validators = {bytes([1] * 32): 1}
    with (
        hotstuff.Config(chain_id=1, validators=validators) as one,
        hotstuff.Config(chain_id=1, validators=hotstuff.ValidatorSet(validators)) as other,
        hotstuff.Config(chain_id=1, validators=validators, genesis_state={b"k": b"v"}) as third,
    ):
        assert one.genesis_hash == other.genesis_hash != third.genesis_hash
        assert one.max_message_bytes > 1 << 20


# ---- golden files ----------------------------------------------------------------------------


def vectors(name: str) -> list[bytes]:
    found: list[dict[str, Any]] = json.loads((CONFORMANCE / "vectors.json").read_text())
    return [bytes.fromhex(text) for its in found if its["name"] == name for text in its["first"]]


def test_golden_certificates_are_read_and_judged() -> None:
    """Nobody has signed them: they are certificates all the same, of an epoch not trusted here.
    Cut off or prolonged by a byte they are none."""
    genesis = bytes(32)
    golden = vectors("QuorumCertificate")
    assert len(golden) >= 3
    with hotstuff.ValidatorSet({bytes([1] * 32): 1}) as trusted:
        trusted.epoch = 1 << 60
        for encoded in golden:
            with pytest.raises(hotstuff.NotFound):
                hotstuff.verify_qc(genesis, trusted, encoded)
            for damaged in (encoded[:-1], encoded + b"\0", b""):
                with pytest.raises(hotstuff.DecodeError):
                    hotstuff.verify_qc(genesis, trusted, damaged)


def test_golden_blocks_are_read_up_to_their_data() -> None:
    """Their data is not what their headers name, and that is noticed; damage is too."""
    golden = vectors("Block")
    assert golden
    for encoded in golden:
        for bad in (encoded, encoded[:-1], encoded + b"\0"):
            with pytest.raises(hotstuff.DecodeError):
                hotstuff.Block.decode(bytes(32), bad)


def test_golden_evidence_is_read() -> None:
    golden = vectors("Evidence")
    assert golden
    for encoded in golden:
        claim = hotstuff.read_evidence(encoded)
        assert len(claim.validator) == 32
        with pytest.raises(hotstuff.DecodeError):
            hotstuff.read_evidence(encoded[:-1])


def test_a_database_of_format_1_is_read_and_its_blocks_are_written_again(
    tmp_path: pathlib.Path,
) -> None:
    """Every block decodes, under the name it has on disk, and encodes to the same bytes."""
    shutil.copytree(CONFORMANCE / "format-1", tmp_path / "data")
    with hotstuff.BlockTree.open_read_only(tmp_path / "data") as tree:
        genesis, height = tree.genesis_hash, tree.committed_height
        blocks = [*tree.blocks(), *tree.pending()]
        assert height > 0 and len(blocks) >= height
        for block in blocks:
            encoded = block.encode()
            with hotstuff.Block.decode(genesis, encoded) as again:
                assert (again.hash, again.encode()) == (block.hash, encoded)
                assert again.data_hash == hashlib.sha256(again.data).digest()
            damaged = bytearray(encoded)
            damaged[-1] ^= 1
            if block.data:
                with pytest.raises(hotstuff.DecodeError):
                    hotstuff.Block.decode(genesis, bytes(damaged))
        assert tree.voting_record.changes >= 0


# ---- proofs ----------------------------------------------------------------------------------


def test_commit_proofs_and_certificates_of_a_chain(home: Home) -> None:
    with home.alone() as replica:
        replica.start()
        replica.wait_committed(5, SECONDS)
        with replica.snapshot() as tree:
            genesis, trusted = tree.genesis_hash, tree.validators(0)
            block = tree.block_at(3)
            assert block is not None
            proof = tree.commit_proof(block.hash)
            info = hotstuff.verify_commit_proof(genesis, trusted, block.hash, proof)
            assert info.signer_count == 1 and info.phase is hotstuff.Phase.GENERIC
            assert hotstuff.verify_qc(genesis, trusted, block.justify).block == block.parent_hash
            with pytest.raises(hotstuff.BadSignature):
                hotstuff.verify_qc(bytes(32), trusted, block.justify)
            with pytest.raises(hotstuff.HotstuffError):
                hotstuff.verify_commit_proof(genesis, trusted, bytes(32), proof)
            with pytest.raises(hotstuff.NotFound):
                tree.epoch_proof(0)
            assert tree.commit_qc(1) is None
            assert tree.block(bytes(32)) is None
            assert tree.block_at(1 << 40) is None
