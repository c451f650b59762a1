\echo Use "CREATE EXTENSION magic_bench" to load this file. \quit

-- Decodes all blocks of some columns of a table to vectors, from shared buffers, without executor and
-- without looking at deletes. Returns what was decoded; the time is the statement's.
CREATE FUNCTION decode(rel regclass, columns text[]) RETURNS text
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'magic_bench_decode';

-- The same to datums, as PostgreSQL's executor gets them.
CREATE FUNCTION decode_datums(rel regclass, columns text[]) RETURNS text
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'magic_bench_decode_datums';
