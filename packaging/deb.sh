#!/bin/sh
# deb.sh BUILT OUT: makes the Debian packages libhotstuff<ABI> (the library) and libhotstuff-dev
# (what a compiler needs). BUILT has the libhotstuff.so and libhotstuff.a that are shipped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
built=$1 out=$2
rm -rf "$out"
mkdir -p "$out/root"

macro() { # macro NAME: what the header says
    sed -n "s/^#define HOTSTUFF_$1 \"*\([0-9.]*\)\"*\$/\1/p" "$root/include/hotstuff.h"
}
abi=$(macro ABI_VERSION)
upstream=$(macro VERSION_STRING)
version=$upstream-${DEB_REVISION:-1}
runtime=libhotstuff$abi
arch=$(dpkg --print-architecture)
libdir=/usr/lib/$(${CC:-cc} -print-multiarch)
glibc=$(readelf -VW "$built/libhotstuff.so" | sed -n 's/.*GLIBC_\([0-9.]*\) .*/\1/p' |
    sort -V | tail -n 1)

# Everything is installed once, and then divided.
DESTDIR=$out/root PREFIX=/usr LIBDIR=$libdir INCLUDEDIR=/usr/include \
    DOCDIR=/usr/share/doc/$runtime "$root/packaging/install.sh" install "$built"
mkdir -p "$out/$runtime/DEBIAN" "$out/$runtime$libdir" "$out/$runtime/usr/share/doc" \
    "$out/libhotstuff-dev/DEBIAN" "$out/libhotstuff-dev/usr/share/doc"
mv "$out/root$libdir"/libhotstuff.so.* "$out/$runtime$libdir/"
mv "$out/root/usr/share/doc/$runtime" "$out/$runtime/usr/share/doc/"
mv "$out/root/usr/lib" "$out/root/usr/include" "$out/libhotstuff-dev/usr/"
ln -s "$runtime" "$out/libhotstuff-dev/usr/share/doc/libhotstuff-dev"
rm -r "$out/root"
chmod 644 "$out/$runtime$libdir"/libhotstuff.so.*.*

doc=$out/$runtime/usr/share/doc/$runtime
{
    echo "libhotstuff is licensed under the Apache License 2.0, the text of which is in"
    echo "/usr/share/common-licenses/Apache-2.0."
    echo
    cat "$root/THIRD-PARTY"
} > "$doc/copyright"
rm "$doc/LICENSE" "$doc/THIRD-PARTY"
gzip -9n < "$doc/CHANGELOG.md" > "$doc/changelog.gz"
rm "$doc/CHANGELOG.md"

control() { # control PACKAGE SECTION DEPENDS SUMMARY: what all packages say, and stdin
    {
        echo "Package: $1"
        echo "Source: hotstuff"
        echo "Version: $version"
        echo "Architecture: $arch"
        echo "Multi-Arch: same"
        echo "Section: $2"
        echo "Priority: optional"
        echo "Maintainer: ${DEB_MAINTAINER:-libhotstuff <root@localhost>}"
        echo "Depends: $3"
        echo "Installed-Size: $(du -sk --apparent-size "$out/$1/usr" | cut -f 1)"
        echo "Description: $4"
        cat
    } > "$out/$1/DEBIAN/control"
    (cd "$out/$1" && find usr -type f | LC_ALL=C sort | xargs md5sum > DEBIAN/md5sums)
}
control "$runtime" libs "libc6 (>= $glibc), libgcc-s1 (>= 4.2)" \
    "Byzantine-fault-tolerant replication (shared library)" <<END
 HotStuff, a protocol by which replicas agree on a chain of blocks as long as
 less than a third of the voting power is faulty, behind a C interface.
END
control libhotstuff-dev libdevel "$runtime (= $version)" \
    "Byzantine-fault-tolerant replication (development files)" <<END
 The header, the static library, and files for pkg-config and CMake, to build
 programs with libhotstuff.
END

# What a package that links the library will depend on.
echo "libhotstuff $abi $runtime (>= $upstream)" > "$out/$runtime/DEBIAN/shlibs"
{
    echo "libhotstuff.so.$abi $runtime #MINVER#"
    sed "s/.*/ &@Base $upstream/" "$root/hotstuff.sym"
} > "$out/$runtime/DEBIAN/symbols"
echo "activate-noawait ldconfig" > "$out/$runtime/DEBIAN/triggers"

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(stat -c %Y "$built/libhotstuff.so")}
export SOURCE_DATE_EPOCH
for package in "$runtime" libhotstuff-dev; do
    find "$out/$package" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --build "$out/$package" "$out/${package}_${version}_$arch.deb"
    rm -r "$out/${package:?}"
done
