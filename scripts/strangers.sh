#!/usr/bin/env bash
# The programs nobody here wrote that the tests play against. As root on Debian they are installed; otherwise the
# tests that need one skip and say so (in CI a missing one is a failure).
set -euo pipefail
packages=(
  ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-libav gstreamer1.0-plugins-ugly gir1.2-gst-rtsp-server-1.0 python3-gi nginx-light openssl
  strace e2fsprogs iproute2 chromium fonts-noto-cjk kodi kodi-pvr-stalker xvfb pulseaudio
  kodi-pvr-iptvsimple xmltv-util faketime systemd mpv vlc-bin vlc-plugin-base multicat ntpsec-ntpdig
)
hls_js=1.7.4 # what the browser tests play HLS with: out of its package, never into the repository
hls_js_sha256=e4ab3d5d13f7cca9ef241d098f39686e19fd451831ba07dc9943482fd5ff75c7
hls_js_file=$(cd "$(dirname "$0")/.." && pwd)/.strangers/hls-$hls_js.min.js
[ "${1:-}" = bench ] && packages+=(rsync zsync casync curl wrk)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
command -v promtool >/dev/null || missing+=(promtool)
fetch_hls_js() {
  [ -s "$hls_js_file" ] && return
  command -v npm >/dev/null || { echo "Not installed here (npm), so some tests will skip: hls.js" >&2; return; }
  local unpacked; unpacked=$(mktemp -d)
  (cd "$unpacked" && npm pack --silent "hls.js@$hls_js" >/dev/null &&
    echo "$hls_js_sha256  hls.js-$hls_js.tgz" | sha256sum --check --quiet - && tar -xzf "hls.js-$hls_js.tgz")
  install -D -m 0644 "$unpacked/package/dist/hls.min.js" "$hls_js_file"
  rm -rf "$unpacked"
}
command -v npm >/dev/null || missing+=(npm)
[ ${#missing[@]} -eq 0 ] && { fetch_hls_js; exit 0; }
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed here, so some tests will skip: ${missing[*]}" >&2
  fetch_hls_js
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
fetch_hls_js
