#!/usr/bin/env python3
"""The source tarball builds from nothing, without a network, and so do its Debian packages, which
install, serve a program, and go away. `make check-dist`; it compiles everything anew."""

import os
import pathlib
import platform
import re
import tarfile
import unittest

from common import ABI, CC, REAL_NAME, ROOT, VERSION, WARNINGS, attempt, folder, run

# How to run a command that sees no network, if this user may.
NO_NETWORK = ["unshare", "--net"]
if attempt(*NO_NETWORK, "true")[0] != 0:
    NO_NETWORK = ["unshare", "--map-root-user", "--net"]
    if attempt(*NO_NETWORK, "true")[0] != 0:
        NO_NETWORK = []


class Dist(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch, cls.work = folder()
        cls.addClassCleanup(scratch.cleanup)
        cls.tarball = cls.pack("first")
        with tarfile.open(cls.tarball) as tar:
            tar.extractall(cls.work)
        cls.source = cls.work / f"hotstuff-{VERSION}"
        cls.packages = cls.build()
        cls.lib = "usr/lib/" + run(CC, "-print-multiarch").strip()

    @classmethod
    def pack(cls, name):
        return pathlib.Path(run(ROOT / "packaging/dist.sh", cls.work / name).strip())

    @classmethod
    def build(cls):
        """`make deb`, with no crate but those of the tarball, and an LMDB that must not be used."""
        decoy = cls.work / "decoy"
        decoy.mkdir()
        for name in ("liblmdb", "lmdb"):
            decoy.joinpath(f"{name}.pc").write_text(
                f"Name: {name}\nDescription: not ours\nVersion: 0.9.99\nLibs: -lnot-ours\n")
        env = {"CARGO_HOME": str(cls.work / "cargo"), "CARGO_NET_OFFLINE": "true",
               "PKG_CONFIG_PATH": str(decoy), "MAKEFLAGS": ""}
        print("builds the tarball", "without a network" if NO_NETWORK else
              "offline by Cargo's word only: this user may not unshare the network", flush=True)
        code, out, err = attempt(*NO_NETWORK, "make", "-C", cls.source, "deb", env=env)
        if code != 0:
            raise AssertionError(out + err)
        assert not (cls.work / "cargo/registry").exists(), "crates were fetched"
        return sorted((cls.source / "target/deb").glob("*.deb"))

    def test_the_same_commit_gives_the_same_bytes(self):
        self.assertEqual(self.pack("second").read_bytes(), self.tarball.read_bytes())

    def test_the_tarball_holds_the_source_and_nothing_that_was_built(self):
        with tarfile.open(self.tarball) as tar:
            names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
        tracked = set(run("git", "-C", ROOT, "ls-tree", "-r", "--name-only", "HEAD").split("\n"))
        self.assertLessEqual(tracked - {""}, names)
        tops = {name.split("/")[0] for name in names}
        self.assertEqual(tops - {name.split("/")[0] for name in tracked}, {"vendor"})

    def test_what_the_packages_say(self):
        self.assertEqual([re.sub("_.*", "", package.name) for package in self.packages],
                         ["libhotstuff-dev", f"libhotstuff{ABI}"])
        dev, runtime = [run("dpkg-deb", "--field", package) for package in self.packages]
        self.assertIn(f"Version: {VERSION}-1\n", runtime)
        self.assertRegex(runtime, r"\nDepends: libc6 \(>= 2\.\d+\), libgcc-s1 \(>= [\d.]+\)\n")
        self.assertIn(f"\nDepends: libhotstuff{ABI} (= {VERSION}-1)\n", dev)
        symbols = run("dpkg-deb", "--info", self.packages[1], "symbols").splitlines()
        self.assertEqual(symbols[0], f"libhotstuff.so.{ABI} libhotstuff{ABI} #MINVER#")
        self.assertEqual([line.split("@")[0].strip() for line in symbols[1:]],
                         (ROOT / "hotstuff.sym").read_text().split())
        self.assertEqual(run("dpkg-deb", "--info", self.packages[1], "shlibs").split(),
                         ["libhotstuff", ABI, f"libhotstuff{ABI}", "(>=", f"{VERSION})"])

    def dpkg(self, *words):
        """dpkg in a root of its own, which knows what is installed on this machine."""
        database = self.work / "root/var/lib/dpkg"
        if not database.is_dir():
            for sub in ("info", "updates", "triggers"):
                database.joinpath(sub).mkdir(parents=True)
            database.joinpath("status").write_text(
                pathlib.Path("/var/lib/dpkg/status").read_text())
        run("dpkg", f"--root={self.work / 'root'}", "--force-not-root",
            "--force-script-chrootless", f"--log={self.work / 'dpkg.log'}", *words)

    def test_the_packages_install_serve_a_program_and_go_away(self):
        self.dpkg("--install", *self.packages)
        root, program = self.work / "root", self.work / "counter"
        lib = root / self.lib
        self.assertEqual(os.readlink(lib / f"libhotstuff.so.{ABI}"), REAL_NAME)
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-dW", lib / REAL_NAME))
        self.assertEqual([name for name in needed if "lmdb" in name or "not-ours" in name], [])
        env = {"PKG_CONFIG_SYSROOT_DIR": str(root), "PKG_CONFIG_PATH": "",
               "PKG_CONFIG_LIBDIR": str(lib / "pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "hotstuff", env=env).split()
        run(CC, "-std=c11", *WARNINGS, self.source / "examples-c/counter.c", "-o", program, *flags,
            "-lpthread")
        run(program, env={"LD_LIBRARY_PATH": str(lib)}, timeout=60)
        self.dpkg("--purge", "libhotstuff-dev", f"libhotstuff{ABI}")
        left = [path for path in (root / "usr").rglob("*") if not path.is_dir()]
        self.assertEqual(left, [])


if __name__ == "__main__":
    if platform.system() != "Linux":
        raise SystemExit("dist: this test needs Linux")
    unittest.main()
