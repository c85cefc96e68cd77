#!/bin/sh
# install.sh install BUILT | uninstall. Where to: DESTDIR, PREFIX, LIBDIR, INCLUDEDIR, DOCDIR.
# BUILT has the libhotstuff.so and libhotstuff.a that are shipped (`make package`).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
prefix=${PREFIX:-/usr/local}
prefix=${prefix%/}
libdir=${LIBDIR:-$prefix/lib}
includedir=${INCLUDEDIR:-$prefix/include}
docdir=${DOCDIR:-$prefix/share/doc/hotstuff}
to=${DESTDIR:-}

macro() { # macro NAME: what the header says
    sed -n "s/^#define HOTSTUFF_$1 \"*\([0-9.]*\)\"*\$/\1/p" "$root/include/hotstuff.h"
}
version=$(macro VERSION_STRING)
major=$(macro VERSION_MAJOR)
minor=$(macro VERSION_MINOR)
abi=$(macro ABI_VERSION)
real=$abi.$minor.$(macro VERSION_PATCH)

pc=$libdir/pkgconfig
cmake=$libdir/cmake/hotstuff

if [ "$1" = uninstall ]; then
    for file in "$includedir/hotstuff.h" "$includedir/hotstuff.hpp" "$libdir/libhotstuff.a" \
        "$libdir/libhotstuff.so" "$libdir/libhotstuff.so.$abi" "$libdir/libhotstuff.so.$real" \
        "$pc/hotstuff.pc" "$cmake/hotstuffConfig.cmake" "$cmake/hotstuffConfigVersion.cmake" \
        "$docdir/LICENSE" "$docdir/THIRD-PARTY" "$docdir/CHANGELOG.md"; do
        rm -f "$to$file"
    done
    # What is not empty, and what others share, stays.
    for folder in "$cmake" "$docdir"; do
        if [ -d "$to$folder" ]; then
            rmdir --ignore-fail-on-non-empty "$to$folder"
        fi
    done
    exit
fi
built=$2

# below FROM PATH UP: PATH as seen from the folder FROM, which has the variable or path UP for a
# name, if both are below the prefix; else PATH itself, for it will not move with FROM.
below() {
    case $2/ in
    "$prefix"/*) echo "$3/$(realpath -ms --relative-to="$1" "$2")" ;;
    *) echo "$2" ;;
    esac
}
inside() { case $libdir/ in "$prefix"/*) true ;; *) false ;; esac }

if inside; then
    pc_prefix="\${pcfiledir}/$(realpath -ms --relative-to="$pc" "$prefix")"
    cmake_libdir=$(below "$cmake" "$libdir" '${CMAKE_CURRENT_LIST_DIR}')
    cmake_includedir=$(below "$cmake" "$includedir" '${CMAKE_CURRENT_LIST_DIR}')
else
    pc_prefix=$prefix cmake_libdir=$libdir cmake_includedir=$includedir
fi
# The size of a pointer, by the class of the ELF file.
pointer=$((4 * $(od -An -tu1 -j4 -N1 "$built/libhotstuff.so")))

fill() { # fill TEMPLATE OUT
    sed -e "s|@PREFIX@|$pc_prefix|" -e "s|@CMAKE_LIBDIR@|$cmake_libdir|" \
        -e "s|@LIBDIR@|$(below "$prefix" "$libdir" '${prefix}')|" \
        -e "s|@INCLUDEDIR@|$(below "$prefix" "$includedir" '${prefix}')|" \
        -e "s|@CMAKE_INCLUDEDIR@|$cmake_includedir|" -e "s|@POINTER@|$pointer|g" \
        -e "s|@VERSION@|$version|g" -e "s|@REAL@|$real|g" -e "s|@ABI@|$abi|g" \
        -e "s|@MAJOR@|$major|g" -e "s|@MINOR@|$minor|g" "$root/packaging/$1" > "$2"
    chmod 644 "$2"
}

install -d "$to$includedir" "$to$libdir" "$to$pc" "$to$cmake" "$to$docdir"
install -m 644 "$root/include/hotstuff.h" "$root/bindings/cpp/hotstuff.hpp" "$to$includedir"
install -m 755 "$built/libhotstuff.so" "$to$libdir/libhotstuff.so.$real"
ln -sf "libhotstuff.so.$real" "$to$libdir/libhotstuff.so.$abi"
ln -sf "libhotstuff.so.$abi" "$to$libdir/libhotstuff.so"
install -m 644 "$built/libhotstuff.a" "$to$libdir/libhotstuff.a"
fill hotstuff.pc.in "$to$pc/hotstuff.pc"
fill hotstuffConfig.cmake.in "$to$cmake/hotstuffConfig.cmake"
fill hotstuffConfigVersion.cmake.in "$to$cmake/hotstuffConfigVersion.cmake"
for text in LICENSE THIRD-PARTY CHANGELOG.md; do
    install -m 644 "$root/$text" "$to$docdir/$text"
done
