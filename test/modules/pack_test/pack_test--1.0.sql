\echo Use "CREATE EXTENSION pack_test" to load this file. \quit

-- Packs the rows of a query, reads them back in every way and compares. Returns what it did.
CREATE FUNCTION pack_check(query text, rows_per_pack int, holes float8 DEFAULT 0, seed int DEFAULT 0,
                           kernels text DEFAULT NULL,
                           OUT packs int, OUT pack_rows bigint, OUT bytes bigint, OUT encodings text)
LANGUAGE c STRICT AS 'MODULE_PATHNAME';
ALTER FUNCTION pack_check CALLED ON NULL INPUT;

-- Damages the pack of a query's rows `rounds` times and reads it; the reader must raise or answer.
CREATE FUNCTION pack_damage(query text, rounds int, seed int, OUT raised int, OUT answered int)
LANGUAGE c STRICT AS 'MODULE_PATHNAME';

-- Packs of a query's rows: bytes and times for each column.
CREATE FUNCTION pack_bench(query text, rows_per_pack int, repeats int DEFAULT 3)
RETURNS TABLE (attname text, encoding text, megabytes numeric, datums_ns numeric, vector_ns numeric)
LANGUAGE c STRICT AS 'MODULE_PATHNAME';
