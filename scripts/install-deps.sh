#!/bin/bash
# Install what building and testing need: Debian 12, as root, with or without systemd.
# Quick when everything is there.  Java's and Python's packages are fetched by the tests that use them.
set -euo pipefail

packages=(
	build-essential bison flex pkg-config clang libclang-rt-14-dev llvm			# compilers, sanitizers, libFuzzer
	postgresql-15 postgresql-client-15 postgresql-server-dev-15 postgresql-15-cron
	librdkafka-dev liblz4-dev libzstd-dev zstd kafkacat
	libxml2-dev zlib1g-dev											# PostgreSQL from source, with sanitizers
	openjdk-17-jre-headless maven									# Kafka, Spark
	libipc-run-perl perl python3 python3-venv						# test tools
	util-linux procps ca-certificates bzip2 debian-archive-keyring		# and PostgreSQL's own source
)

missing()
{
	local package
	for package in "${packages[@]}"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			echo "$package"
	done
}

mapfile -t wanted < <(missing)
[ ${#wanted[@]} -eq 0 ] && exit 0
[ "$(id -u)" = 0 ] || { echo "install-deps.sh: as root, please; missing: ${wanted[*]}" >&2; exit 1; }

# No cluster is wanted from the package, only the programs.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
	mkdir -p /etc/postgresql-common
	echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing: ${wanted[*]}"
apt-get -q -y update >/dev/null
apt-get -q -y -o Dpkg::Options::=--force-confold install --no-install-recommends "${wanted[@]}" \
	>/tmp/install-deps.$$.log 2>&1 ||
	{ tail -30 /tmp/install-deps.$$.log >&2; rm -f /tmp/install-deps.$$.log
	  echo "install-deps.sh: apt-get failed" >&2; exit 1; }
rm -f /tmp/install-deps.$$.log
