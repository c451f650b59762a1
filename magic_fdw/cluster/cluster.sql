
/* cluster: how Spark and other calculator clusters read a table in parts */

CREATE FUNCTION magic.export_snapshot() RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'magic_export_snapshot';
COMMENT ON FUNCTION magic.export_snapshot() IS 'pg_export_snapshot(), refused outside of a transaction block';

CREATE FUNCTION magic.partition_borders(rel regclass, n int) RETURNS tid[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'magic_partition_borders';
COMMENT ON FUNCTION magic.partition_borders(regclass, int) IS 'where the second and later parts of one table begin, on borders of packs in a magic table';

CREATE FUNCTION magic.check_partitions(rel regclass, n int) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	kind "char" := (SELECT relkind FROM pg_class WHERE oid = rel);
BEGIN
	IF rel IS NULL OR n IS NULL OR n < 1 OR n > 10000 THEN
		RAISE EXCEPTION 'a table and 1 to 10000 partitions are needed'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF kind IS NULL THEN
		RAISE EXCEPTION 'relation with OID % does not exist', rel::oid USING ERRCODE = 'undefined_table';
	END IF;
	IF kind NOT IN ('r', 'p', 'm') THEN
		RAISE EXCEPTION '"%" is not a table', rel
			USING ERRCODE = 'wrong_object_type',
				DETAIL = 'Its rows have no place by which they can be divided.',
				HINT = 'Name the table behind it, or divide by ranges of a key.';
	END IF;
	IF NOT has_table_privilege(rel, 'SELECT') AND NOT has_any_column_privilege(rel, 'SELECT') THEN
		RAISE EXCEPTION 'permission denied for table %', rel USING ERRCODE = 'insufficient_privilege';
	END IF;
END
$$;
COMMENT ON FUNCTION magic.check_partitions(regclass, int) IS 'raises unless the table can be read in n parts by the caller';

CREATE FUNCTION magic.partitions(rel regclass, n int) RETURNS TABLE (partition int, predicate text)
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	leaf regclass;
	borders tid[];
	parts int;
BEGIN
	PERFORM magic.check_partitions(rel, n);
	-- rows of all leaves may have the same ctid: a range takes its part of each; the largest leaf decides
	SELECT c.oid INTO leaf
	FROM pg_class c
	WHERE c.oid IN (SELECT relid FROM pg_partition_tree(rel) WHERE isleaf UNION SELECT rel) AND relkind <> 'p'
	ORDER BY reltuples DESC, pg_relation_size(c.oid) DESC LIMIT 1;
	borders := coalesce(magic.partition_borders(leaf, n), '{}');
	parts := cardinality(borders) + 1;
	RETURN QUERY
		SELECT i, CASE
			WHEN parts = 1 THEN 'true'
			WHEN i = 0 THEN format('ctid < %L::tid', borders[1])
			WHEN i = parts - 1 THEN format('ctid >= %L::tid', borders[i])
			ELSE format('ctid >= %L::tid AND ctid < %L::tid', borders[i], borders[i + 1])
		END
		FROM generate_series(0, parts - 1) i;
END
$$;
COMMENT ON FUNCTION magic.partitions(regclass, int) IS 'at most n predicates that divide a table''s rows, also those that are written later: the first and the last range are open';

CREATE FUNCTION magic.plan(rel regclass, n int, INOUT read_ts bigint DEFAULT NULL, OUT partition int,
		OUT predicate text, OUT estimated_rows bigint, OUT dbtable text, OUT endpoint text)
	RETURNS SETOF record
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	total double precision;
	table_name text;
	server text := format('jdbc:postgresql://%s:%s/%s', coalesce(host(inet_server_addr()), 'localhost'),
						  coalesce(inet_server_port()::text, current_setting('port')), current_database());
BEGIN
	IF read_ts IS NOT NULL THEN
		RAISE EXCEPTION 'reading at a TiDB timestamp is not supported yet'
			USING ERRCODE = 'feature_not_supported',
				HINT = 'Leave read_ts NULL and let all partitions import one snapshot: magic.spark_snapshot().';
	END IF;
	PERFORM magic.check_partitions(rel, n);
	SELECT format('%I.%I', nspname, relname) INTO table_name
	FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace WHERE c.oid = rel;
	SELECT sum(greatest(c.reltuples, 0)) INTO total
	FROM pg_class c
	WHERE c.oid IN (SELECT relid FROM pg_partition_tree(rel) WHERE isleaf UNION SELECT rel) AND relkind <> 'p';
	RETURN QUERY
		SELECT NULL::bigint, p.partition, p.predicate, (total / count(*) OVER ())::bigint, table_name, server
		FROM magic.partitions(rel, n) p;
END
$$;
COMMENT ON FUNCTION magic.plan(regclass, int, bigint) IS 'how a calculator cluster reads a table in parts: one row for each part';

CREATE FUNCTION magic.spark_snapshot(rel regclass, n int)
	RETURNS TABLE (partition int, predicate text, session_init text, pyspark text)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	init text;
	code text;
BEGIN
	PERFORM magic.check_partitions(rel, n);
	init := format('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT %L',
				   magic.export_snapshot());
	SELECT format(E'spark.read.jdbc("%s", %s, predicates=[%s],\n    properties={"driver": "org.postgresql.Driver", '
				  '"fetchsize": "10000", "user": %s,\n    "sessionInitStatement": %s})',
				  min(p.endpoint), to_json(min(p.dbtable)),
				  string_agg(to_json(p.predicate)::text, ', ' ORDER BY p.partition),
				  to_json(session_user), to_json(init))
	INTO code FROM magic.plan(rel, n) p;
	RETURN QUERY SELECT p.partition, p.predicate, init, code FROM magic.partitions(rel, n) p;
END
$$;
COMMENT ON FUNCTION magic.spark_snapshot(regclass, int) IS 'predicates and one snapshot for all of them, valid until the caller''s transaction ends; pyspark is the call to make';
