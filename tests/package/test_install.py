#!/usr/bin/env python3
"""`make install`: what it installs, and that every example builds against it and runs, by
pkg-config and by CMake, wherever it is moved to. `make check-install`."""

import os
import pathlib
import re
import shlex
import shutil
import unittest

from common import ABI, BUILT, CC, CXX, REAL_NAME, ROOT, VERSION, WARNINGS
from common import attempt, folder, install, run

EXAMPLES = ROOT / "examples-c"


def files(root):
    """Every file below a folder, links marked by where they lead to."""
    found = set()
    for path in pathlib.Path(root).rglob("*"):
        if path.is_symlink():
            found.add(f"{path.relative_to(root)} -> {os.readlink(path)}")
        elif not path.is_dir():
            found.add(str(path.relative_to(root)))
    return found


def expected(lib="lib", include="include", doc="share/doc/hotstuff"):
    return {f"{include}/hotstuff.h", f"{include}/hotstuff.hpp",
            f"{lib}/{REAL_NAME}", f"{lib}/libhotstuff.so.{ABI} -> {REAL_NAME}",
            f"{lib}/libhotstuff.so -> libhotstuff.so.{ABI}", f"{lib}/libhotstuff.a",
            f"{lib}/pkgconfig/hotstuff.pc", f"{lib}/cmake/hotstuff/hotstuffConfig.cmake",
            f"{lib}/cmake/hotstuff/hotstuffConfigVersion.cmake",
            f"{doc}/LICENSE", f"{doc}/THIRD-PARTY", f"{doc}/CHANGELOG.md"}


class Scratch(unittest.TestCase):
    def setUp(self):
        scratch, self.work = folder()
        self.addCleanup(scratch.cleanup)

    def pkg_config(self, lib, *words):
        env = {"PKG_CONFIG_PATH": str(lib / "pkgconfig"), "PKG_CONFIG_LIBDIR": "/nonexistent"}
        return shlex.split(run("pkg-config", *words, "hotstuff", env=env))


class Files(Scratch):
    def test_make_install_and_make_uninstall(self):
        destdir = f"DESTDIR={self.work}"
        run("make", "-C", ROOT, "install", destdir, "PREFIX=/usr", env={"MAKEFLAGS": ""})
        self.assertEqual(files(self.work / "usr"), expected())
        modes = {path.name: path.stat().st_mode & 0o777
                 for path in (self.work / "usr/lib").iterdir() if path.is_file()}
        self.assertEqual(modes["libhotstuff.a"], 0o644)
        others = self.work / "usr/share/doc/hotstuff/notes"
        others.write_text("a file of somebody else")
        run("make", "-C", ROOT, "uninstall", destdir, "PREFIX=/usr", env={"MAKEFLAGS": ""})
        self.assertEqual(files(self.work / "usr"), {"share/doc/hotstuff/notes"})

    def test_folders_of_ones_own(self):
        where = {"PREFIX": "/opt/bft", "LIBDIR": "/opt/bft/lib/x86_64-linux-gnu",
                 "INCLUDEDIR": "/opt/bft/include/bft", "DOCDIR": "/opt/bft/doc"}
        install(self.work, **where)
        self.assertEqual(files(self.work / "opt/bft"),
                         expected("lib/x86_64-linux-gnu", "include/bft", "doc"))

    def test_nothing_installed_names_this_tree_or_the_destdir(self):
        install(self.work, PREFIX="/usr")
        for path in (self.work / "usr").rglob("*"):
            if path.is_file() and path.suffix not in (".so", ".a") and ".so." not in path.name:
                text = path.read_text()
                self.assertNotIn(str(ROOT), text, path)
                self.assertNotIn(str(self.work), text, path)

    def test_the_licences_of_what_is_inside(self):
        install(self.work, PREFIX="/usr")
        text = (self.work / "usr/share/doc/hotstuff/THIRD-PARTY").read_text()
        for words in ("The OpenLDAP Public License", "Howard Chu", "ring: LICENSE-other-bits",
                      "BoringSSL", "Brian Smith"):
            self.assertIn(words, text)


class PkgConfig(Scratch):
    def compile(self, lib, sources):
        """Compiles as a user would: the objects."""
        objects = []
        for source in sources:
            compiler = [CXX, "-std=c++17"] if source.suffix == ".cc" else [CC, "-std=c11"]
            objects.append(self.work / f"{source.name}.o")
            run(*compiler, *WARNINGS, *self.pkg_config(lib, "--cflags"), "-c", source, "-o",
                objects[-1])
        return objects

    def build(self, lib, *sources, static=False):
        """Compiles and links as a user would: the program. Archives are among the sources."""
        archives = [source for source in sources if source.suffix == ".a"]
        objects = self.compile(lib, [source for source in sources if source not in archives])
        libs = self.pkg_config(lib, "--libs", *["--static"] * static)
        if static:
            libs = [f"-Wl,-Bstatic,{word},-Bdynamic" if word == "-lhotstuff" else word
                    for word in libs]
        program = self.work / "program"
        linker = CXX if any(source.suffix == ".cc" for source in sources) else CC
        run(linker, *objects, *archives, "-o", program, *libs, "-lpthread")
        return program

    def needed(self, program):
        return re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-dW", program))

    def check(self, prefix, lib):
        self.assertEqual(self.pkg_config(lib, "--modversion"), [VERSION])
        words = self.pkg_config(lib, "--cflags", "--libs")
        paths = [os.path.realpath(word[2:]) for word in words if word[:2] in ("-I", "-L")]
        for path in paths:
            self.assertTrue(path.startswith(os.path.realpath(prefix)), path)
        self.assertFalse([word for word in words if "rpath" in word])
        program = self.build(lib, EXAMPLES / "counter.c")
        self.assertIn(f"libhotstuff.so.{ABI}", self.needed(program))
        out = run(program, env={"LD_LIBRARY_PATH": str(lib)}, timeout=60)
        self.assertRegex(out, "100")

    def test_a_program_builds_and_runs(self):
        prefix = self.work / "usr"
        install(PREFIX=str(prefix))
        self.check(prefix, prefix / "lib")

    def test_a_tree_that_was_moved(self):
        install(self.work / "a", PREFIX="/usr", LIBDIR="/usr/lib/x86_64-linux-gnu")
        shutil.move(self.work / "a/usr", self.work / "elsewhere")
        self.check(self.work / "elsewhere", self.work / "elsewhere/lib/x86_64-linux-gnu")

    def test_folders_that_are_not_below_the_prefix(self):
        where = {"PREFIX": str(self.work / "p"), "LIBDIR": str(self.work / "libraries"),
                 "INCLUDEDIR": str(self.work / "headers")}
        install(**where)
        self.check(self.work, self.work / "libraries")

    def test_the_archive_links_with_the_native_libraries_that_it_names(self):
        prefix = self.work / "usr"
        install(PREFIX=str(prefix))
        program = self.build(prefix / "lib", EXAMPLES / "counter.c", static=True)
        self.assertEqual([name for name in self.needed(program) if "hotstuff" in name], [])
        run(program, timeout=60)

    def test_every_example_builds(self):
        prefix = self.work / "usr"
        install(PREFIX=str(prefix))
        kv = [EXAMPLES / "kv" / name for name in ("app.c", "main.c", "run.c")]
        shared = self.work / "shared.a"
        others = sorted(set(EXAMPLES.glob("kv/*.c")) - set(kv))
        run("ar", "rc", shared, *self.compile(prefix / "lib", others))
        self.build(prefix / "lib", *kv, shared)
        self.build(prefix / "lib", kv[1], EXAMPLES / "kv_cpp.cc", shared)
        for source in sorted(EXAMPLES.glob("*.c")):
            self.build(prefix / "lib", source, shared)


class CMake(Scratch):
    def configure(self, prefix, source):
        return attempt("cmake", "-S", source, "-B", self.work / "build",
                       f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release")

    def check(self, prefix, lib):
        code, out, err = self.configure(prefix, ROOT / "tests/package")
        self.assertEqual(code, 0, out + err)
        run("cmake", "--build", self.work / "build", "-j2")
        env = {"LD_LIBRARY_PATH": str(lib)}
        run(self.work / "build/counter", env=env, timeout=60)
        for kv in ("kv", "kv_static", "kv_cpp"):
            self.assertIn("kv keygen", run(self.work / "build" / kv, "--help", env=env))
        self.assertNotIn("hotstuff", run("readelf", "-dW", self.work / "build/kv_static"))

    def test_the_examples_build_and_run_in_a_tree_that_was_moved(self):
        install(self.work / "a", PREFIX="/usr")
        shutil.move(self.work / "a/usr", self.work / "moved")
        self.check(self.work / "moved", self.work / "moved/lib")

    def test_folders_that_are_not_below_the_prefix(self):
        install(PREFIX=str(self.work / "p"), LIBDIR=str(self.work / "p/lib"),
                INCLUDEDIR=str(self.work / "headers"))
        self.assertEqual(self.find("0.1", self.work / "p")[0], 0)

    def find(self, version, prefix):
        source = self.work / "project"
        source.mkdir(exist_ok=True)
        source.joinpath("CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(find C)\n"
            f"find_package(hotstuff {version} REQUIRED)\n")
        shutil.rmtree(self.work / "build", ignore_errors=True)
        return self.configure(prefix, source)

    def test_versions_that_fit_and_versions_that_do_not(self):
        install(PREFIX=str(self.work / "usr"))
        for version, fits in [("", True), ("0.1", True), ("0.1.0 EXACT", True), ("0.0.9", False),
                              ("0.2", False), ("1.0", False)]:
            code, _, err = self.find(version, self.work / "usr")
            self.assertEqual(code == 0, fits, f"{version}: {err}")


if __name__ == "__main__":
    assert (BUILT / "libhotstuff.so").is_file(), "run `make package` first"
    unittest.main()
