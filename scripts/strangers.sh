#!/usr/bin/env bash
# The programs nobody here wrote that the tests play against. As root on Debian they are installed; otherwise the
# tests that need one skip and say so (in CI a missing one is a failure).
set -euo pipefail
packages=(
  ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-libav gstreamer1.0-plugins-ugly gir1.2-gst-rtsp-server-1.0 python3-gi nginx-light openssl
  strace e2fsprogs iproute2 chromium fonts-noto-cjk kodi kodi-pvr-stalker xvfb pulseaudio
  kodi-pvr-iptvsimple xmltv-util mpv vlc-bin vlc-plugin-base multicat
)
[ "${1:-}" = bench ] && packages+=(rsync zsync casync curl wrk)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
command -v promtool >/dev/null || missing+=(promtool)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed here, so some tests will skip: ${missing[*]}" >&2
  exit 0
fi
echo "Installing from Debian: ${missing[*]}"
apt-get update -qq
wanted=("${missing[@]/promtool/}")
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${wanted[@]} >/dev/null
if ! command -v promtool >/dev/null; then # out of its package, which would start a server on port 9090
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  (cd "$unpacked" && apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg-deb -x prometheus_*.deb .)
  install -m 0755 "$unpacked/usr/bin/promtool" /usr/local/bin/promtool
fi
