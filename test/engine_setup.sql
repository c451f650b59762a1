-- Helpers of the engine's tests. On heap, the oracle, merge() does nothing and problems() finds
-- nothing, so that one test file runs on both access methods.
CREATE FUNCTION is_magic(rel regclass) RETURNS bool LANGUAGE sql STABLE AS
$$ SELECT a.amname = 'magic' FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.oid = rel $$;

CREATE FUNCTION merge(rel regclass) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN IF is_magic(rel) THEN PERFORM magic.compact(rel); END IF; END $$;

-- What magic.verify() finds, plus rows that differ between a sequential scan and an index scan.
CREATE FUNCTION problems(rel regclass) RETURNS SETOF text LANGUAGE plpgsql AS
$$
BEGIN
	IF is_magic(rel) THEN
		RETURN QUERY EXECUTE 'SELECT v::text FROM magic.verify($1) v' USING rel;
	END IF;
END $$;
