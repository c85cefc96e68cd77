#!/usr/bin/env python3
"""The ABI is the recorded one, and a header that breaks it is noticed. `make check-abi`."""

import re
import sys
import tempfile
import unittest

from common import ABI, HEADER, ROOT, VERSION, macro, run

sys.path.insert(0, str(ROOT / "abi"))
import abi  # noqa: E402 (it is found by the line above)

RECORDED = abi.recorded(HEADER)


class Recorded(unittest.TestCase):
    def test_the_header_describes_the_recorded_abi(self):
        run(sys.executable, ROOT / "abi/abi.py", "check")

    def test_the_record_has_every_function_and_every_number(self):
        record = RECORDED.read_text()
        for name in (ROOT / "hotstuff.sym").read_text().split():
            self.assertIn(f"'{name}'", record)
        for name in re.findall(r"^#define (HOTSTUFF_E_\w+)", HEADER, re.M):
            self.assertIn(f"'is_{name}'", record)


    def test_a_record_that_cannot_be_read_is_no_record(self):
        with tempfile.NamedTemporaryFile("w", suffix=".abi") as damaged:
            damaged.write("<<<<<<< HEAD\n" + RECORDED.read_text())
            damaged.flush()
            with self.assertRaises(SystemExit):
                abi.compare(damaged.name, HEADER)


class Versions(unittest.TestCase):
    def test_the_header_is_the_crate_and_the_abi_is_the_soname(self):
        cargo = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)
        self.assertEqual(cargo.group(1), VERSION)
        parts = [macro(f"VERSION_{part}") for part in ("MAJOR", "MINOR", "PATCH")]
        self.assertEqual(".".join(parts), VERSION)
        self.assertIn(f"-soname,libhotstuff.so.{ABI}\"", (ROOT / "build.rs").read_text())
        self.assertEqual(RECORDED.name, f"hotstuff-{ABI}.abi")


class Noticed(unittest.TestCase):
    """Each kind of change, made to the header: abidiff tells of it."""

    def change(self, old, new, words, code=abi.ABI_CHANGE):
        self.assertEqual(HEADER.count(old), 1, old)
        found, said = abi.compare(RECORDED, HEADER.replace(old, new))
        self.assertEqual(found & code, code, said)
        self.assertIn(words, said)

    def test_another_type_of_a_parameter(self):
        old = re.search(r"hotstuff_config_set_chain_id\(hotstuff_config \*cfg,\s+uint64_t", HEADER)
        self.change(old.group(0), old.group(0).replace("uint64_t", "uint32_t"),
                    "hotstuff_config_set_chain_id")

    def test_another_type_of_a_result(self):
        self.change("HOTSTUFF_API uint64_t hotstuff_block_height(",
                    "HOTSTUFF_API uint32_t hotstuff_block_height(", "return type changed")

    def test_a_parameter_more(self):
        self.change("hotstuff_has_feature(uint32_t feature);",
                    "hotstuff_has_feature(uint32_t feature, bool strict);", "hotstuff_has_feature")

    def test_a_struct_that_has_grown(self):
        old = "    size_t len;\n} hotstuff_bytes;"
        self.change(old, old.replace("len", "len, more"), "hotstuff_bytes")

    def test_a_member_of_another_size(self):
        old = re.search(r"    uint64_t transactions;\n", HEADER).group(0)
        self.change(old, "    uint32_t transactions, padding;\n", "hotstuff_metrics")

    def test_another_callback(self):
        old = re.search(r"typedef void \(\*hotstuff_log_fn\)\(void \*userdata,\s+int32_t",
                        HEADER).group(0)
        self.change(old, old.replace("int32_t", "int64_t"), "hotstuff_set_logger")

    def test_a_function_that_is_gone(self):
        old = "HOTSTUFF_API void hotstuff_validator_set_free(hotstuff_validator_set *set);"
        self.change(old, "", "hotstuff_validator_set_free", abi.ABI_CHANGE | abi.INCOMPATIBLE)

    def test_a_function_more(self):
        old = "HOTSTUFF_API bool hotstuff_has_feature("
        self.change(old, "HOTSTUFF_API void hotstuff_news(void);\n" + old, "hotstuff_news")

    def test_another_number_of_a_status(self):
        self.change("#define HOTSTUFF_E_TIMEOUT (-4)", "#define HOTSTUFF_E_TIMEOUT (-40)",
                    "is_HOTSTUFF_E_TIMEOUT")

    def test_other_comments_and_names_of_parameters_are_no_change(self):
        header = HEADER.replace("uint32_t feature)", "uint32_t which)")
        self.assertNotEqual(header, HEADER)
        code, said = abi.compare(RECORDED, re.sub(r"/\*.*?\*/", "/* */", header, flags=re.S))
        self.assertEqual(code, 0, said)


if __name__ == "__main__":
    unittest.main()
