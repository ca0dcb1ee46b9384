#!/usr/bin/env bash
# Installs the Debian packages named in debian-packages.txt, those that are missing and that nothing here stands in for. Without root or without apt it
# says so and leaves them out, which makes the tests that need them skip; with CI=true that is a failure (exit 1).
set -euo pipefail
list="$(dirname "$0")/debian-packages.txt"

wanted=()
while read -r package substitute; do
  if [ -n "$substitute" ] && command -v "$substitute" >/dev/null; then
    echo "debian-packages: $substitute is here, and does for $package"
  else
    wanted+=("$package")
  fi
done < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$list")
if [ "${#wanted[@]}" -eq 0 ]; then
  echo "debian-packages: none needed"
  exit 0
fi

leave_out() {
  echo "debian-packages: $1, so these are left out: ${missing[*]}" >&2
  [ "${CI:-}" != true ] || exit 1
  exit 0
}

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) || status=absent
  [ "$status" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
  echo "debian-packages: already here: ${wanted[*]}"
  exit 0
fi

command -v apt-get >/dev/null || leave_out "no apt-get here"
[ "$(id -u)" -eq 0 ] || leave_out "not root"

echo "debian-packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
