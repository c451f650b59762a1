# Random statements from several sessions give on a magic table what they give on a heap table; given all at once they
# leave a sound table.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use Test::More;

my $seconds = $ENV{DIFF_SECONDS} // (long_run() ? 600 : 30);
my $node = magic_node('main', conf => "autovacuum = off\nmax_prepared_transactions = 200\n");
my @seed = $ENV{SEED} ? ('--seed', $ENV{SEED}) : ();

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
my $output = `python3 $ENV{MAGIC_SRC}/test/diff/engine_diff.py --seconds $seconds --access-method @{[ access_method() ]} @seed 2>&1`;
is($?, 0, 'no difference') or diag($output);
like($output, qr/^ok: /m, 'rounds were played');

my $race = `python3 $ENV{MAGIC_SRC}/test/diff/engine_race.py --seconds @{[ $seconds / 2 ]} @seed 2>&1`;
is($?, 0, 'several sessions at once: no internal error, a sound table') or diag($race);
like($race, qr/^ok: /m, 'rounds were played at once');
done_testing();
