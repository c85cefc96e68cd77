#!/usr/bin/env python3
"""No surprise in the binary: what libhotstuff.so and libhotstuff.a show, need and do to a process.

Part of `make test`; alone: `make check-binary`, or one case with
`python3 tests/package/test_binary.py Archive.test_a_host_with_its_own_lmdb`.
"""

import json
import os
import re
import shutil
import subprocess
import unittest

from common import ABI, BUILT, CC, HEADER, HERE, NATIVE, REAL_NAME, ROOT, WARNINGS
from common import attempt, folder, install, run

# What a guest does not do to the process of its host. LMDB's own stderr and fprintf are there for
# its failed assertions, which end in abort().
FORBIDDEN = set(
    """_exit exit atexit system popen fork vfork execve execvp execv posix_spawn posix_spawnp
    signal sigaction sigprocmask bsd_signal sigset raise kill setitimer alarm
    setenv putenv unsetenv clearenv chdir fchdir umask setlocale setrlimit chroot setuid
    dup dup2 dup3 printf vprintf puts putchar putc perror psignal stdout""".split())

# What the library reads from the environment: Rust's standard library, for the stack of threads.
DOCUMENTED_VARIABLES = {"RUST_MIN_STACK"}


def listed():
    return set((ROOT / "hotstuff.sym").read_text().split())


def exported(library):
    lines = run("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[2].split("@")[0] for line in lines}


def imported(library):
    lines = run("nm", "-D", "--undefined-only", library).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines}


def archive_globals(archive):
    """Symbols that an archive gives to whoever links it. nm stumbles on Rust's bitcode."""
    lines = [line.split() for line in run("readelf", "-Ws", archive).splitlines()]
    return {words[7] for words in lines
            if len(words) == 8 and words[4] in ("GLOBAL", "WEAK") and words[6] != "UND"}


def dynamic(library, tag):
    lines = run("readelf", "-dW", library).splitlines()
    return [re.search(r"\[(.*)\]", line).group(1) for line in lines if f"({tag})" in line]


# The hosts of tests/c and of this folder.
STRICT = ["-std=c11", "-D_GNU_SOURCE", "-g", *WARNINGS]


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch, cls.work = folder()
        cls.addClassCleanup(scratch.cleanup)
        install(PREFIX=str(cls.work / "usr"))
        cls.lib = cls.work / "usr/lib"
        cls.include = cls.work / "usr/include"

    def compile(self, source, program, *flags):
        run(CC, *STRICT, f"-I{self.include}", source, *flags, "-o", program)
        return program


class Symbols(Installed):
    def test_the_library_exports_what_the_header_declares(self):
        declared = set(re.findall(r"\b(hotstuff_\w+)\(", re.sub(r"/\*.*?\*/", "", HEADER,
                                                                flags=re.S)))
        declared -= set(re.findall(r"\(\*(hotstuff_\w+)\)", HEADER))
        self.assertEqual(listed(), declared)
        self.assertEqual(exported(self.lib / "libhotstuff.so"), declared)

    def test_the_archive_shows_the_same_and_the_symbol_that_all_rust_shares(self):
        shown = archive_globals(self.lib / "libhotstuff.a")
        self.assertEqual(shown, listed() | {"DW.ref.rust_eh_personality"})

    def test_the_library_asks_libc_for_nothing_that_a_guest_should_not(self):
        self.assertEqual(imported(self.lib / "libhotstuff.so") & FORBIDDEN, set())

    def test_that_check_can_fail(self):
        offender = self.work / "liboffender.so"
        run(CC, "-shared", "-fPIC", HERE / "offender.c", "-o", offender)
        self.assertLessEqual({"sigaction", "stdout"}, imported(offender) & FORBIDDEN)


class Dynamic(Installed):
    def test_the_soname_is_the_abi_and_the_links_lead_to_the_file(self):
        self.assertEqual(dynamic(self.lib / "libhotstuff.so", "SONAME"), [f"libhotstuff.so.{ABI}"])
        self.assertEqual(os.readlink(self.lib / "libhotstuff.so"), f"libhotstuff.so.{ABI}")
        self.assertEqual(os.readlink(self.lib / f"libhotstuff.so.{ABI}"), REAL_NAME)
        self.assertFalse((self.lib / REAL_NAME).is_symlink())

    def test_it_needs_libc_and_the_unwinder_and_no_lmdb_of_the_builder(self):
        needed = {name for name in dynamic(self.lib / "libhotstuff.so", "NEEDED")
                  if not name.startswith("ld-linux")}
        self.assertEqual(needed, {"libc.so.6", "libgcc_s.so.1"})

    def test_it_looks_nowhere_of_its_own_for_libraries(self):
        for tag in ("RPATH", "RUNPATH", "TEXTREL"):
            self.assertEqual(dynamic(self.lib / "libhotstuff.so", tag), [], tag)

    def test_its_stack_is_not_executable_and_its_tables_are_read_only(self):
        segments = run("readelf", "-lW", self.lib / "libhotstuff.so")
        stack = re.search(r"GNU_STACK .* (R[WE]*) ", segments).group(1)
        self.assertEqual(stack, "RW")
        self.assertIn("GNU_RELRO", segments)
        self.assertIn("BIND_NOW", run("readelf", "-dW", self.lib / "libhotstuff.so"))

    def test_it_stays_in_memory_after_dlclose(self):
        self.assertIn("NODELETE", run("readelf", "-dW", self.lib / "libhotstuff.so"))

    def test_it_has_no_debug_information(self):
        for library in ("libhotstuff.so", "libhotstuff.a"):
            self.assertNotIn(".debug_info", run("readelf", "-SW", self.lib / library))


class Behaviour(Installed):
    """What it does to a process, seen from the process, from a pipe, and from libc."""

    def watch(self, program):
        """Runs a program under the shim: its stdout, and the lines of the shim."""
        shim, log = self.work / "shim.so", self.work / "shim.log"
        run(CC, "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", HERE / "shim.c",
            "-o", shim, "-ldl")
        log.write_text("")
        env = {"LD_PRELOAD": str(shim), "SHIM_LOG": str(log), "LD_LIBRARY_PATH": str(self.lib),
               "RUST_LOG": "trace", "RUST_BACKTRACE": "1"}
        code, out, err = attempt(program, env=env, timeout=120)
        self.assertEqual((code, err), (0, ""), out)
        return out, log.read_text().splitlines()

    def test_a_process_is_as_it_was_and_nothing_is_printed(self):
        guest = self.compile(HERE / "guest.c", self.work / "guest", f"-L{self.lib}",
                             "-lhotstuff", "-lpthread")
        out, lines = self.watch(guest)
        self.assertRegex(out, r"\Aguest: \d+ passed, 0 failed\n\Z")
        variables = {line.split()[1] for line in lines if line.startswith("getenv ")}
        self.assertEqual(variables, DOCUMENTED_VARIABLES)
        self.assertEqual([line for line in lines if not line.startswith("getenv ")], [])
        for name in DOCUMENTED_VARIABLES:
            self.assertTrue(name in HEADER, f"hotstuff.h does not say that {name} is read")

    def test_the_shim_sees_what_it_is_there_for(self):
        library = self.work / "libhotstuff-offender.so"
        run(CC, "-shared", "-fPIC", HERE / "offender.c", "-o", library)
        host = self.work / "host.c"
        host.write_text("void offend(void);\nint main(void) { offend(); return 0; }\n")
        program = self.compile(host, self.work / "host", library, f"-Wl,-rpath,{self.work}")
        _, lines = self.watch(program)
        kinds = {line.split()[0] for line in lines}
        self.assertEqual(kinds, {"getenv", "signal", "output", "sigpipe"})


class Archive(Installed):
    """libhotstuff.a beside an LMDB and a Rust of the host's; and why cargo's is not shipped."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.raw = ROOT / "target/release/libhotstuff.a"
        cls.archive = cls.lib / "libhotstuff.a"
        cls.lmdb = cls.build_lmdb()
        cls.other = cls.work / "libother.a"
        run(os.environ.get("RUSTC", "rustc"), "--edition", "2021", "--crate-type", "staticlib",
            "-O", HERE / "other.rs", "-o", cls.other)

    @classmethod
    def build_lmdb(cls):
        """An LMDB of another version, as an archive."""
        metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1",
                                  cwd=ROOT))
        manifest = next(package["manifest_path"] for package in metadata["packages"]
                        if package["name"] == "lmdb-rkv-sys")
        source = os.path.join(os.path.dirname(manifest), "lmdb/libraries/liblmdb")
        for name in ("mdb.c", "midl.c", "midl.h", "lmdb.h"):
            shutil.copy(os.path.join(source, name), cls.work)
        header = cls.work / "lmdb.h"
        text, count = re.subn(r"(MDB_VERSION_PATCH\s+)\d+", r"\g<1>99", header.read_text(), 1)
        assert count == 1
        header.chmod(0o644)
        header.write_text(text)
        run(CC, "-O1", "-w", f"-I{cls.work}", "-c", HERE / "host_lmdb.c", "-o",
            cls.work / "host_lmdb.o")
        run("ar", "rcs", cls.work / "liblmdb.a", cls.work / "host_lmdb.o")
        return cls.work / "liblmdb.a"

    def host(self, *parts):
        """Links a host of these parts and runs it: (exit code, what was said)."""
        program = self.work / "archive_host"
        program.unlink(missing_ok=True)
        code, out, err = attempt(CC, *STRICT, f"-I{self.include}", f"-I{self.work}",
                                 HERE / "archive_host.c", *parts, *NATIVE, "-o", program)
        if code != 0:
            return code, "cannot be linked: " + out + err
        return attempt(program, env={"LD_LIBRARY_PATH": str(self.lib)}, timeout=120)[:2]

    def works(self, *parts):
        code, said = self.host(*parts)
        self.assertRegex(said, r"\Aarchive: \d+ passed, 0 failed\n\Z", parts)
        self.assertEqual(code, 0)

    def whole(self, *archives):
        return "-Wl,--whole-archive", *archives, "-Wl,--no-whole-archive"

    def test_a_plain_host(self):
        self.works("-DHOTSTUFF_STATIC", self.archive)

    def test_a_host_with_its_own_lmdb(self):
        define = "-DHOST_LMDB"
        self.works(define, self.work / "host_lmdb.o", self.archive)
        self.works(define, self.archive, self.lmdb)
        self.works(define, self.lmdb, self.archive)
        self.works(define, *self.whole(self.archive), self.lmdb)

    def test_a_host_with_its_own_lmdb_and_the_shared_library(self):
        self.works("-DHOST_LMDB", "-rdynamic", self.work / "host_lmdb.o", f"-L{self.lib}",
                   "-lhotstuff")

    def test_a_host_with_another_archive_of_rust(self):
        define = "-DOTHER_RUST"
        self.works(define, self.archive, self.other)
        self.works(define, self.other, self.archive)
        self.works(define, *self.whole(self.archive, self.other))

    def test_a_host_with_both(self):
        self.works("-DOTHER_RUST", "-DHOST_LMDB", self.archive, self.other, self.lmdb)

    def test_with_cargos_archive_none_of_this_holds(self):
        code, said = self.host("-DHOST_LMDB", self.work / "host_lmdb.o", self.raw)
        self.assertEqual(code, 1, said)
        self.assertIn("host_environments == 2", said)
        code, said = self.host("-DOTHER_RUST", *self.whole(self.raw, self.other))
        self.assertIn("multiple definition", said)

    def test_the_native_libraries_are_those_that_rustc_names(self):
        source, release = self.work / "native.rs", ROOT / "target/release"
        source.write_text("extern crate hotstuff;\n")
        ran = subprocess.run(
            ["rustc", "--edition", "2021", "--crate-type", "staticlib", "--extern",
             f"hotstuff={release}/libhotstuff.rlib", "-L", f"dependency={release}/deps",
             "--print", "native-static-libs", str(source), "-o", str(self.work / "native.a")],
            text=True, stderr=subprocess.PIPE, check=True)
        named = re.search(r"native-static-libs: (.*)", ran.stderr).group(1).split()
        self.assertEqual(named, NATIVE)
        pc = (self.lib / "pkgconfig/hotstuff.pc").read_text()
        self.assertIn("\nLibs.private: " + " ".join(NATIVE) + "\n", pc)
        cmake = (self.lib / "cmake/hotstuff/hotstuffConfig.cmake").read_text()
        names = ";".join(name[2:] for name in NATIVE)
        self.assertIn(f'INTERFACE_LINK_LIBRARIES "{names}"', cmake)


if __name__ == "__main__":
    assert (BUILT / "libhotstuff.so").is_file(), "run `make package` first"
    unittest.main()
