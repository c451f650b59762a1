#!/bin/bash
# Make a private, relocated copy of a PostgreSQL installation, so that installing into it changes nothing
# else on the machine: programs are copied (PostgreSQL finds its files from where its program lies), all
# other files are links.  Debian's layout only.
# usage: private_tree.sh DIR [PG_CONFIG]; prints the new tree's pg_config
set -euo pipefail

dir=$1
pg_config=${2:-pg_config}
bin=$("$pg_config" --bindir)
major=$("$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
root=${bin%/lib/postgresql/$major/bin}
[ "$root" != "$bin" ] || { echo "private_tree.sh: $bin is not Debian's layout" >&2; exit 1; }

mkdir -p "$dir/lib/postgresql/$major" "$dir/share/postgresql"
cp -rL "$bin" "$dir/lib/postgresql/$major/bin"
cp -rs "$root/lib/postgresql/$major/lib" "$dir/lib/postgresql/$major/lib"
cp -rs "$root/share/postgresql/$major" "$dir/share/postgresql/$major"
ln -sfn "$root/share/postgresql-common" "$dir/share/postgresql-common"
ln -sfn "$root/include" "$dir/include"
rm -f "$dir/lib/postgresql/$major/lib/"magic_*.so "$dir/share/postgresql/$major/extension/"magic_*
echo "$dir/lib/postgresql/$major/bin/pg_config"
