#!/usr/bin/env python3
"""Checks vectors.json without the library: a second opinion of the encoding and of the generator.

README.md describes both. By default the first 1,024 values of each type; all 65,536 with --all.
"""

import hashlib
import json
import pathlib
import sys

import ed25519

MASK = (1 << 64) - 1
FIRST = 1_024
ALL = 65_536


class Generator:
    def __init__(self, state):
        self.state = state

    def draw(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, bound):
        return self.draw() % bound

    def number(self):
        bits = self.below(65)
        return 0 if bits == 0 else self.draw() >> (64 - bits)

    def repeated(self, length):
        word = self.draw().to_bytes(8, "little")
        return (word * (length // 8 + 1))[:length]

    def text(self, least, most):
        return self.repeated(least + self.below(most - least + 1))


def leb(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def blob(data):
    return leb(len(data)) + data


def number(g):
    return leb(g.number())


def u32(g):
    return leb(g.number() & 0xFFFFFFFF)


def hash32(g):
    return g.repeated(32)


def signature(g):
    return blob(g.repeated(64))


def option(g, some):
    return b"\1" + some(g) if g.below(2) else b"\0"


def sequence(g, most, item):
    count = g.below(most + 1)
    return leb(count) + b"".join(item(g) for _ in range(count))


def phase(g):
    return leb(g.below(4))


def fields(*parts):
    return lambda g: b"".join(part(g) for part in parts)



def slots(item):
    return lambda g: sequence(g, 4, lambda g: option(g, item))


def optional(some):
    return lambda g: option(g, some)


vote_statement = fields(number, number, number, hash32, phase)
qc = fields(number, number, number, hash32, phase, slots(signature))
tc = fields(number, number, qc, slots(fields(number, signature)))
set_update = fields(hash32, number)
header = fields(
    number, number, number, qc, hash32, optional(lambda g: sequence(g, 3, set_update))
)
block = fields(header, lambda g: blob(g.text(0, 200)))
vote = fields(vote_statement, hash32, signature)
propose = fields(block, vote, optional(tc))
nudge = fields(number, qc, vote, optional(tc))
timeout_vote = fields(number, number, qc, optional(vote), hash32, signature)
wake = fields(number, number, hash32, signature)
request = fields(hash32, u32, optional(hash32))
response = fields(
    hash32, lambda g: sequence(g, 2, block), lambda g: sequence(g, 4, qc)
)


def one_of(*variants):
    return lambda g: (lambda place: leb(place) + variants[place](g))(g.below(len(variants)))


certificate = one_of(qc, tc)
progress = one_of(propose, nudge, vote, timeout_vote, certificate, wake)


def message(g):
    which = g.below(3)
    return (
        leb(1) + leb(0) + request(g)
        if which == 0
        else leb(1) + leb(1) + response(g)
        if which == 1
        else leb(0) + progress(g)
    )


def validator_set(g):
    members = {}
    for _ in range(1 + g.below(8)):
        address, power = g.repeated(32), 1 + (g.number() >> 8)
        members.setdefault(address, power)
    return leb(len(members)) + b"".join(
        address + leb(power) for address, power in sorted(members.items())
    )


def genesis(g):
    begin = number(g) + validator_set(g)
    state = {}
    for _ in range(g.below(4)):
        key = g.text(1, 20)
        state[key] = g.text(0, 20)
    pairs = b"".join(blob(key) + blob(value) for key, value in sorted(state.items()))
    rules = leb(g.below(2)) + leb(g.below(2))
    return begin + leb(len(state)) + pairs + rules + u32(g) + number(g)


state_update = one_of(
    lambda g: blob(g.text(1, 20)) + blob(g.text(0, 200)), lambda g: blob(g.text(1, 20))
)
stored_proposal = fields(hash32, optional(qc), vote_statement, optional(tc))
voting_record = fields(
    optional(vote_statement), optional(fields(number, number)), optional(stored_proposal)
)
epoch_record = fields(number, validator_set, optional(qc))
timeout_statement = fields(number, number, number)


def signed(statement):
    return fields(statement, signature)


evidence = fields(
    hash32,
    one_of(
        fields(signed(vote_statement), signed(vote_statement)),
        fields(signed(header), signed(header)),
        fields(signed(timeout_statement), signed(vote_statement)),
    ),
)


commit_proof = fields(lambda g: sequence(g, 3, header), qc)
epoch_proof = fields(header, qc)


def sha256(tag, *parts):
    padded = ("hotstuff/1 " + tag).encode().ljust(24, b"\0")
    return hashlib.sha256(padded + b"".join(parts)).digest()


def fixed(value):
    return value.to_bytes(8, "little")


def digest(g):
    chain = g.repeated(32)
    kind = g.below(3)
    if kind == 0:
        epoch, view, justify_view = g.number(), g.number(), g.number()
        name, phase_number = g.repeated(32), g.below(4)
        order = (fixed(epoch), fixed(view), bytes([phase_number]), fixed(justify_view), name)
        return sha256("vote", chain, *order)
    if kind == 1:
        return sha256("timeout", chain, *(fixed(g.number()) for _ in range(3)))
    return sha256("wake", chain, *(fixed(g.number()) for _ in range(2)))


def block_name(g):
    chain = g.repeated(32)
    name = sha256("block", chain, header(g))
    g.text(0, 200)
    return name


TYPES = {
    "VoteStatement": vote_statement,
    "QuorumCertificate": qc,
    "TimeoutCertificate": tc,
    "Block": block,
    "Vote": vote,
    "Propose": propose,
    "Nudge": nudge,
    "TimeoutVote": timeout_vote,
    "Certificate": certificate,
    "Wake": wake,
    "SyncRequest": request,
    "SyncResponse": response,
    "Message": message,
    "ValidatorSet": validator_set,
    "Genesis": genesis,
    "StateUpdate": state_update,
    "VotingRecord": voting_record,
    "EpochRecord": epoch_record,
    "digest of a statement": digest,
    "hash of a block": block_name,
    "hash of a genesis": lambda g: sha256("genesis", genesis(g)),
    "Evidence": evidence,
    "CommitProof": commit_proof,
    "EpochProof": epoch_proof,
}


def check(place, vector, count):
    """What differs, in words; empty if nothing does."""
    make = TYPES[vector["name"]]
    g = Generator(place)
    total = hashlib.sha256()
    for index in range(count):
        value = make(g)
        total.update(value)
        if index < len(vector["first"]) and value.hex() != vector["first"][index]:
            return f"value {index} is {value.hex()}"
    expected = vector["sha256"] if count == ALL else vector["sha256_of_1024"]
    return "" if total.hexdigest() == expected else f"the hash is {total.hexdigest()}"


def wrong_signatures():
    """The names of those that are judged otherwise than signatures.json says."""
    path = pathlib.Path(__file__).with_name("signatures.json")
    for vector in json.loads(path.read_text()):
        fields = (bytes.fromhex(vector[name]) for name in ("key", "digest", "signature"))
        if ed25519.verifies(*fields) != vector["valid"]:
            yield vector["name"]


def main():
    count = ALL if "--all" in sys.argv else FIRST
    path = pathlib.Path(__file__).with_name("vectors.json")
    vectors = json.loads(path.read_text())
    failed = [name for name in TYPES if name not in [v["name"] for v in vectors]]
    for name in failed:
        print(f"conformance: {name} is not in {path.name}")
    for place, vector in enumerate(vectors, start=1):
        difference = check(place, vector, count)
        if difference:
            failed.append(vector["name"])
            print(f"conformance: {vector['name']}: {difference}")
    for name in wrong_signatures():
        failed.append(name)
        print(f"conformance: the signature '{name}' is judged otherwise")
    print(f"conformance: {len(vectors)} types, {count} values of each, {len(failed)} differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
