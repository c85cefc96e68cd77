"""Which Ed25519 signatures are valid: ZIP-215, written down a second time.

`python3 ed25519.py` writes signatures.json: crafted signatures on which implementations disagree,
with what the rules say of each.
"""

import hashlib
import json
import pathlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1
ZERO = (0, 1, 1, 0)  # extended coordinates: x = X / Z, y = Y / Z, X Y = Z T


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    total = ZERO
    while number:
        if number & 1:
            total = add(total, point)
        point = add(point, point)
        number >>= 1
    return total


def is_zero(p):
    return p[0] % P == 0 and (p[1] - p[2]) % P == 0


def decode(data):
    """The point, or None. Any y below 2^255 and any sign of x = 0 will do: ZIP-215."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number % 2**255 % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    if v * x * x % P == P - u:
        x = x * ROOT % P
    if v * x * x % P != u % P:
        return None
    if x & 1 != sign:
        x = -x % P
    return x, y, 1, x * y % P


def encode(p):
    inverse = pow(p[2], -1, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decode(bytes([0x58] + [0x66] * 31))


def challenge(r, key, message):
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % ORDER


def verifies(key, message, signature):
    """ZIP-215: s is below the order, R and the key are points, 8 s B = 8 R + 8 k A."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    key_point, r_point = decode(key), decode(r)
    if s >= ORDER or key_point is None or r_point is None:
        return False
    k = challenge(r, key, message)
    right = add(r_point, times(k, key_point))
    left = times(s, BASE)
    difference = add(right, (-left[0] % P, left[1], left[2], -left[3] % P))
    return is_zero(times(8, difference))


def small_order():
    """All encodings of the eight points of small order, canonical or not."""
    generator = next(
        point
        for y in range(2, 1000)
        if (found := decode(y.to_bytes(32, "little")))
        and not is_zero(times(4, point := times(ORDER, found)))
    )
    canonical = {encode(times(i, generator)) for i in range(8)}
    numbers = {int.from_bytes(data, "little") for data in canonical}
    ys = {number % 2**255 for number in numbers}
    encodings = {y | sign << 255 for y in ys for sign in (0, 1)}
    encodings |= {y + P | sign << 255 for y in ys if y < 19 for sign in (0, 1)}
    encodings = sorted(data.to_bytes(32, "little") for data in encodings)
    assert all(is_zero(times(8, decode(data))) for data in encodings)
    return encodings, generator


def sign(seed, message, key_torsion=ZERO, r_torsion=ZERO):
    """A signature as RFC 8032 makes it, with a point of small order added to the key or to R."""
    secret = hashlib.sha512(seed).digest()
    a = int.from_bytes(secret[:32], "little") & (2**254 - 8) | 2**254
    r = int.from_bytes(hashlib.sha512(secret[32:] + message).digest(), "little") % ORDER
    key = encode(add(times(a, BASE), key_torsion))
    r_bytes = encode(add(times(r, BASE), r_torsion))
    s = (r + challenge(r_bytes, key, message) * a) % ORDER
    return key, r_bytes + s.to_bytes(32, "little")


def with_s(signature, change):
    s = int.from_bytes(signature[32:], "little") + change
    return signature[:32] + s.to_bytes(32, "little")


def flipped(data, bit):
    return (int.from_bytes(data, "little") ^ 1 << bit).to_bytes(len(data), "little")


def crafted():
    """What is wrong or odd, key, digest, signature."""
    encodings, torsion = small_order()
    message = hashlib.sha256(b"crafted").digest()
    key, signature = sign(bytes([1] * 32), message)
    other, _ = sign(bytes([2] * 32), message)
    not_a_point = next(y for y in range(2, 99) if not decode(y.to_bytes(32, "little")))
    not_a_point = not_a_point.to_bytes(32, "little")
    yield "as RFC 8032 makes it", key, message, signature
    yield "another digest", key, flipped(message, 9), signature
    yield "another signer", other, message, signature
    yield "a bit of R flipped", key, message, flipped(signature, 3)
    yield "a bit of s flipped", key, message, flipped(signature, 256 + 3)
    yield "s plus the order", key, message, with_s(signature, ORDER)
    yield "the top bit of s", key, message, flipped(signature, 511)
    yield "s plus one", key, message, with_s(signature, 1)
    yield "s minus one", key, message, with_s(signature, -1)
    yield "R is no point", key, message, not_a_point + signature[32:]
    yield "the key is no point", not_a_point, message, signature
    yield "all zeros", bytes(32), message, bytes(64)
    yield "all ones", b"\xff" * 32, message, b"\xff" * 64
    for multiple in range(1, 8):
        point = times(multiple, torsion)
        key, signature = sign(bytes([1] * 32), message, key_torsion=point)
        yield f"the key with {multiple} of order eight", key, message, signature
        key, signature = sign(bytes([1] * 32), message, r_torsion=point)
        yield f"R with {multiple} of order eight", key, message, signature
        key, signature = sign(bytes([1] * 32), message, point, times(8 - multiple, torsion))
        yield f"both with {multiple} of order eight", key, message, signature
    for number, data in enumerate(encodings):
        _, signature = sign(bytes([1] * 32), message)
        yield f"a key of small order {number}", data, message, signature
        for r in encodings:
            yield f"all of small order {number}", data, message, r + bytes(32)


def main():
    vectors = [
        {
            "name": name,
            "key": key.hex(),
            "digest": digest.hex(),
            "signature": signature.hex(),
            "valid": verifies(key, digest, signature),
        }
        for name, key, digest, signature in crafted()
    ]
    path = pathlib.Path(__file__).with_name("signatures.json")
    lines = ",\n".join(" " + json.dumps(vector) for vector in vectors)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
