#!/bin/bash
# Builds an image that stands in for apache/kafka where no image registry can be
# reached: Kafka's jars from Maven Central, a small Java runtime by jlink, and
# busybox for the scripts.
#
#   build.sh [TAG]        default tag: smscancel/kafka:<version in pom.xml>
#
# Needs docker, mvn, a JDK 17 or newer with jlink, and a static busybox
# (Debian: docker.io maven openjdk-17-jdk-headless busybox-static).
set -euo pipefail

main() {
  recipe=$(cd "$(dirname "$0")" && pwd)
  require_tools
  tag=${1:-smscancel/kafka:$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$recipe/pom.xml")}
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  root=$work/rootfs   # belongs to root in the image
  owned=$work/owned   # belongs to the user that runs Kafka
  mkdir -p "$root"/{bin,usr/bin,tmp,etc,opt/kafka/bin} \
    "$owned"/{etc/kafka/{docker,secrets},opt/kafka/{config,logs},mnt/shared/config,var/lib/kafka/data,usr/logs,home/appuser}
  chmod 1777 "$root/tmp"

  add_kafka
  add_java
  add_busybox
  add_libraries
  add_scripts
  add_users

  cp "$recipe/Dockerfile" "$work/"
  docker build -q -t "$tag" "$work"
  echo "built $tag"
}

require_tools() {
  local tool missing=
  for tool in docker mvn jlink busybox ldd; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
  done
  [ -z "$missing" ] || fail "not found:$missing"
  if ldd "$(command -v busybox)" >/dev/null 2>&1; then
    fail "busybox is linked dynamically; it must be the static one (Debian: busybox-static)"
  fi
}

add_kafka() {
  cp "$recipe/pom.xml" "$work/"
  mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$root/opt/kafka/libs"
}

# java.desktop is there for java.beans, which log4j wants; what draws and plays is not.
add_java() {
  local modules=java.base,java.desktop,java.logging,java.management,java.naming
  modules+=,java.security.jgss,java.security.sasl,jdk.unsupported,jdk.management,jdk.crypto.ec
  jlink --add-modules "$modules" --no-header-files --no-man-pages --strip-java-debug-attributes \
    --compress=2 --output "$root/opt/java"
  rm -f "$root"/opt/java/lib/lib{awt*,fontmanager,freetype,javajpeg,lcms,mlib_image,jsound,splashscreen,jawt,prefs}.so
  "$root/opt/java/bin/java" -Xshare:dump >/dev/null # class data for a quicker start
}

# The list of its commands contains busybox itself.
add_busybox() {
  local command
  cp "$(command -v busybox)" "$root/bin/busybox"
  for command in $(busybox --list) bash; do
    [ -e "$root/bin/$command" ] || ln -s busybox "$root/bin/$command"
  done
  ln -s /bin/busybox "$root/usr/bin/env"
}

# What the Java runtime is linked to, and what libzstd-jni loads besides (empty
# shells in newer versions of glibc).
add_libraries() {
  local library
  {
    find "$root/opt/java" -type f \( -name '*.so' -o -path '*/bin/*' \) -exec ldd {} + 2>/dev/null |
      sed -nE 's#^\s+(\S+ => )?(/(usr/)?lib[^ ]*) \(.*#\2#p' | sort -u
    ls /lib/*-linux-gnu/lib{pthread.so.0,dl.so.2,rt.so.1,resolv.so.2}
  } | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
}

# Modes are set, not copied: the broker rewrites its configuration at each start,
# also when this recipe was checked out read-only.
add_scripts() {
  local file name
  install -m 755 "$recipe/run" "$owned/etc/kafka/docker/run"
  for file in server.properties log4j2.yaml tools-log4j2.yaml; do
    install -m 644 "$recipe/$file" "$owned/etc/kafka/docker/$file"
    install -m 644 "$recipe/$file" "$owned/opt/kafka/config/$file"
  done
  install -m 755 "$recipe/tool" "$root/opt/kafka/bin/kafka-run-class.sh"
  for name in server-start storage configs topics acls consumer-groups console-producer \
    console-consumer get-offsets metadata-quorum broker-api-versions; do
    ln -s kafka-run-class.sh "$root/opt/kafka/bin/kafka-$name.sh"
  done
}

add_users() {
  printf 'root:x:0:0:root:/:/bin/sh\nappuser:x:1000:1000::/home/appuser:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nappuser:x:1000:\n' >"$root/etc/group"
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
}

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

main "$@"
